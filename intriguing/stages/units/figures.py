"""Figures of the unit question: effects of the tests, and how the scores of a layer are spread."""

from matplotlib.figure import Figure

from intriguing.report.drawing import forest, strips
from intriguing.report.named_figures import NamedFigure, distinct
from intriguing.report.parts import LAYER, Context
from intriguing.results import Run
from intriguing.stages.units.page.rotation_tests import EFFECT_AXIS, effect_rows, score_series, tested_layers


def effects(run: Run, dataset: str, model: str, model_seed: int) -> Figure:
    """The effects of a network's tests with their intervals."""
    tests = run.table("rotation_tests", alpha=0.0, dataset=dataset, model=model, model_seed=model_seed).to_pylist()
    shown = [t for layer in tested_layers(Context(run), tests) for t in layer["tests"] if t["effect"] is not None]
    shown = [test for test in shown if test["null_sd"]]
    return forest(effect_rows(shown), EFFECT_AXIS, [test["outcome"] for test in shown])


def scores(run: Run, dataset: str, model: str, model_seed: int, layer: str, condition: str) -> Figure:
    """How the scores of a layer's directions are spread, basis by basis."""
    key = {"dataset": dataset, "model": model, "model_seed": model_seed, "layer": layer, "condition": condition}
    return strips(score_series(Context(run), key))


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    tested = "alpha = 0 and effect is not null and null_sd > 0"
    scored = "direction >= 0 and value is not null and metric not in ('dead', 'saturated')"
    return (
        NamedFigure(
            "effects",
            "The effect of every rotation test of a network with its interval, controls beside.",
            effects,
            lambda run: distinct(run, "rotation_tests", *LAYER[:3], where=tested),
        ),
        NamedFigure(
            "scores",
            "How the scores of a layer's directions are spread, basis by basis.",
            scores,
            lambda run: distinct(run, "unit_scores", *LAYER, where=scored),
        ),
    )
