"""Figures of stability: what is proven against what was found."""

from matplotlib.figure import Figure

from intriguing.report.drawing import brackets as drawn
from intriguing.report.named_figures import NamedFigure, distinct
from intriguing.report.parts import Context
from intriguing.results import Run
from intriguing.stages.stability.page import bracket_series


def brackets(run: Run, dataset: str, target_rule: str, grade: str) -> Figure:
    """A panel per model, a point per search: the norm found, and the norm below which nothing fools the model."""
    columns = ["model", "model_seed", "status", "l2", "lower_bound"]
    rows = run.pandas("certificates", columns=columns, dataset=dataset, target_rule=target_rule, grade=grade)
    parts = dict(iter(rows.groupby(["model", "model_seed"], sort=False)))
    context = Context(run)
    models = [
        (context.label({"dataset": dataset, "model": name, "model_seed": seed}), parts[name, seed])
        for name, seed in run.in_order(parts)  # type: ignore[arg-type]
    ]
    return drawn(bracket_series(models))


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    both = "status = 'found' and lower_bound is not null"
    key = ("dataset", "target_rule", "grade")
    sentence = "The norm found against the norm below which nothing fools the model, a point per search."
    return (NamedFigure("brackets", sentence, brackets, lambda run: distinct(run, "certificates", *key, where=both)),)
