"""A hardened training: resumable by epoch to the bit, keyed, and a plain one is an ordinary training."""

import numpy as np
import pytest
import torch
from torch import nn

from intriguing.basics.process import liveness
from intriguing.data import load_dataset
from intriguing.errors import InputError, ModelError
from intriguing.hardening import Hardening, HardeningOptions, training
from intriguing.hardening.changes import new_changes
from intriguing.hardening.measures import error_of, fooled, held_out, measure
from intriguing.hardening.pools import Entries, Pool, pack, unpack
from intriguing.hardening.training import Clock
from intriguing.models import TrainOptions, build_model, classes_of, predict, save_weights, train_model
from intriguing.models.fitting import Examples

LAYERS = ("input", "hidden1", "hidden2")
SHORT = {"new_per_epoch": 8, "kept_epochs": 2, "renewals": 2}
ADAM = TrainOptions(epochs=3, batch_size=64, learning_rate=1e-2, warm_up=0.2, weight_decay=1e-5)


@pytest.fixture(scope="module")
def digits():
    data = load_dataset("mnist-sample")
    everything, _ = Examples.of(data.split("train"), torch.device("cpu"))
    few = torch.arange(600)
    return Examples(lambda rows: everything.inputs(few[rows]), everything.labels[few])


def net():
    return build_model("mlp", (1, 28, 28), 10, {"hidden": [12, 10]}, 0)


