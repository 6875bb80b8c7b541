"""Building models by name."""

import copy
import pickle

import pytest
import torch

from intriguing.errors import InputError, ModelError, UnknownNameError
from intriguing.models import (
    TrainOptions,
    build_model,
    check_model,
    known_models,
    load_weights,
    parameter_count,
    probe,
    save_weights,
    source_hash,
    weights_hash,
)
from intriguing.models.build import _BUILDERS
from intriguing.models.published import Normalize

GREY, COLOUR = (1, 28, 28), (3, 64, 64)


@pytest.fixture
def module_path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["softmax", "mlp", "cnn", "autoencoder"])
def test_a_network_gives_finite_logits_and_has_a_layer_named_logits(name):
    model = probe(build_model(name, GREY, 10))
    check_model(model, GREY, 10)
    assert "logits" in dict(model.named_modules())


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("softmax", {}, 784 * 10 + 10),
        ("mlp", {"hidden": [123, 456]}, 785 * 123 + 124 * 456 + 457 * 10),
        ("cnn", {}, 26 * 16 + 401 * 32 + 513 * 100 + 101 * 10),
        ("autoencoder", {}, 785 * 400 + 401 * 10),
    ],
)
def test_networks_have_the_sizes_of_their_names(name, options, count):
    assert parameter_count(build_model(name, GREY, 10, options)) == count


def test_hidden_layers_are_named_in_order_and_give_what_the_nonlinearity_gives():
    model = build_model("mlp", GREY, 10, {"hidden": [7, 5, 3]})
    assert [n for n, _ in model.named_children()] == ["flatten", "hidden1", "hidden2", "hidden3", "logits"]
    out = model.get_submodule("hidden1")(torch.randn(4, 784) * 100)
    assert out.min() >= 0 and out.max() <= 1


def test_weights_follow_the_seed_and_nothing_else():
    torch.manual_seed(1)
    first = weights_hash(build_model("cnn", GREY, 10, seed=3))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert weights_hash(build_model("cnn", GREY, 10, seed=3)) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_hash(build_model("cnn", GREY, 10, seed=4)) != first


def test_an_unknown_model_or_option_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="'sofmax'. Did you mean 'softmax'"):
        build_model("sofmax", GREY, 10)
    with pytest.raises(UnknownNameError, match="option of mlp named 'hiden'. Did you mean 'hidden'"):
        build_model("mlp", GREY, 10, {"hiden": [3]})
    with pytest.raises(UnknownNameError, match="activation of mlp named 'sigmod'"):
        build_model("mlp", GREY, 10, {"activation": "sigmod"})


@pytest.mark.parametrize("width", [0, -1, 2.5, True])
def test_widths_must_be_positive_whole_numbers(width):
    with pytest.raises(ModelError, match="hidden"):
        build_model("mlp", GREY, 10, {"hidden": [width]})


def test_an_image_too_small_for_its_convolutions_is_told():
    with pytest.raises(ModelError, match="8 x 8 is too small for convolution 2"):
        build_model("cnn", (1, 8, 8), 10)


def test_alexnet_normalises_as_a_layer_and_keeps_torchvisions_names():
    model = probe(build_model("alexnet", COLOUR, 10))
    check_model(model, COLOUR, 10)
    assert {"normalize", "features.0", "classifier.6"} <= dict(model.named_modules()).keys()
    assert not any("normalize" in name for name in model.state_dict())
    x = torch.rand(2, *COLOUR)
    assert torch.equal(model(x), model.forward(Normalize()(x)))  # forward itself runs no hook


def test_normalisation_survives_pickling_and_copies():
    model = probe(build_model("torchvision:squeezenet1_1", COLOUR, 4))
    x = torch.rand(1, *COLOUR)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))


def test_no_layer_of_a_torchvision_model_overwrites_the_one_before():
    model = build_model("alexnet-features", COLOUR, 10)
    assert not any(getattr(m, "inplace", False) for m in model.modules())


def test_alexnet_features_is_no_classifier_and_any_finite_output_will_do():
    model = probe(build_model("alexnet-features", COLOUR, 10))
    check_model(model, COLOUR, 10)
    assert model(torch.rand(1, *COLOUR)).shape == (1, 256, 1, 1)


@pytest.mark.shared
def test_real_alexnet_convolutions_load():
    from tests.conftest import SHARED

    model = load_weights(build_model("alexnet-features", COLOUR, 1000), SHARED / "alexnet_features.pt")
    assert parameter_count(model) == 2_469_696


def test_models_for_colour_refuse_grey_images():
    for name in ("alexnet", "alexnet-features", "torchvision:squeezenet1_1"):
        with pytest.raises(ModelError, match="3 channels"):
            build_model(name, GREY, 10)


def test_published_weights_that_are_absent_are_named_with_their_place(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="checkpoints/alexnet-owt.*download = true"):
        build_model("alexnet", COLOUR, 1000, {"published": True})


