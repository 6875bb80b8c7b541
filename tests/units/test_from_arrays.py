"""The rotation test of arrays, as a notebook calls it."""

import numpy as np
import pytest
import torch

import intriguing as ig
from intriguing.errors import InputError, UnknownNameError
from intriguing.randomness import generator
from intriguing.units import rotation
from intriguing.units.scoring.metrics import scorers
from intriguing.units.scoring.scores import METRICS, Depth
from intriguing.units.scoring.views import Inputs

QUICK = {"k": 16, "rotations": 99, "subsamples": 4}


def planted(n=240, dim=6):
    """Unit c answers to class c."""
    rng = generator(0, "planted rows")
    classes = np.arange(n) % dim
    return np.eye(dim)[classes] * 3 + rng.standard_normal((n, dim)), classes


def test_planted_units_are_found_and_the_same_rows_rotated_are_not():
    rows, classes = planted()
    told = ig.rotation_test(rows, classes, metrics=["purity", "auroc"], **QUICK)
    assert [test.outcome for test in told] == ["higher", "higher"]
    assert told["purity"].sentence.startswith("Units are purer than rotations")
    turned = rows @ np.linalg.qr(generator(1, "turn").standard_normal((6, 6)))[0]
    lost = ig.rotation_test(turned, classes, metrics=["purity", "auroc"], **QUICK)
    assert all(test.outcome == "none" for test in lost)


def test_it_is_the_test_that_a_sweep_makes_with_holm_s_correction():
    rows, classes = planted()
    names = ["kurtosis", "purity"]
    inputs = Inputs.of(rows, labels=classes)
    tests = rotation.rotation_test(
        inputs, scorers(names, Depth(k=16)), rotation.RotationOptions(rotations=99, subsamples=4)
    )
    told = ig.rotation_test(rows, classes, metrics=names, **QUICK)
    assert [test.figures for test in told] == rotation.corrected(tests)
    assert all(f"Holm's p = {test.figures.p_holm:.3g}" in test.sentence for test in told)


def test_by_default_all_scores_are_tested_that_the_arrays_allow():
    rows, classes = planted()
    assert [t.metric for t in ig.rotation_test(rows, k=4, rotations=2, subsamples=0)] == ["kurtosis"]
    judge = generator(0, "judge").standard_normal((240, 3))
    everything = ig.rotation_test(rows, classes, judge=judge, k=4, rotations=2, subsamples=0)
    assert [t.metric for t in everything] == list(METRICS)


def test_a_score_with_too_few_rows_is_unknown_beside_the_others():
    rows, classes = planted(n=120)
    told = ig.rotation_test(rows, classes, metrics=["purity", "auroc"], k=16, rotations=19, subsamples=0)
    assert told["purity"].outcome == "unknown"
    assert "120 rows, and it needs 160" in told["purity"].sentence
    assert told["auroc"].figures.p_holm == told["auroc"].figures.p_two  # the only one in its family


def test_tensors_names_of_classes_and_gaps_between_labels_give_the_same_tests():
    rows, classes = planted()
    options = {"metrics": ["purity", "entropy"], "k": 4, "rotations": 9, "subsamples": 0}
    plain = ig.rotation_test(rows, classes, **options)
    for labels in (torch.from_numpy(classes * 10), [f"class {c}" for c in classes], (classes - 3).astype(float)):
        assert ig.rotation_test(torch.from_numpy(rows).requires_grad_(), labels, **options).tests == plain.tests


def test_the_frame_has_a_row_per_score_and_one_per_dose():
    rows, classes = planted()
    told = ig.rotation_test(rows, classes, metrics="auroc", k=4, rotations=9, subsamples=0, doses=[0.5, 1.0])
    frame = told.to_frame()
    assert frame.metric.tolist() == ["auroc"] * 3
    assert frame.alpha.tolist() == [0.0, 0.5, 1.0]
    assert frame.sentence[0] == told[0].sentence
    assert frame.sentence.isna().tolist() == [False, True, True]
    assert frame.natural[0] > frame.natural[1] > frame.natural[2]


def test_units_that_never_vary_are_noted():
    rows, classes = planted()
    rows[:, 2] = 0
    told = ig.rotation_test(rows, classes, metrics="auroc", k=4, rotations=2, subsamples=0)
    assert "1 of 6 units never vary" in str(told)


def test_rotations_that_are_too_few_for_any_finding_are_noted():
    """The README's example asked for 99 rotations for six scores, and could find nothing."""
    rows, classes = planted()
    options = {"metrics": ["purity", "auroc"], "k": 4, "subsamples": 0}
    assert ig.rotation_test(rows, classes, rotations=78, **options).notes == (
        "Note: 78 rotations cannot find anything: Holm's correction over 2 tests leaves no p-value at 0.05 or below. "
        "Ask for at least 79 rotations, or fewer metrics.",
    )
    enough = ig.rotation_test(rows, classes, rotations=79, **options)
    assert enough.notes == () and [test.outcome for test in enough] == ["higher", "higher"]