class Normed(nn.Module):
    """Batch norm, dropout and a forward of its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(784, 12), nn.BatchNorm1d(12), nn.ReLU())
        self.head = nn.Linear(12, 10)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.head(self.drop(self.first(x.flatten(1))))


def normed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Normed()


VARIANTS = [
    ("pools", net, HardeningOptions("pools", LAYERS, cap=1.0, **SHORT), ADAM),
    ("below", net, HardeningOptions("pools", LAYERS, below="trained", **SHORT), ADAM),
    ("noise", net, HardeningOptions("noise", LAYERS, **SHORT), ADAM),
    ("pgd", net, HardeningOptions("pgd", steps=2), ADAM),
    ("dropout", net, HardeningOptions(dropout=(0.1, 0.2), dropped=LAYERS[1:]), ADAM),
    ("user's", normed, HardeningOptions("pools", ("input", "first"), **SHORT), ADAM.over(TrainOptions())),
    ("sgd", net, HardeningOptions("pools", LAYERS[1:], **SHORT), TrainOptions(optimizer="sgd").over(ADAM)),
]


@pytest.mark.parametrize(("make", "options", "trained"), [v[1:] for v in VARIANTS], ids=[v[0] for v in VARIANTS])
def test_a_training_that_goes_on_from_checkpoints_is_the_same_to_the_bit(digits, make, options, trained):
    whole = Hardening(make(), digits, options, trained, seed=3)
    stored = []
    for epoch in range(3):
        whole.epoch(epoch)
        stored.append(whole.checkpoint())
    # Another process: nothing but what was stored after the second epoch, and what epochs before it found.
    other = Hardening(make(), digits, options, trained, seed=3)
    torch.rand(17)
    other.restore(stored[1]["weights"], stored[1]["optimizer"], [stored[0]["pools"], stored[1]["pools"]])
    clock = other.epoch(2)
    assert other.checkpoint() == stored[2]
    assert clock.searched == (len(options.layers) * SHORT["new_per_epoch"] if options.has_pools else 0)
    assert len(clock.norms) == (len(options.layers) if options.has_pools else 0)


def test_nothing_mixed_in_is_an_ordinary_training(digits):
    ours = Hardening(net(), digits, HardeningOptions(), ADAM, seed=5)
    for epoch in range(3):
        ours.epoch(epoch)
    data = load_dataset("mnist-sample")
    split = data.split("train")
    few = type(split)(split.images[:600], split.labels[:600], split.ids[:600])
    theirs = net()
    train_model(theirs, type(data)("few", {"train": few}, data.shape, 10, "0"), ADAM, seed=5)
    assert save_weights(ours.model) == save_weights(theirs)


def test_a_training_neither_uses_nor_changes_torch_s_random_state(digits):
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        one = Hardening(normed(), digits, VARIANTS[5][2], ADAM)
        before = torch.get_rng_state()
        one.epoch(0)
        one.epoch(1)
        assert torch.equal(torch.get_rng_state(), before)
        results.append(one.checkpoint())
    assert results[0] == results[1]


def test_variants_of_a_seed_see_the_same_images_in_the_same_order(digits):
    seen = []
    for options in (HardeningOptions(), HardeningOptions("pgd", weight=0.0)):
        one = Hardening(net(), digits, options, ADAM, seed=2)
        one.epoch(0)
        seen.append(save_weights(one.model))
    assert seen[0] == seen[1]


def test_every_layer_s_pool_fills_and_forgets(digits):
    one = Hardening(net(), digits, VARIANTS[0][2], ADAM)
    assert one.epoch(0).searched == 0  # an untrained network has nothing to teach
    found = []
    for epoch in (1, 2, 3):
        clock = one.epoch(epoch)
        assert clock.searched == 24
        found.append(clock.found)
        assert sum(map(len, one._pools.values())) == sum(found[-2:])
    assert min(found) > 0
    assert set(clock.norms) == set(LAYERS)


@pytest.mark.parametrize(("batch_size", "renewals"), [(300, 4), (300, 5), (600, 3), (64, 3)])
def test_an_epoch_searches_all_its_new_changes_however_few_its_steps_are(digits, batch_size, renewals):
    options = HardeningOptions("pools", ("hidden2",), new_per_epoch=8, renewals=renewals)
    one = Hardening(net(), digits, options, TrainOptions(batch_size=batch_size).over(ADAM))
    one.epoch(0)
    assert one.epoch(1).searched == 8


def test_a_clock_sums_what_epochs_cost_and_keeps_what_is_of_the_last():
    first = Clock(2.0, 1.5, 8, 7, {"input": 0.1}, 0.5)
    last = Clock(3.0, 0.5, 8, 6, {"input": 0.2}, 0.25)
    assert last.after(first) == Clock(5.0, 2.0, 16, 13, {"input": 0.2}, 0.25)
    assert last.after(Clock()) == last


def test_noise_is_no_start_for_a_search(digits, monkeypatch):
    drawn = []

    def searched(cut, images, options, *keys):
        drawn.append(images)
        return new_changes(cut, images, options, *keys)

    monkeypatch.setattr(training, "new_changes", searched)
    for options, warm in ((VARIANTS[2][2], False), (VARIANTS[0][2], True)):
        one = Hardening(net(), digits, options, ADAM)
        for epoch in range(3):
            one.epoch(epoch)
        assert any(images.warm is not None for images in drawn) == warm
        drawn.clear()


def test_an_epoch_and_its_measures_give_signs_of_life(digits, monkeypatch):
    heard = []
    monkeypatch.setattr(liveness, "_listener", lambda: heard.append(1))
    one = Hardening(net(), digits, HardeningOptions("pgd"), ADAM)
    one.epoch(0)
    assert len(heard) == 10  # batches of 64
    error_of(one.model, digits)
    assert len(heard) == 11


def test_a_pool_keeps_the_last_epochs_and_knows_its_oldest_and_newest():
    def entries(*positions):
        return Entries(torch.tensor(positions), torch.zeros(len(positions), 3, dtype=torch.float16))

    pool = Pool(2)
    assert pool.together() is None
    assert pool.oldest() is None
    for epoch in range(3):
        pool = pool.begun().with_(entries(epoch)).with_(entries(10 + epoch, 20 + epoch))
    assert pool.together().positions.tolist() == [1, 11, 21, 2, 12, 22]
    assert pool.oldest().positions.tolist() == [1, 11, 21]
    assert pool.newest().positions.tolist() == [2, 12, 22]
    again = unpack([pack({"a": entries(9)}), pack({"a": pool.oldest()}), pack({"a": pool.newest()})], ["a", "b"], 2,
                   torch.device("cpu"))  # fmt: skip
    assert again["a"].together().positions.tolist() == pool.together().positions.tolist()
    assert len(again["b"]) == 0


def test_adversarial_training_makes_a_network_harder_to_fool(digits):
    measured = {}
    for name, options in (("plain", HardeningOptions()), ("pgd", HardeningOptions("pgd", radius=1.0))):
        one = Hardening(net(), digits, options, TrainOptions(epochs=12, batch_size=32).over(ADAM))
        for epoch in range(12):
            one.epoch(epoch)
        measured[name] = measure(one.model, digits.inputs(slice(0, 40)), digits.labels[:40], "fast")
    assert measured["pgd"].rms > 1.2 * measured["plain"].rms
    plain = measured["plain"]
    wrong, count = fooled(one.model, digits.inputs(plain.positions), plain.adversarial, digits.labels[plain.positions])
    assert count >= 30
    assert wrong < 0.7 * count
    assert fooled(one.model, digits.inputs(slice(0, 0)), plain.adversarial[:0], digits.labels[:0]) == (0, 0)


class Diverged(nn.Module):
    """A network whose training left NaN for weights."""

    def forward(self, x):
        return torch.full((len(x), 10), torch.nan)


def test_a_network_that_answers_nan_is_never_right():
    """The place of the first NaN was its class: it had an error of nine tenths, and was robust."""
    images, labels = torch.rand(20, 1, 2, 2), torch.arange(20) % 10
    assert error_of(Diverged(), Examples(lambda rows: images[rows], labels)) == 1
    assert fooled(Diverged(), images, images, labels) == (0, 0)


def test_held_out_examples_are_not_trained_on(digits):
    order = np.random.default_rng(0).permutation(len(digits))
    rest, out = held_out(digits, 100, order)
    assert (len(rest), len(out)) == (500, 100)
    assert torch.equal(out.labels, digits.labels[np.sort(order[:100])])
    assert torch.equal(out.inputs(slice(0, 3)), digits.inputs(torch.from_numpy(np.sort(order[:100])[:3])))
    assert torch.equal(rest.labels, digits.labels[np.sort(order[100:])])
    assert torch.equal(rest.inputs(slice(0, 3)), digits.inputs(torch.from_numpy(np.sort(order[100:])[:3])))
    assert 0 <= error_of(net(), rest) <= 1


def test_an_image_that_is_wrong_before_any_change_has_no_distortion(digits):
    model, images = net(), digits.inputs(slice(0, 4))
    labels = torch.from_numpy(classes_of(predict(model, images)))
    labels[2] = (labels[2] + 1) % 10
    measured = measure(model, images, labels, "fast")
    assert np.isnan(measured.distortions).tolist() == [False, False, True, False]
    assert (measured.found, measured.positions.tolist()) == (3, [0, 1, 3])
    assert measured.rms == pytest.approx(measured.distortions[[0, 1, 3]].mean())
    assert measured.rms == pytest.approx(
        (measured.adversarial - images[[0, 1, 3]]).square().mean((1, 2, 3)).sqrt().mean()
    )
    nothing = measure(model, images[2:3], labels[2:3], "fast")
    assert (nothing.rms, nothing.found) == (None, 0)


def test_what_cannot_be_hardened_is_refused_with_what_to_write(digits):
    with pytest.raises(ModelError, match="an autoencoder's layers are trained one after the other"):
        Hardening(build_model("autoencoder", (1, 28, 28), 10), digits, HardeningOptions())
    with pytest.raises(InputError, match="write optimizer = 'adam'"):
        Hardening(build_model("softmax", (1, 28, 28), 10), digits, HardeningOptions())
    with pytest.raises(InputError, match="needs a layer"):
        HardeningOptions("pools")
    with pytest.raises(InputError, match="names a layer twice"):
        HardeningOptions("pools", ("input", "input"))
    for wrong in ({"weight": 1.5}, {"new_per_epoch": 0}, {"cap": 0.0}, {"dropout": (1.0,)}, {"revisited": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            HardeningOptions(**wrong)


def test_a_loss_that_is_not_finite_is_said(digits):
    with pytest.raises(ModelError, match="Training diverged"):
        Hardening(net(), digits, HardeningOptions(), TrainOptions(learning_rate=1e30).over(ADAM)).epoch(0)
