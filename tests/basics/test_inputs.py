"""What a person hands to a library call by mistake, and the line that the error says to write."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.errors import InputError, IntriguingError, ModelError
from intriguing.models import predict
from intriguing.transfer import amplify, gaussian_noise

X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


def conv():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def collect(x):
    return list(ig.collect_activations(conv(), [x], ["0"], slots=4))


CALLS: dict[str, Callable[[Any], Any]] = {
    "minimal_distortion": lambda x: ig.minimal_distortion(conv(), x, LABELS[: len(x)]),
    "collect_activations": collect,
    "predict": lambda x: predict(conv(), x, slots=4),
}

MISTAKES: dict[str, tuple[Any, str]] = {
    "channels last": (
        X.permute(0, 2, 3, 1),
        r"channels \(3\) are last and must come second: write x.permute\(0, 3, 1, 2\)",
    ),
    "another number of channels": (X[:, :1], r"it has 1 channel, and the model takes 3: x.expand\(-1, 3, -1, -1\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("call", CALLS)
def test_what_a_model_does_not_take_is_told_with_the_line_to_write(call, mistake):
    x, told = MISTAKES[mistake]
    with pytest.raises(ModelError, match=told):
        CALLS[call](x)


def test_inputs_in_float64_are_fed_in_the_type_of_the_weights():
    assert "found" in ig.minimal_distortion(conv(), X.double(), LABELS).status
    [double], [single] = collect(X.double()), collect(X)
    assert np.array_equal(double.vectors["0"], single.vectors["0"])
    assert torch.equal(predict(conv(), X.double(), slots=4), predict(conv(), X, slots=4))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("minimal_distortion", "x is .* uint8; it must be float32 or float64 in the box: write x / 255"),
        ("collect_activations", "weights are torch.float32: write x / 255"),
        ("predict", "weights are torch.float32: write x / 255"),
    ],
)
def test_bytes_are_told(call, told):
    with pytest.raises(IntriguingError, match=told):
        CALLS[call]((X * 255).to(torch.uint8))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (X.half(), r"float16; it must be float32 or float64: write x.float\(\)"),
        (X.half().numpy(), r'float16; it must be float32 or float64: write x.astype\("float32"\)'),
        (X.numpy() > 0.5, r'bool; .* write x.astype\("float32"\), scaled'),
        (X.numpy().astype(np.longdouble), r'a type that torch has not: write x.astype\("float64"\)'),
        ((X.numpy() * 255).astype(np.uint16), r"uint16; it must be float32 or float64 in the box: write x / 255"),
        ((X.numpy() * 65535).astype(np.uint16), r'uint16; .* write x.astype\("float32"\), scaled'),
        (X + 0j, r"complex64; it must be float32 or float64 in the box\.$"),
    ],
)
def test_inputs_of_other_types_are_told_the_line_for_what_they_are(given, told):
    with pytest.raises(InputError, match=told):
        ig.minimal_distortion(conv(), given, LABELS)


def test_one_image_without_its_batch_dimension_is_told():
    for call in (collect, CALLS["predict"]):
        with pytest.raises(ModelError, match=r"dimension is missing: write x\[None\]"):
            call(X[0])
    with pytest.raises(InputError, match=r"labels is \(\) torch.int64; it must be 3 whole.*write x\[None\]"):
        ig.minimal_distortion(conv(), X[0], 1)
    with pytest.raises(InputError, match=r"write x\[None\] for a single input"):
        ig.minimal_distortion(conv(), X[0, 0, 0], [1])
    with pytest.raises(InputError, match=r"write x\[None\]"):
        predict(nn.Linear(8, 2), X[0, 0, 0])


@pytest.mark.parametrize(
    ("channels", "shape", "told", "mended"),
    [
        (1, (4, 8, 8), r"channel dimension is missing: write x\[:, None\]", lambda x: x[:, None]),
        (3, (3, 8, 8), r"dimension is missing: write x\[None\]", lambda x: x[None]),
        (3, (4, 8, 8), r"x\[:, None\].expand\(-1, 3, -1, -1\)", lambda x: x[:, None].expand(-1, 3, -1, -1)),
        (3, (4, 1, 8, 8), r"takes 3: x.expand\(-1, 3, -1, -1\) copies", lambda x: x.expand(-1, 3, -1, -1)),
        (3, (8, 8, 3), r"are last: write x.permute\(2, 0, 1\)\[None\]", lambda x: x.permute(2, 0, 1)[None]),
    ],
)
def test_a_missing_dimension_is_told_with_a_line_that_works(channels, shape, told, mended):
    """For images without channels it was x[None], whose channels are then wrong, of gray images for colour, too."""
    net, given = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(72, 2)), torch.rand(shape)
    with pytest.raises(ModelError, match=told):
        predict(net, given)
    assert predict(net, mended(given)).shape[1] == 2


def test_images_from_0_to_255_are_told(caplog):
    large = (X * 255).round()
    with pytest.raises(InputError, match="x runs from 0 to 25., the box from 0 to 1: write x / 255"):
        ig.minimal_distortion(conv(), large, LABELS)
    assert ig.minimal_distortion(conv(), large, LABELS, options=ig.SearchOptions(upper=255)).status[0] != "bad_input"
    collect(large)
    assert caplog.text.count("whole numbers from 0 to 255: write batch / 255") == 1
    for call in (lambda x: gaussian_noise(x, 0.1, 0, range(4)), lambda x: amplify(X.numpy(), x, 0.1)):
        with pytest.raises(InputError, match=r"outside \[0.0, 1.0\] or NaN \(uint8 from 0 to 25.\): give images / 255"):
            call(large.to(torch.uint8).numpy())


@pytest.mark.parametrize("call", CALLS)
def test_numpy_arrays_are_taken(call):
    given = X.numpy().copy()
    given.flags.writeable = False
    seen, wanted = CALLS[call](given), CALLS[call](X)
    if call == "minimal_distortion":
        assert torch.equal(seen.adversarial, wanted.adversarial)
    elif call == "predict":
        assert torch.equal(seen, wanted)
    else:
        assert torch.equal(seen[0].vectors["0"], wanted[0].vectors["0"])


def test_tensors_that_ask_for_gradients_are_taken_by_amplify():
    moved = (X * 0.9).requires_grad_()
    assert np.array_equal(amplify(X, moved, 0.1).images, amplify(X.numpy(), moved.detach().numpy(), 0.1).images)


def test_one_tensor_is_no_loader():
    with pytest.raises(InputError, match=r"one array of shape \(4, 3, 8, 8\).*write \[x\]"):
        list(ig.collect_activations(conv(), X, ["0"]))


def test_what_is_no_array_is_told():
    with pytest.raises(InputError, match="x is a list"):
        ig.minimal_distortion(conv(), [[1.0]], [0])
    with pytest.raises(InputError, match="type <U1; it must be of numbers"):
        ig.minimal_distortion(conv(), np.array([["a"]]), [0])


def test_an_error_of_the_models_own_is_left_as_it_is():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        predict(Broken(), X, slots=4)


@pytest.mark.parametrize("wrong", [True, "0.5", None])
@pytest.mark.parametrize("name", ["penalty_tolerance", "memory_fraction", "slots", "classes", "upper"])
def test_search_options_of_another_type_are_refused(name, wrong):
    with pytest.raises(InputError, match=f"{name} is {wrong!r}"):
        ig.SearchOptions(**{name: wrong})