def test_published_weights_are_taken_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    other = build_model("torchvision:squeezenet1_1", COLOUR, 1000, seed=5)
    torch.save(other.state_dict(), tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    model = build_model("torchvision:squeezenet1_1", COLOUR, 1000, {"published": True}, seed=1)
    assert save_weights(model) == save_weights(other)


def test_an_unknown_torchvision_model_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        build_model("torchvision:resnt18", COLOUR, 10)


def test_a_factory_gets_its_options_and_what_it_asks_for(module_path):
    (module_path / "my_net.py").write_text(
        "from torch import nn\n"
        "def build(width, shape, classes):\n"
        "    size = shape[0] * shape[1] * shape[2]\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.Linear(width, classes))\n"
    )
    model = build_model("my_net:build", GREY, 10, {"width": 5})
    check_model(probe(model), GREY, 10)
    assert parameter_count(model) == 785 * 5 + 6 * 10


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("broken_net:build", "needs 'x', which has no default value.*options = { x = ... }"),
        ("broken_net:fails", "failed: TypeError"),
        ("broken_net:text", "returned str"),
        ("broken_net:txt", "no function 'txt' .*Did you mean 'text'. It has: build, fails, text[.]"),
        ("no_net:build", "no module 'no_net'"),
    ],
)
def test_a_factory_that_does_not_work_is_told(module_path, factory, told):
    (module_path / "broken_net.py").write_text(
        "def build(x):\n    return 1\ndef fails():\n    return 1 + ''\ndef text():\n    return 'x'\n"
    )
    with pytest.raises(ModelError, match=told):
        build_model(factory, GREY, 10)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"width": 8, "widht": 8}, "no option of optional_net:build named 'widht'. Did you mean 'width'"),
        ({"widht": 8}, "no option of optional_net:build named 'widht'. Did you mean 'width'"),
        ({"width": 8, "deep": 2}, "named 'deep'. Did you mean 'depth'.*Valid names: depth, width[.]"),
    ],
)
def test_an_option_that_a_user_s_builder_lacks_is_told_with_the_nearest(module_path, options, told):
    (module_path / "optional_net.py").write_text("def build(width, *, shape, depth=1):\n    return 1\n")
    with pytest.raises(UnknownNameError, match=told):
        build_model("optional_net:build", GREY, 10, options)


def test_a_builder_of_any_options_takes_any(module_path):
    (module_path / "any_net.py").write_text(
        "from torch import nn\ndef build(**options):\n    return nn.Linear(**options)\n"
    )
    assert parameter_count(build_model("any_net:build", GREY, 10, {"in_features": 3, "out_features": 2})) == 8


def test_a_factorys_hash_follows_its_source_without_importing_it(module_path):
    path = module_path / "loud_net.py"
    path.write_text("raise SystemExit('imported')\n")
    before = source_hash("loud_net:build")
    assert before == source_hash("loud_net:build")
    path.write_text("raise SystemExit('imported')  # again\n")
    assert source_hash("loud_net:build") != before


def test_every_known_architecture_has_a_builder_and_a_sentence():
    assert {name for name in known_models() if ":" not in name} == set(_BUILDERS)
    assert all(known_models().values())


@pytest.mark.parametrize(
    ("architecture", "options", "told"),
    [
        ("mlp", {"hidden": "100"}, "Option hidden of mlp is '100'"),
        ("mlp", {"hidden": [16.0]}, "Option hidden of mlp is .16.0.: Input should be a valid integer"),
        ("mlp", {"hidden": [True]}, "Option hidden of mlp is .True.: Input should be a valid integer"),
        ("mlp", {"activation": 1}, "Option activation of mlp is 1: Input should be a valid string"),
        ("cnn", {"kernel": "5"}, "Option kernel of cnn is '5': Input should be a valid integer"),
        ("autoencoder", {"hidden": 4.0}, "Option hidden of autoencoder is 4.0"),
        ("torchvision:resnet18", {"published": "false"}, "Option published of torchvision:resnet18 is 'false'"),
    ],
)
def test_an_option_of_another_type_is_refused(architecture, options, told):
    with pytest.raises(ModelError, match=told):
        build_model(architecture, GREY, 10, options)


@pytest.mark.parametrize("value", [True, "3", 3.0, [3]])
@pytest.mark.parametrize("name", ["epochs", "batch_size", "encoder_epochs"])
def test_a_training_option_that_is_no_whole_number_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} = .*a whole number"):
        TrainOptions.of({name: value})


@pytest.mark.parametrize("value", [True, "0.1", [True], ["0.1"]])
def test_a_weight_decay_that_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="weight_decay = .*a number"):
        TrainOptions.of({"weight_decay": value})
    assert TrainOptions.of({"weight_decay": 1, "learning_rate": 1}).learning_rate == 1


def test_a_model_in_place_of_the_function_that_makes_it_is_told_as_such(tmp_path, monkeypatch):
    """It was called without an image: forward() missing 1 required positional argument."""
    (tmp_path / "made_already.py").write_text(
        "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    told = r"made_already:model is a Sequential\. .* write `def build\(\): return model` .* made_already:build\."
    with pytest.raises(ModelError, match=told):
        build_model("made_already:model", (1, 28, 28), 10)
