"""Models in odd forms, and what they keep outside of their weights: built alike everywhere, or refused before work."""

import random
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.data.dataset import build_dataset
from intriguing.errors import ModelError
from intriguing.models import TrainOptions, build_model, load_weights, predict, probe, save_weights, train_model
from intriguing.models.files.outside import check_forward, check_outside
from intriguing.stages.common.parameters import Architecture
from intriguing.sweep import preflight
from tests.models import outside_models

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(jit|weight_norm).*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
]

SHAPE = (1, 4, 4)


def builder(name):
    return partial(build_model, f"tests.models.outside_models:{name}", SHAPE, 3, None)


def images(n=6):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = (
        rng.random((60, 1, 4, 4)) * 0.5 + 0.5 * (labels[:, None, None, None] == np.arange(4)[None, None, :, None])
    ).astype(np.float32)
    return build_dataset("few", {"train": (x, labels, None)}, "h", 3)


def to_check(name, **rest):
    architecture = Architecture(f"tests.models.outside_models:{name}", {}, SHAPE, 3, "")
    return preflight.ModelToCheck("d", "m", architecture, {}, "", (), 8, {}, **rest)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("in_a_list", "held.0"),
        ("in_an_array", "held"),
        ("of_pythons_random", "held"),
        ("in_a_buffer_that_is_not_kept", "held"),
    ],
)
def test_random_numbers_outside_of_the_state_dict_are_refused_where_a_seed_changes_them(name, where):
    """Each task builds a model with seed 0 and gives it its stored weights: of seed 1, it was another network."""
    build = builder(name)
    check_outside(build(0), SHAPE, build, [0])
    with pytest.raises(ModelError, match=f"outside of its state dict, in '{where}': built again"):
        check_outside(build(0), SHAPE, build, [0, 1])
    with pytest.raises(ModelError, match=r"models.m on d: The model keeps random numbers"):
        preflight.layer_units(to_check(name, seeds=(1,)))


def test_random_numbers_without_a_seed_are_refused_for_any_seed():
    build = builder("without_a_seed")
    with pytest.raises(ModelError, match="draw it by a generator that begins at a fixed seed"):
        check_outside(build(0), SHAPE, build, [0])


@pytest.mark.parametrize("name", ["a_constant", "in_a_buffer", "made_of_its_weights", "Recurrent"])
def test_what_is_constant_or_made_of_the_weights_is_no_other_network(name):
    build = builder(name)
    check_outside(build(0), SHAPE, build, [0, 1, 2])
    again = load_weights(build(0), save_weights(build(1)))
    assert torch.equal(predict(again, images()), predict(build(1), images()))


def test_what_modules_keep_may_be_of_any_kind():
    model = nn.Linear(16, 3)
    model.itself = [model.__dict__]
    model.itself.append(model.itself)
    model.kinds = {
        "complex": torch.tensor([1 + 2j]).conj(),
        "bfloat16": torch.ones(3, dtype=torch.bfloat16).expand(2, 3),
        "bool": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "sparse": torch.eye(2).to_sparse(),
        "objects": np.array([None, "x"], dtype=object),
        "text": np.array(["x"]),
    }
    model = nn.Sequential(nn.Flatten(), model)
    check_outside(model, SHAPE, lambda seed: model, [0, 1])


def test_a_state_dict_that_holds_no_tensors_is_refused_before_any_work():
    with pytest.raises(ModelError, match=r"models.m on d: .*'1._extra_state', a dict: .* tensors alone are stored"):
        preflight.layer_units(to_check("with_extra_state"))


@pytest.mark.parametrize("name", ["in_an_array", "of_pythons_random"])
def test_what_is_drawn_of_numpy_or_python_follows_the_seed_and_their_state_is_left_alone(name):
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    one, other, third = builder(name)(0), builder(name)(0), builder(name)(1)
    assert torch.equal(one.projection, other.projection)
    assert not torch.equal(one.projection, third.projection)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_lazy_layers_have_the_shapes_and_the_weights_of_the_seed(data):
    one, other = builder("lazy")(3), builder("lazy")(3)
    assert one[1].weight.shape == (8, 16)
    assert save_weights(one) == save_weights(other)
    assert save_weights(one) != save_weights(builder("lazy")(4))
    train_model(one, data, TrainOptions(epochs=1))
    assert torch.isfinite(predict(one, images())).all()


