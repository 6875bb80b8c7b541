"""Figures of the searches: how large changes are, by model and class, and how many images withstand them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from intriguing.report.drawing import Robustness, heat, histograms, robustness
from intriguing.report.named_figures import NamedFigure, distinct
from intriguing.report.parts import Context
from intriguing.report.text import number
from intriguing.results import Run
from intriguing.stages.blind_spots.robustness import ANY_CLASS, robust_accuracy

KEY = ("dataset", "target_rule", "grade")
XLABEL = "distortion, sqrt(Σ r² / n)"
MOST_PANELS = 24
_CLASSES = 20


def distortions(run: Run, dataset: str, target_rule: str, grade: str) -> Figure:
    """A histogram of distortion per model."""
    rows = run.pandas(
        "distortions",
        columns=["model", "model_seed", "distortion"],
        status="found",
        dataset=dataset,
        target_rule=target_rule,
        grade=grade,
    )
    return histograms(by_model(Context(run), dataset, rows), XLABEL)


def by_model(context: Context, dataset: str, rows: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """The distortions of each model, by what it is called, in the order of the spec."""
    grouped: Any = {
        key: part["distortion"].to_numpy(float) for key, part in rows.groupby(["model", "model_seed"], sort=False)
    }
    return [
        (context.label({"dataset": dataset, "model": name, "model_seed": seed}), grouped[name, seed])
        for name, seed in context.run.in_order(grouped)
    ]


def robust(run: Run, dataset: str, target_rule: str, grade: str) -> Figure:
    """A panel per model: the share of images that stay right under every change of a size."""
    frame = robust_accuracy(run, dataset, target_rule, grade)
    return robustness(panels(Context(run), dataset, frame)[:MOST_PANELS], XLABEL)


def panels(context: Context, dataset: str, frame: pd.DataFrame) -> list[Robustness]:
    """The curves of `robust_accuracy` by model, in the order of the spec."""
    parts = dict(iter(frame.groupby(["model", "model_seed"], sort=False)))
    made = []
    for name, seed in context.run.in_order(parts):  # type: ignore[arg-type]
        part = parts[name, seed]
        proven = part["proven"].to_numpy(float)
        label = context.label({"dataset": dataset, "model": name, "model_seed": seed})
        values = (part[column].to_numpy(float) for column in ("size", "rate", "low", "high"))
        made.append(Robustness(label, *values, proven=proven if np.isfinite(proven).all() else None))
    return made


def class_pairs(run: Run, dataset: str, model: str, model_seed: int, target_rule: str, grade: str) -> Figure:
    """Median distortion by class (rows) and the class taken for (columns), of the classes that occur most."""
    chosen = {"dataset": dataset, "model": model, "model_seed": model_seed, "target_rule": target_rule, "grade": grade}
    rows = run.pandas("distortions", columns=["label", "prediction", "distortion"], status="found", **chosen)
    often = pd.concat([rows["label"], rows["prediction"]]).value_counts().index[:_CLASSES]
    labels = sorted(int(label) for label in often)
    medians = rows.pivot_table("distortion", "label", "prediction", "median").reindex(index=labels, columns=labels)
    values = medians.to_numpy(float)
    names = [Context(run).class_name(dataset, label) for label in labels]
    texts = np.array([["" if np.isnan(value) else number(value, 2) for value in row] for row in values])
    dark = np.nanmax(values, initial=0) * 1.05 - values  # a smaller change is darker, as on the page
    return heat(names, names, dark, texts, "class taken for; darker: a smaller change")


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    return (
        NamedFigure(
            "distortions",
            "Histograms of distortion, one per model.",
            distortions,
            lambda run: distinct(run, "distortions", *KEY, where="status = 'found'"),
        ),
        NamedFigure(
            "robust_accuracy",
            "The share of images that stay right under every change of a size, with intervals and what is proven.",
            robust,
            lambda run: distinct(run, "distortions", *KEY, where=f"target_rule in {ANY_CLASS}"),
        ),
        NamedFigure(
            "class_pairs",
            "Median distortion by the image's class and the class that it is taken for.",
            class_pairs,
            lambda run: distinct(
                run, "distortions", "dataset", "model", "model_seed", *KEY[1:], where="status = 'found'"
            ),
        ),
    )
