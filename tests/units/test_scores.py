"""The registry of scores: what it says of each score is true of its formula."""

import subprocess
import sys

import numpy as np
import pytest

from intriguing.errors import UnknownNameError
from intriguing.randomness import generator
from intriguing.units.scoring.metrics import FORMULAS, scorers
from intriguing.units.scoring.scores import METRICS, Depth, metrics_named
from intriguing.units.scoring.views import Inputs, View

DEPTH = Depth(k=6, tasks=4, references=3)


@pytest.fixture(scope="module")
def inputs():
    rng = generator(0, "scores")
    rows, labels = rng.standard_normal((400, 6)) ** 3, rng.integers(0, 4, 400)
    rows[np.arange(400), labels] += 1
    return Inputs.of(rows, labels=labels, judge=rng.standard_normal((400, 5)) + labels[:, None])


def test_every_metric_has_a_formula_and_words():
    assert METRICS.keys() == FORMULAS.keys()
    for metric in METRICS.values():
        assert metric.higher and metric.lower and metric.higher != metric.lower
        assert metric.sentence.endswith(".")


@pytest.mark.parametrize("name", METRICS)
def test_a_symmetric_metric_and_no_other_is_the_same_for_v_and_minus_v(name, inputs):
    [scorer] = scorers([name], DEPTH)
    columns = np.linalg.qr(generator(1, "scores").standard_normal((6, 6)))[0]
    plus, minus = (scorer.score(View(inputs, sign * columns)) for sign in (1, -1))
    if name != "unique_classes":  # a small number of classes may be equal by chance
        assert np.allclose(plus, minus, rtol=1e-5) == METRICS[name].symmetric


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_that_is_of_a_basis_and_no_other_gives_one_number(name, inputs):
    [scorer] = scorers([name], DEPTH)
    assert np.shape(scorer.score(View(inputs, np.eye(6)))) == (() if METRICS[name].of_basis else (6,))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_needs_what_it_says(name, inputs):
    [scorer] = scorers([name], DEPTH)
    needs = METRICS[name].needs
    bare = Inputs.of(
        inputs.activations,
        labels=inputs.labels if "labels" in needs else None,
        judge=inputs.judge if "judge" in needs else None,
    )
    assert np.isfinite(scorer.score(View(bare, np.eye(6)))).all()


@pytest.mark.parametrize("name", METRICS)
def test_a_half_is_scored_at_half_the_depth_where_the_metric_says_so(name, inputs):
    [scorer], [half] = scorers([name], DEPTH), scorers([name], DEPTH.halved())
    view = View(inputs, np.eye(6), number=0)
    factor = {"same": None, "shallower": 1.0, "scaled": 2.0}[METRICS[name].halving]
    expected = scorer.score(view) if factor is None else factor * half.score(view)
    assert np.array_equal(scorer.of_half.score(view), expected)


def test_an_unknown_score_names_the_nearest():
    with pytest.raises(UnknownNameError, match="kurtosis"):
        metrics_named(["kurtosys"])


def test_the_judge_is_named_where_it_is_not_the_first():
    assert METRICS["intruder"].wording("pixels").higher == "easier to tell from an intruder (judged by pixels)"
    assert METRICS["intruder"].wording("encoder") == METRICS["intruder"].wording()


@pytest.mark.parametrize("module", ["intriguing.units.scoring.scores", "intriguing.sweep.spec"])
def test_the_registry_costs_no_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'scipy.stats'}} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in METRICS if "labels" in METRICS[name].needs])
def test_a_class_that_no_input_has_changes_no_score(name, inputs):
    [scorer] = scorers([name], DEPTH)
    gaps = Inputs.of(inputs.activations, labels=np.array([1, 4, 5, 90])[inputs.labels])
    plain = Inputs.of(inputs.activations, labels=inputs.labels)
    assert np.array_equal(*(scorer.score(View(each, np.eye(6))) for each in (plain, gaps)))
    # A half has the classes of the whole, also one that it holds nothing of.
    few = np.where(np.arange(400) == 0, 4, inputs.labels)
    halves = [Inputs.of(inputs.activations, labels=few).half(generator(draw, "halves")) for draw in range(8)]
    assert {half.classes for half in halves} == {5}
    assert {len(np.unique(half.labels)) for half in halves} == {4, 5}
