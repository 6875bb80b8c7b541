"""Settings of torch that a caller may have made: autocast, inference mode and another default type change no figure."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.errors import InputError
from intriguing.stability import excluded_classes, layer_norms, lower_bounds


@contextlib.contextmanager
def doubles():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "float64 by default": doubles,
}


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
ROWS = np.random.default_rng(0).normal(size=(200, 40)).astype(np.float32)


NET = model()


def scanned():
    scan = ig.TopK(ig.Directions.haar(40, 1), k=3)
    scan.update(ROWS, range(200))
    return scan.result().values


def rotated():
    tests = ig.rotation_test(ROWS, np.arange(200) % 3, rotations=9, subsamples=0, k=2, metrics=["auroc", "kurtosis"])
    return np.array([[test.figures.natural, test.figures.null_mean] for test in tests])


def normed():
    return np.array([ig.operator_norm(NET[1], (16,)).kind == "linear",
                     layer_norms(NET, (1, 4, 4)).product_bound])  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("figure", [scanned, rotated, normed])
def test_figures_do_not_hang_on_the_callers_settings(setting, figure):
    expected = figure()
    with SETTINGS[setting]():
        assert np.array_equal(figure(), expected)


@pytest.mark.parametrize("setting", ["inference mode", "float64 by default"])
def test_bounds_and_searches_do_not_hang_on_the_callers_settings(setting):
    net, labels = model(), model()(X).argmax(1)
    bounds = lower_bounds(net, X, labels).bound
    options = ig.SearchOptions(grade="fast", bounds="fast")
    found = ig.minimal_distortion(net, X, labels, options=options)
    with SETTINGS[setting]():
        images, classes = X + torch.zeros_like(X), labels + 0
        assert torch.equal(lower_bounds(net, images, classes).bound, bounds)
        assert excluded_classes(net, images, classes, bounds / 2).sum() == 8
        assert torch.equal(ig.minimal_distortion(net, images, classes, options=options).l2, found.l2)


def test_a_search_under_autocast_is_of_the_network_as_it_computes_there():
    """It ended with a traceback; the grade faithful did its own arithmetic in bfloat16."""
    net = model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        labels = net(X).argmax(1)
        result = ig.minimal_distortion(net, X, labels, options=ig.SearchOptions(grade="fast"))
        assert "found" in result.status and result.l2.dtype == torch.float32
        for row, status in enumerate(result.status):
            if status == "found":
                assert int(net(result.adversarial[row : row + 1]).argmax(1)) == int(result.prediction[row])
                assert int(result.prediction[row]) != int(labels[row])


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()


@contextlib.contextmanager
def default_type(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("grade", ["best", "fast", "faithful"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_no_grade_hangs_on_the_default_type(grade, dtype):
    """faithful ended with a traceback under float64, and found something else under bfloat16."""
    torch.manual_seed(0)
    net, options = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5)), ig.SearchOptions(grade=grade)
    x = torch.rand(12, 20)
    labels = net(x).argmax(1)
    expected = ig.minimal_distortion(net, x, labels, options=options)
    with default_type(dtype):
        found = ig.minimal_distortion(net, x, labels, options=options)
    assert torch.equal(found.adversarial, expected.adversarial)
    assert found.status == expected.status == ["found"] * 12


@pytest.mark.parametrize("build", [convolutional, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3))])
def test_a_search_does_not_hang_on_the_default_device(build):
    """As `torch.set_default_device("cuda")` sets it; "meta" has no values, so that whatever lands there is an error."""
    net = build()
    labels = net(X).argmax(1)
    expected = ig.minimal_distortion(net, X, labels)
    for choose in (torch.device, torch.set_default_device):
        try:
            with choose("meta") or contextlib.nullcontext():
                found = ig.minimal_distortion(net, X, labels)
                assert torch.zeros(1).is_meta
        finally:
            torch.set_default_device(None)
        assert torch.equal(found.adversarial, expected.adversarial)
        assert found.status == ["found"] * 4


class MakesItsOwn(nn.Module):
    """A network that makes a tensor on the default device in its forward."""

    def __init__(self, network):
        super().__init__()
        self.network, self.made = network, set()

    def forward(self, x):
        self.made.add(torch.zeros(1).device.type)
        return self.network(x)


def test_a_model_is_called_with_the_callers_default_device():
    net = MakesItsOwn(convolutional())
    labels = net(X).argmax(1)
    net.made.clear()
    with torch.device("meta"):
        ig.minimal_distortion(net, X, labels, options=ig.SearchOptions("fast"))
    assert net.made == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "every"}, "targets is 'every'"),
        ({"found": torch.ones(2)}, "found must be 4 numbers"),
        ({"lower": "a"}, "lower is no number"),
        ({"upper": torch.ones(5)}, "upper is no number, and no tensor that broadcasts"),
        ({"lower": float("nan")}, "must have lower <= upper"),
    ],
)
def test_arguments_of_bounds_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        lower_bounds(model(), X, [0, 1, 2, 0], **options)


def test_bounds_take_arrays_and_lists():
    labels = model()(X).argmax(1)
    plain = lower_bounds(model(), X, labels, found=torch.ones(4)).bound
    given = lower_bounds(model(), X.numpy(), labels.tolist(), lower=np.zeros((1, 1, 1)), found=[1.0] * 4).bound  # type: ignore[arg-type]
    assert torch.equal(plain, given)
