import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.findings import finding
from intriguing.units.rotation import RotationOptions, rotation_test
from intriguing.units.scoring.judges import (
    draw_intruders,
    interpretability,
    intruder,
    pixel_encoder,
    unit_rows,
)
from intriguing.units.scoring.metrics import scorers
from intriguing.units.scoring.scores import METRICS, Depth
from intriguing.units.scoring.views import Inputs


def worlds(n=2000, classes=8, seed=0, signal=4.0):
    """Inputs of several kinds; a judge that sees the kind; units that answer to one kind each."""
    rng = generator(seed, "worlds")
    kind = rng.integers(0, classes, n)
    judge = unit_rows(rng.standard_normal((classes, 12))[kind] + 0.3 * rng.standard_normal((n, 12)))
    rows = rng.standard_normal((n, classes))
    rows[np.arange(n), kind] += signal
    return rows, kind, judge


def test_a_judge_that_sees_what_units_share_explains_them():
    rows, _, judge = worlds()
    order = np.argsort(rows, axis=0).T
    found = interpretability(judge, order[:, ::-1][:, :200].copy(), order[:, :200].copy())
    assert found.shape == (8,)
    assert found.min() > 0.9


def test_a_blind_judge_explains_at_chance():
    blind = unit_rows(generator(0, "blind").standard_normal((2000, 12)))
    order = np.argsort(generator(0, "many").standard_normal((2000, 60)), axis=0).T
    found = interpretability(blind, order[:, ::-1][:, :200].copy(), order[:, :200].copy())
    assert abs(found.mean() - 0.5) < 0.06


def test_too_few_extremes_make_no_task():
    with pytest.raises(InputError, match="one task"):
        interpretability(np.eye(20, dtype=np.float32), np.zeros((2, 9), dtype=int), np.zeros((2, 9), dtype=int))


def test_the_intruder_is_found_by_a_judge_that_sees_and_not_by_a_blind_one():
    rows, _, judge = worlds()
    scores = rows.T.astype(np.float32).copy()
    top = np.argsort(-scores, axis=1)[:, :6]
    seen = intruder(judge, draw_intruders(scores, np.sort(scores, axis=1), generator(0, "i"), draws=50), top)
    assert seen.min() > 0.95
    many = generator(0, "many").standard_normal((60, 2000)).astype(np.float32)
    blind = unit_rows(generator(1, "blind").standard_normal((2000, 12)))
    chance = intruder(
        blind,
        draw_intruders(many, np.sort(many, axis=1), generator(0, "i"), draws=50),
        np.argsort(-many, axis=1)[:, :6],
    )
    assert abs(chance.mean() - 1 / 6) < 0.04


def test_an_intruder_lies_in_the_lower_half_also_where_most_inputs_are_zero():
    random = generator(0, "sparse")
    scores = np.maximum(random.standard_normal((20, 1000)) - random.random((20, 1)), 0).astype(np.float32)
    scores[:3] = np.where(scores[:3] > 1.5, scores[:3], 0)  # active on fewer than a tenth of the inputs
    rows = draw_intruders(scores, np.sort(scores, axis=1), random, draws=50)
    assert (np.take_along_axis(scores, rows, axis=1) == 0).all()
    elsewhere = np.array([(np.delete(scores[:, row], line) > 0).any() for line in range(20) for row in rows[line]])
    assert elsewhere.all()


@pytest.mark.parametrize("k", [1, 2])
def test_among_so_few_inputs_no_intruder_can_be_told(k):
    """With k = 1 in a spec scores ended with an IndexError; of two inputs the share was 0 whatever they were."""
    judge = unit_rows(generator(0, "few").standard_normal((9, 4)))
    assert np.isnan(intruder(judge, np.array([[5, 6], [7, 8]]), np.arange(2 * k).reshape(2, k))).all()
    rows = generator(0, "rows").standard_normal((120, 4)).astype(np.float32)
    inputs = Inputs.of(rows, judge=generator(0, "judge").standard_normal((120, 5)))
    test = rotation_test(inputs, scorers(["intruder"], Depth(k=k)), RotationOptions(rotations=5, subsamples=2))[0]
    assert finding(test.row(), METRICS["intruder"].wording()).outcome == "unknown"


def test_an_intruder_needs_another_direction():
    with pytest.raises(InputError, match="two directions"):
        draw_intruders(np.zeros((1, 9)), np.zeros((1, 9)), generator(0, "i"))


@pytest.mark.parametrize("name", ["interpretability", "intruder"])
def test_the_rotation_test_wraps_the_judges(name):
    rows, _, judge = worlds(1200, classes=16, signal=2.5)
    inputs = Inputs.of(rows, judge=judge)
    scores = scorers([name], Depth(k=6, tasks=10, references=4))
    found = rotation_test(inputs, scores, RotationOptions(rotations=39, subsamples=4))[0]
    assert found.p_high == pytest.approx(1 / 40)
    assert found.low > 0
    again = rotation_test(inputs, scores, RotationOptions(rotations=39, subsamples=4))[0]
    assert again == found


def test_principal_components_of_pixels_are_a_second_judge():
    images = generator(0, "images").standard_normal((50, 1, 6, 6))
    images[:, 0, 0, 0] *= 30
    encoded = pixel_encoder(images, 5)
    assert encoded.shape == (50, 5)
    assert abs(np.corrcoef(encoded[:, 0], images[:, 0, 0, 0])[0, 1]) > 0.99


@pytest.mark.parametrize("exponent", [-110, 110])
def test_rows_of_any_size_have_unit_length(exponent):
    """Squares below float32 gave no unit length, those beyond it rows of zeros: a judge that sees nothing."""
    rows = generator(0, "sizes").standard_normal((20, 6)).astype(np.float32)
    np.testing.assert_array_equal(unit_rows(np.ldexp(rows, exponent)), unit_rows(rows))
    np.testing.assert_allclose(np.linalg.norm(unit_rows(rows), axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(unit_rows(rows), rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_rows_of_zeros_stay_zeros():
    assert np.array_equal(unit_rows(np.zeros((2, 3))), np.zeros((2, 3)))
