"""Training: accuracy on real digits, determinism, weight decay against a closed form."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from intriguing.data import load_dataset
from intriguing.data.dataset import build_dataset
from intriguing.errors import InputError, ModelError, UnknownNameError
from intriguing.models import GENERAL, TrainOptions, build_model, error_rate, resolved, save_weights, train_model
from intriguing.models.encoder import fit_head, reconstruction_loss
from intriguing.models.fitting import Decay, Examples, fit


@pytest.fixture(scope="module")
def digits():
    return load_dataset("mnist-sample")


@pytest.fixture(scope="module")
def few(digits):
    """600 training and 200 test digits of the sample."""
    parts = {
        name: (split.images[:count], split.labels[:count], split.ids[:count])
        for (name, split), count in zip(digits.splits.items(), (600, 200), strict=True)
    }
    return build_dataset("few", parts, "h", 10)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("softmax", 0.10), ("mlp", 0.06), ("cnn", 0.035)])
def test_a_recipe_reaches_its_accuracy_on_the_sample(digits, name, most):
    model = build_model(name, digits.shape, digits.classes)
    report = train_model(model, digits)
    assert report.test_error is not None
    assert report.test_error < most
    assert report.train_error < report.test_error
    assert report.test_error == error_rate(model, digits.split("test"))


@pytest.mark.parametrize(("name", "options"), [("softmax", {}), ("cnn", {}), ("autoencoder", {"hidden": 30})])
def test_the_same_seed_gives_the_same_weights_whatever_ran_before(few, name, options):
    made = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = build_model(name, few.shape, 10, options, seed=5)
        train_model(model, few, TrainOptions(epochs=2, encoder_epochs=1), seed=5)
        made.append(save_weights(model))
    assert made[0] == made[1]


def test_another_seed_gives_another_order_of_images(few):
    made = []
    for seed in (1, 2):
        model = build_model("cnn", few.shape, 10, seed=0)
        train_model(model, few, TrainOptions(epochs=1), seed=seed)
        made.append(save_weights(model))
    assert made[0] != made[1]


def test_training_leaves_global_state_alone(few):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10))
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train_model(model, few, TrainOptions(epochs=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_dropout_is_keyed_by_the_seed(few):
    made = []
    for noise in (1, 2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 10))
        torch.manual_seed(noise)
        train_model(model, few, TrainOptions(epochs=1), seed=3)
        made.append(save_weights(model))
    assert made[0] == made[1]


@pytest.mark.parametrize("form", ["half", "printed"])
def test_the_softmax_is_at_the_minimum_of_the_penalised_loss(few, form):
    rate = 0.05
    model = build_model("softmax", few.shape, 10)
    train_model(model, few, TrainOptions(weight_decay=rate, decay_form=form, epochs=200))
    x = few.split("train").pixels(slice(None)).flatten(1).double()
    p = (x @ model.get_parameter("logits.weight").double().T + model.get_parameter("logits.bias")).softmax(1)
    onehot = torch.nn.functional.one_hot(torch.tensor(few.split("train").labels), 10)
    gradient = (p - onehot).T @ x / len(x)
    factor = rate if form == "half" else 2 * rate / 10
    wanted = -factor * model.get_parameter("logits.weight").double()
    assert (gradient - wanted).norm() < 3e-3 * gradient.norm()


def test_decay_gives_each_weight_its_own_rate_and_biases_none():
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
    for p in model.parameters():
        nn.init.ones_(p)
    options = TrainOptions(weight_decay=(0.5, 2.0), decay_form="half")
    assert Decay.of(model, options).penalty() == 0.25 * 8 + 1.0 * 12
    printed = TrainOptions(weight_decay=(0.5, 2.0), decay_form="printed")
    assert Decay.of(model, printed).penalty() == pytest.approx(0.5 * 8 / 4 + 2.0 * 12 / 3)


def test_decay_needs_one_rate_per_weight(few):
    with pytest.raises(InputError, match="2 entries; the model has 3 weight tensors"):
        train_model(build_model("mlp", few.shape, 10), few, TrainOptions(weight_decay=(1e-5, 1e-6)))


def test_the_autoencoder_reconstructs_sparsely_and_is_not_fine_tuned(few):
    model = build_model("autoencoder", few.shape, 10, {"hidden": 50}, seed=1)
    train_model(model, few, TrainOptions(encoder_epochs=20, batch_size=32, epochs=1, sparsity_penalty=20.0), seed=1)
    code = model.get_submodule("encoder")(few.split("test").pixels(slice(None)).flatten(1))
    before = code.detach().clone()
    assert 0.02 < float(code.mean()) < 0.2
    longer = build_model("autoencoder", few.shape, 10, {"hidden": 50}, seed=1)
    report = train_model(
        longer, few, TrainOptions(encoder_epochs=20, batch_size=32, epochs=60, sparsity_penalty=20.0), seed=1
    )
    after = longer.get_submodule("encoder")(few.split("test").pixels(slice(None)).flatten(1))
    assert torch.equal(before, after)
    assert report.test_error is not None
    assert report.test_error < 0.45


def test_sgd_learns(few):
    model = build_model("cnn", few.shape, 10)
    assert train_model(model, few, TrainOptions(optimizer="sgd", learning_rate=0.1, epochs=8)).train_error < 0.3


def test_images_converted_batch_by_batch_train_the_same_model(few, monkeypatch):
    made = []
    for keep in (1024**3, 0):
        monkeypatch.setattr("intriguing.models.fitting._KEEP", keep)
        model = build_model("softmax", few.shape, 10)
        train_model(model, few, TrainOptions(epochs=3))
        made.append(save_weights(model))
    assert made[0] == made[1]


def test_training_without_evaluation_measures_nothing(few):
    report = train_model(build_model("softmax", few.shape, 10), few, TrainOptions(epochs=1), evaluate=False)
    assert math.isnan(report.train_error)
    assert report.test_error is None


@pytest.mark.parametrize("normalised", ["vectors", "maps of one place"])
def test_the_one_image_that_remains_of_an_epoch_is_left_out_where_a_batch_norm_refuses_it(normalised):
    """65 images in batches of 32: "Expected more than 1 value per channel when training", after work had begun."""
    rng = np.random.default_rng(0)
    data = build_dataset("odd", {"train": (rng.random((65, 1, 4, 4)), np.arange(65) % 3, None)}, "h", 3)
    if normalised == "vectors":
        layers = [nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8)]
    else:
        layers = [nn.Conv2d(1, 8, 4), nn.BatchNorm2d(8), nn.Flatten()]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(8, 3))
    report = train_model(model, data, TrainOptions(epochs=30, batch_size=32, learning_rate=0.01))
    assert report.loss < 1.0
    for size in (1, 65):
        train = TrainOptions(epochs=1, batch_size=size)
        if size == 1:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                train_model(model, data, train)
        else:
            train_model(model, data, train)


def test_a_loss_that_diverges_is_told(few):
    model = build_model("cnn", few.shape, 10)
    with torch.no_grad():
        model.get_parameter("logits.bias")[0] = float("nan")
    with pytest.raises(ModelError, match="diverged.*learning_rate"):
        train_model(model, few, TrainOptions(epochs=1))


def test_a_data_set_without_training_split_is_told(few):
    tested = few.split("test")
    data = build_dataset("tested", {"test": (np.asarray(tested.images), tested.labels, None)}, "h", 10)
    with pytest.raises(UnknownNameError, match="'train'"):
        train_model(build_model("softmax", few.shape, 10), data)


def test_options_go_before_the_recipe_and_the_recipe_before_the_general():
    model = build_model("mlp", (1, 8, 8), 10)
    chosen = resolved(model, TrainOptions(epochs=2))
    assert (chosen.epochs, chosen.batch_size, chosen.optimizer) == (2, 256, "adam")
    assert resolved(nn.Flatten()) == GENERAL


def test_options_come_from_a_spec_and_unknown_keys_get_the_nearest():
    assert TrainOptions.of({"epochs": 3, "weight_decay": [1e-5, 1e-6]}).weight_decay == (1e-5, 1e-6)
    with pytest.raises(UnknownNameError, match="'epoch'. Did you mean 'epochs'"):
        TrainOptions.of({"epoch": 3})
    with pytest.raises(UnknownNameError, match="'adma'. Did you mean 'adam'"):
        TrainOptions(optimizer="adma")


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1e-3},
        {"weight_decay": (1e-3, -1.0)},
        {"weight_decay": "much"},
        {"warm_up": 2.0},
        {"sparsity": 0.0},
    ],
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=f"Training option {next(iter(bad))} ="):
        TrainOptions(**bad)


def test_the_head_is_the_same_on_whitened_codes_and_reached_sooner():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(400, 12)) + 1
    labels = (codes @ rng.normal(size=(12, 4))).argmax(1)
    examples = Examples(torch.tensor(codes, dtype=torch.float32).__getitem__, torch.tensor(labels))
    options = TrainOptions(optimizer="lbfgs", epochs=500, weight_decay=1e-2).over(GENERAL)
    plain, whitened = nn.Linear(12, 4), nn.Linear(12, 4)
    for head in (plain, whitened):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    expected = fit(plain, examples, options, Decay.of(plain, options), 0)
    reached = fit_head(whitened, examples, options, 0)
    assert reached == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(whitened.weight.detach(), plain.weight.detach(), atol=2e-2)
    logits = examples.inputs(slice(None)) @ whitened.weight.T + whitened.bias
    loss = F.cross_entropy(logits, examples.labels) + Decay.of(whitened, options).penalty()
    assert loss.item() == pytest.approx(reached, rel=1e-4)


def test_corruption_is_seen_by_the_encoder_alone_and_drawn_anew_by_the_seed(few):
    made = {}
    for corruption, seed in ((0.0, 1), (0.5, 1), (0.5, 1)):
        model = build_model("autoencoder", few.shape, 10, {"hidden": 20}, seed=1)
        options = TrainOptions(encoder_epochs=2, epochs=2, corruption=corruption)
        train_model(model, few, options, seed=seed, evaluate=False)
        made.setdefault(corruption, []).append(save_weights(model))
    assert made[0.5][0] == made[0.5][1]
    assert made[0.5][0] != made[0.0][0]


def test_the_losses_of_the_encoder_are_those_of_its_docstring():
    torch.manual_seed(0)
    x, encoder, decoder = torch.rand(7, 9), nn.Sequential(nn.Linear(9, 4), nn.Sigmoid()), nn.Linear(4, 9)
    examples = Examples(x.__getitem__, torch.zeros(7, dtype=torch.int64))
    code = encoder(x).detach().double().numpy()
    told, pixels = decoder(encoder(x)).detach().double().numpy(), x.double().numpy()
    mean = code.mean(0)
    divergence = (0.2 * np.log(0.2 / mean) + 0.8 * np.log(0.8 / (1 - mean))).sum()
    given = 1 / (1 + np.exp(-told))
    errors = {
        "squared": 0.5 * np.square(told - pixels).sum(1).mean(),
        "cross_entropy": -(pixels * np.log(given) + (1 - pixels) * np.log(1 - given)).sum(1).mean(),
    }
    for loss, error in errors.items():
        options = TrainOptions(encoder_loss=loss, sparsity=0.2, sparsity_penalty=3.0, corruption=0.0)
        value = reconstruction_loss(encoder, decoder, examples, options, slice(None))
        assert value.item() == pytest.approx(error + 3 * divergence, rel=1e-5)


def test_an_unknown_reconstruction_is_refused():
    with pytest.raises(UnknownNameError, match="'squared'"):
        TrainOptions(encoder_loss="square")