def test_one_unit_that_varies_is_no_finding_by_rounding():
    rows, classes = planted()
    rows[:, 1:] = 0
    test = ig.rotation_test(rows, classes, metrics="kurtosis", rotations=39, subsamples=0)[0]
    assert (test.outcome, test.figures.p_two) == ("none", 1)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_a_large_offset_of_float64_costs_no_digits(offset, kind):
    rows, classes = planted()
    options = {"metrics": ["purity", "auroc", "kurtosis"], "k": 4, "rotations": 3, "subsamples": 0}
    arrays = [kind(a.astype(np.float64)) for a in (rows, rows.astype(np.float64) + offset)]
    plain, shifted = (ig.rotation_test(array, classes, **options) for array in arrays)
    for one, other in zip(plain, shifted, strict=True):
        assert other.figures.natural == pytest.approx(one.figures.natural, rel=1e-5)
    assert "never vary" not in str(shifted)


def test_a_saturated_unit_of_float64_keeps_its_digits():
    """As of a sigmoid: one that varied by 1e-9 around 1 had the whole layer refused, and by 1e-6 a few levels."""
    rows, classes = planted()
    whole = rows.astype(np.float64)
    for share in (1e-6, 1e-9):
        near = whole.copy()
        near[:, 2] = 1 - share * whole[:, 2]
        options = {"metrics": ["purity", "kurtosis"], "k": 4, "rotations": 3, "subsamples": 0}
        for one, other in zip(
            ig.rotation_test(np.c_[whole[:, [0, 1]], -whole[:, 2], whole[:, 3:]], classes, **options),
            ig.rotation_test(near, classes, **options),
            strict=True,
        ):
            assert other.figures.natural == pytest.approx(one.figures.natural, rel=1e-5)


ROWS, CLASSES = planted()
HOLED = ROWS.copy()
HOLED[7, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((ROWS[0], None), {}, r"shape \(6,\); a matrix \(N, D\) is needed"),
        ((ROWS.reshape(240, 2, 3), None), {}, "maximum or mean of maps first"),
        ((ROWS[:, :1], CLASSES), {}, "1 unit: no basis can be told from its rotations"),
        ((HOLED, CLASSES), {}, r"NaN, infinity, or numbers beyond float32 in 1 row \(the first: 7\)"),
        ((ROWS * 1e39, CLASSES), {}, "beyond float32 in 240 rows"),
        ((ROWS * 1e-60, CLASSES), {}, r"6 units \(the first: 0\) vary by less than float32 can tell"),
        ((ROWS.astype(str), CLASSES), {}, "activations are of type <U"),
        (([[1, 2], [3]], None), {}, "activations cannot be read as an array"),
        ((ROWS[:50], CLASSES[:50]), {}, "50 rows of activations cannot support a test: 100 are needed"),
        ((ROWS[:30], CLASSES[:30]), {"metrics": ["purity"], "k": 5}, "50 are needed with k = 5"),
        ((ROWS[:0], CLASSES[:0]), {}, "0 rows of activations"),
        ((ROWS, CLASSES[:9]), {}, r"labels have shape \(9,\); 240 rows"),
        ((ROWS, CLASSES + 0.5), {}, "labels are of type float64; whole numbers or names"),
        ((ROWS, CLASSES * 0), {}, "All 240 labels are 0"),
        ((ROWS, None), {"metrics": ["purity"]}, "'purity' needs labels: give labels=..."),
        ((ROWS, CLASSES), {"metrics": ["intruder"]}, "'intruder' needs judge: give judge=..."),
        ((ROWS, CLASSES), {"metrics": []}, "No score was asked for"),
        ((ROWS, CLASSES), {"judge": ROWS[:9]}, r"judge has shape \(9, 6\)"),
        ((ROWS, CLASSES), {"judge": HOLED}, "judge hold NaN"),
        ((ROWS, CLASSES), {"rotations": 0}, "rotations is 0; a whole number of at least 1"),
        ((ROWS, CLASSES), {"rotations": 9.0}, "rotations is 9.0"),
        ((ROWS, CLASSES), {"k": 0}, "k is 0"),
        ((ROWS, CLASSES), {"subsamples": 1}, "One random half has no spread"),
        ((ROWS, CLASSES), {"doses": [1.5]}, "doses lie above 0"),
        ((np.ones((240, 600)), CLASSES), {"doses": [0.5]}, "at most 512 units, not 600"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_a_sentence(arrays, options, message):
    with pytest.raises(InputError, match=message):
        ig.rotation_test(*arrays, **options)


def test_an_unknown_score_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'purity'"):
        ig.rotation_test(ROWS, CLASSES, metrics=["puritty"])
    told = ig.rotation_test(ROWS, CLASSES, metrics="auroc", rotations=2, subsamples=0)
    with pytest.raises(UnknownNameError, match=r"no test of a score named 'purity'; these were tested: \['auroc'\]"):
        told["purity"]
