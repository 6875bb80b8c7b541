import numpy as np
import pytest
import torch
from scipy import stats

from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.comparison import compare_with_draws
from intriguing.units.directions import haar
from intriguing.units.rotation import (
    RotationOptions,
    RotationTest,
    basis,
    corrected,
    dose_statistics,
    natural_statistics,
    null_statistics,
    powers,
    rotation_test,
    subsample_spread,
    unusable,
)
from intriguing.units.scoring.metrics import scorers
from intriguing.units.scoring.scores import Depth
from intriguing.units.scoring.views import Inputs, View


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planted(seed, n=300, dim=8):
    """An axis-aligned embedding: unit c answers to class c."""
    rng = generator(seed, "planted")
    labels = rng.integers(0, dim, n)
    rows = rng.standard_normal((n, dim))
    rows[np.arange(n), labels] += 1.5 + rng.exponential(size=n)
    return rows, labels


def p_values(rows, labels, scores, seed=0):
    inputs = Inputs.of(rows, labels=labels)
    natural = natural_statistics(inputs, scores)
    null = null_statistics(inputs, scores, range(39), seed=seed)
    return [compare_with_draws(natural[name], null[name]).p_two for name in natural]


@pytest.mark.slow
def test_a_planted_basis_is_found_and_a_rotated_copy_only_as_often_as_chance_has_it():
    scores = scorers(["purity", "auroc", "kurtosis"], Depth(k=8))
    planted_p, rotated_p = [], []
    for seed in range(200):
        rows, labels = planted(seed)
        if seed < 20:
            planted_p.append(p_values(rows, labels, scores, seed))
        rotated_p.append(p_values(rows @ haar(8, 8, seed, "copy"), labels, scores, seed))
    assert (np.array(planted_p) <= 0.05).all()
    # 200 tests at level 0.05: 10 expected, standard deviation 3.1.
    assert ((np.array(rotated_p) <= 0.05).sum(axis=0) <= 20).all()
    assert ((np.array(rotated_p) <= 0.5).sum(axis=0) >= 70).all()


def test_shuffled_labels_take_the_finding_away():
    rows, labels = planted(1, n=600)
    inputs = Inputs.of(rows, labels=labels)
    scores = scorers(["purity"], Depth(k=8))
    found = [
        rotation_test(i, scores, RotationOptions(rotations=59, subsamples=0))[0] for i in (inputs, inputs.shuffled(1))
    ]
    assert found[0].p_two <= 0.05
    assert found[1].p_two > 0.05


def test_a_null_drawn_in_parts_is_the_whole():
    rows, labels = planted(2)
    inputs, scores = Inputs.of(rows, labels=labels), scorers(["purity", "kurtosis"])
    whole = null_statistics(inputs, scores, range(10))
    parts = [null_statistics(inputs, scores, part) for part in (range(6, 10), range(6))]
    for name, values in whole.items():
        assert np.array_equal(np.concatenate([parts[1][name], parts[0][name]]), values)


def test_no_rotation_is_drawn_where_no_score_can_be_computed(monkeypatch):
    """A sweep of 20 photos and 512 units drew 999 rotations a layer, and threw them away."""
    drawn = []
    monkeypatch.setattr("intriguing.units.rotation.haar", lambda *of: drawn.append(of) or haar(*of))
    inputs = Inputs.of(planted(2)[0])
    assert null_statistics(inputs, [], range(10)) == {} and not drawn
    assert len(null_statistics(inputs, scorers(["kurtosis"]), range(2))["kurtosis"]) == len(drawn) == 2


def test_the_order_of_the_inputs_does_not_matter():
    rows, labels = planted(3)
    rows = np.maximum(rows - 1, 0)  # ties
    order = generator(0, "order").permutation(len(rows))
    scores = scorers(["purity", "auroc", "kurtosis", "enrichment"])
    one = natural_statistics(Inputs.of(rows, labels=labels), scores)
    two = natural_statistics(Inputs.of(rows[order], order, labels=labels[order]), scores)
    assert one == two


def test_the_test_has_an_interval_and_a_dose_curve_that_falls():
    rows, labels = planted(4)
    inputs = Inputs.of(rows, labels=labels)
    tests = rotation_test(
        inputs,
        scorers(["purity"], Depth(k=8)),
        RotationOptions(rotations=99, subsamples=20, doses=(0.2, 1.0), dose_rotations=10),
    )
    natural, mild, full = tests
    assert (natural.alpha, mild.alpha, full.alpha) == (0.0, 0.2, 1.0)
    assert natural.low < natural.natural - natural.null_mean < natural.high
    assert natural.low > 0
    assert natural.natural > mild.natural > full.natural
    assert abs(full.effect) < 1
    assert natural.p_two == pytest.approx(0.02)
    assert natural.effect > natural.detectable_effect > 2