def test_a_lazy_model_that_was_never_called_is_told_so():
    with pytest.raises(ModelError, match=r"The weight 1.weight has no shape yet.*Call the model once"):
        ig.minimal_distortion(outside_models.lazy(), images(), torch.zeros(6, dtype=torch.long))


def test_complex_weights_are_trained(data):
    model = builder("complex_weights")(0)
    before = model.weight.detach().clone()
    train_model(model, data, TrainOptions(epochs=2))
    assert not torch.equal(model.weight, before)


def test_a_scripted_model_is_searched_and_its_layers_are_refused(data):
    model = probe(builder("scripted")(0))
    assert not any(weight.requires_grad for weight in model.parameters())
    result = ig.minimal_distortion(model, images(), predict(model, images()).argmax(1))
    assert set(map(str, result.status)) == {"found"}
    for layer in ("1", "2:in"):
        with pytest.raises(ModelError, match=f"Layer '{layer}' is a part of a scripted or traced module"):
            next(ig.collect_activations(model, [images()], layer))
    traced = nn.Sequential(torch.jit.trace(outside_models.with_a_frozen_part(), images()), nn.Identity())
    with pytest.raises(ModelError, match=r"Layer '0.1' is a part of a scripted or traced module"):
        next(ig.collect_activations(traced, [images()], "0.1"))
    assert next(ig.collect_activations(traced, [images()], "1")).vectors["1"].shape == (6, 3)


def test_a_model_without_weights_is_not_trained():
    with pytest.raises(ModelError, match="It has no weights to train: write train = false"):
        preflight.layer_units(to_check("frozen_script", is_trained=True))
    assert preflight.layer_units(to_check("frozen_script")) == {}


def test_weights_that_a_builder_froze_stay_and_a_frozen_model_is_trained_whole(data):
    model = builder("with_a_frozen_part")(0)
    kept = model[1].weight.detach().clone()
    train_model(model, data, TrainOptions(epochs=1))
    assert torch.equal(model[1].weight, kept)
    assert not torch.equal(model[3].weight, builder("with_a_frozen_part")(0)[3].weight)
    train_model(probe(model), data, TrainOptions(epochs=1))
    assert not torch.equal(model[1].weight, kept)


def test_layers_of_a_compiled_model_are_those_of_the_model_as_it_was_written():
    """Hooks were compiled with the model, and gave no tensor once it had been compiled anew too often."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    compiled = torch.compile(model, backend="eager")
    [block] = ig.collect_activations(compiled, [images()], "_orig_mod.2")
    [plain] = ig.collect_activations(model, [images()], "2")
    assert torch.equal(block.vectors["_orig_mod.2"], plain.vectors["2"])


def test_a_model_whose_output_is_sparse_has_layers_all_the_same():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    model.register_forward_hook(lambda net, x, out: out.to_sparse())
    assert next(ig.collect_activations(model, [images()], "0")).vectors["0"].shape == (6, 16)


class Changes(nn.Module):
    """A network whose forward changes how torch computes, and leaves it so unless it ends that."""

    def __init__(self, begin, end):
        super().__init__()
        self.layer, self.begin, self.end = nn.Linear(16, 3), begin, end

    def forward(self, x):
        self.begin()
        out = self.layer(x.flatten(1))
        self.end()
        return out


@pytest.mark.parametrize(
    ("begin", "end", "named"),
    [
        (
            lambda: torch.set_autocast_enabled("cpu", True),
            lambda: torch.set_autocast_enabled("cpu", False),
            "autocast (cpu)",
        ),
        (
            lambda: torch.set_default_dtype(torch.float64),
            lambda: torch.set_default_dtype(torch.float32),
            "the default type",
        ),
        (
            lambda: torch.set_flush_denormal(True),
            lambda: torch.set_flush_denormal(False),
            "how denormal numbers are taken",
        ),
    ],
)
def test_a_forward_that_leaves_torch_to_compute_otherwise_is_refused(begin, end, named):
    """A search under an autocast that the forward had never left did its own arithmetic in bfloat16."""
    check_forward(Changes(begin, end), SHAPE)
    with pytest.raises(ModelError, match=re.escape(f"The model's forward changes {named} of torch and leaves it so")):
        check_forward(Changes(begin, lambda: None), SHAPE)
    assert not torch.is_autocast_enabled("cpu")
    assert torch.get_default_dtype() == torch.float32
    assert torch.tensor([1e-40]).mul(1).item() > 0