def test_the_interval_is_about_as_wide_as_new_inputs_make_it():
    scores, found, spreads = scorers(["auroc", "kurtosis"]), [], []
    for seed in range(24):
        rows, labels = planted(100 + seed, n=400)
        inputs = Inputs.of(np.tanh(rows), labels=labels)
        natural, null = natural_statistics(inputs, scores), null_statistics(inputs, scores, range(20))
        found.append([natural[s.name] - null[s.name].mean() for s in scores])
        if seed < 4:
            spread = subsample_spread(inputs, scores, subsamples=30, rotations=20)
            spreads.append([spread[s.name] for s in scores])
    ratio = np.mean(spreads, axis=0) / np.std(found, axis=0, ddof=1)
    assert (ratio > 0.6).all()
    assert (ratio < 1.8).all()


@pytest.mark.parametrize("kind", ["planted", "mixed and rectified"])
def test_the_interval_of_a_score_of_the_top_k_covers_what_it_should(kind):
    scores, found, spreads = scorers(["purity", "entropy", "enrichment"]), [], []
    mix = generator(7, "mix").standard_normal((8, 8))
    for seed in range(60):
        rows, labels = planted(200 + seed, n=600)
        if kind != "planted":
            rows = np.maximum(generator(seed, "noise").standard_normal(rows.shape) + mix[labels], 0)
        inputs = Inputs.of(rows, labels=labels)
        natural, null = natural_statistics(inputs, scores), null_statistics(inputs, scores, range(16))
        found.append([natural[s.name] - null[s.name].mean() for s in scores])
        if seed < 6:
            spread = subsample_spread(inputs, scores, subsamples=30, rotations=16)
            spreads.append([spread[s.name] for s in scores])
    error = np.abs(found - np.mean(found, axis=0)) / np.sqrt(np.mean(np.square(spreads), axis=0))
    # 95 % of 60 are 57; the standard deviation is 1.7, and the spread is itself an estimate.
    covered = (error < stats.norm.ppf(0.975)).sum(axis=0)
    assert (covered >= 51).all()
    # An interval twice too wide would cover them within half its width.
    assert ((error < stats.norm.ppf(0.975) / 2).sum(axis=0) <= 53).all()


@pytest.mark.parametrize("dim", [2, 5, 16])
def test_a_power_of_a_rotation_turns_by_part_of_its_angles(dim):
    q = haar(dim, dim, 3)
    q[:, 0] *= np.sign(np.linalg.det(q))
    half, none, whole = powers(q, [0.5, 0.0, 1.0])
    assert np.allclose(half @ half, q, atol=1e-9)
    assert np.allclose(half.T @ half, np.eye(dim), atol=1e-9)
    assert np.allclose(none, np.eye(dim), atol=1e-9)
    assert np.allclose(whole, q, atol=1e-9)


def test_wide_layers_are_sampled_alike_in_both_arms():
    natural, rotated = basis(700, -1), basis(700, 4)
    assert natural.shape == rotated.shape == (700, 512)
    assert np.array_equal(natural.sum(axis=0), np.ones(512))
    assert len(np.unique(natural.argmax(axis=0))) == 512
    assert np.allclose(rotated.T @ rotated, np.eye(512), atol=1e-9)
    with pytest.raises(InputError, match="512"):
        dose_statistics(Inputs.of(np.zeros((4, 700))), scorers(["kurtosis"]))


def test_holm_corrects_the_natural_bases_alone():
    null = np.arange(99.0) / 99
    tests = [RotationTest.of(name, compare_with_draws(x, null), 9) for name, x in (("a", 10.0), ("b", 0.5))]
    first, second = corrected(tests)
    assert first.p_holm == pytest.approx(0.04)
    assert second.p_holm >= second.p_two


def test_twenty_photos_are_too_few_for_a_verdict():
    inputs = Inputs.of(generator(0, "few").standard_normal((20, 6)), labels=np.arange(20) % 3)
    scores = scorers(["purity", "kurtosis"])
    tests = rotation_test(inputs, scores, RotationOptions(rotations=19))
    assert all(t.p_two is None for t in tests)
    assert unusable(inputs, scores[0]) == "too few images (20; 160 are needed)"


def test_a_score_without_its_labels_gets_no_verdict_but_the_others_do():
    inputs = Inputs.of(planted(0)[0])
    scores = scorers(["purity", "kurtosis"])
    purity, kurtosis = rotation_test(inputs, scores, RotationOptions(rotations=39, subsamples=0))
    assert purity.p_two is None
    assert unusable(inputs, scores[0]) == "there are no labels"
    assert kurtosis.p_two is not None


def test_a_rotation_equals_the_view_of_its_columns():
    rows, labels = planted(5)
    inputs, scores = Inputs.of(rows, labels=labels), scorers(["kurtosis"])
    direct = View(inputs, basis(8, 3, 0), 3)
    exact = inputs.activations.astype(np.float64) @ basis(8, 3, 0)
    fourth = ((exact - exact.mean(0)) ** 4).mean(0) / exact.var(0) ** 2
    assert np.allclose(scores[0].score(direct), fourth, rtol=1e-4)
    assert null_statistics(inputs, scores, [3])["kurtosis"][0] == pytest.approx(fourth.mean(), rel=1e-4)
