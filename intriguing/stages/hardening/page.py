"""What hardening did: error against distortion, curves by epoch, and the claims in a table."""

from typing import Any

import numpy as np
from markupsafe import Markup

from intriguing.report.drawing import Curve, crosses, panels
from intriguing.report.media import for_page
from intriguing.report.parts import Context, PagePart, render
from intriguing.report.text import number
from intriguing.stages.hardening.outcome import in_words
from intriguing.stages.hardening.outcome.summary import Interval, ModelSummary, VariantSummary, summaries


def parts(context: Context) -> list[PagePart]:
    """One part with all models that were hardened; none where nothing was."""
    models = summaries(context.run)
    if not models:
        return []
    section = context.run.section("hardening")
    shown = [_model(model) for model in models]
    trials, held_out = section.get("trials", 0), section.get("held_out", 0)
    html = render(
        "stages/hardening/page.html", models=shown, trials=trials, held_out=held_out, schedule=in_words.SCHEDULE
    )
    return [PagePart("hardening", "Does training on what the searches find help?", html)]


def _model(model: ModelSummary) -> dict[str, Any]:
    claims = []
    for claim in model.claims:
        value, interval = in_words.value(claim)
        noise = in_words.noise(claim, model.images)
        claims.append(claim | {"shown": value, "interval": interval, "noise": None if noise == "–" else noise})
    return {
        "dataset": model.dataset,
        "model": model.model,
        "split": model.split,
        "images": model.images,
        "baseline": model.baseline,
        "seeds": len(model.seeds),
        "noise": model.test_noise,
        "variants": [_variant(model, v) for v in model.variants],
        "goals": [reached.goal for reached in model.variants[0].reached],
        "claims": claims,
        "crosses": _crosses(model),
        "errors": _panels(model, "error", "error, %", 100),
        "distortions": _panels(model, "distortion", "distortion", 1),
    }


def _variant(model: ModelSummary, v: VariantSummary) -> dict[str, Any]:
    return {
        "name": v.name,
        "how": _how(v),
        "seeds": len(v.seeds),
        "epochs": v.epochs,
        "train_error": v.train_error,
        "error": v.error,
        "against": None if v.against is None else v.against.interval,
        "distortion": v.distortion,
        "ratio": in_words.ratio(v.robust),
        "lower_bound": v.lower_bound,
        "fooled": v.fooled,
        "cpu": v.cpu_seconds,
        "searching": v.searching,
        "reached": [in_words.reached(reached) for reached in v.reached],
        "sizes": ", ".join(in_words.sizes(model, v)),
    }


def _how(v: VariantSummary) -> str:
    """A variant in words."""
    if v.method == "plain":
        return "clean data alone"
    if v.method == "pgd":
        return "L2 steps on the input"
    kind = "minimal changes" if v.method == "pools" else "noise of their size"
    below = "" if v.below == "fixed" else "; the layers below are trained, too"
    return f"{kind} of {', '.join(v.layers)}{below}"


def _crosses(model: ModelSummary) -> Markup | None:
    points = cross_points(model)
    alt = (
        "Error against mean minimal distortion, a point per variant with intervals over seeds: "
        + "; ".join(f"{name} {number(y[0])} % at {number(x[0])}" for name, x, y in points)
        + "."
    )
    return for_page(alt, crosses, points, *CROSS_AXES) if points else None


CROSS_AXES = ("mean minimal distortion (RMS)", "error, %")


def cross_points(model: ModelSummary) -> list[tuple[str, Interval, Interval]]:
    """Error against distortion, a point per variant: (name, distortion, error), each (mean, low, high)."""
    return [(v.name, v.distortion, _percent(v.error)) for v in model.variants if v.distortion]


def _percent(interval: Interval) -> Interval:
    mean, low, high = interval
    return 100 * mean, 100 * low, 100 * high


def _panels(model: ModelSummary, figure: str, ylabel: str, scale: float) -> Markup | None:
    """The curves by epoch of every variant, of its errors or its distortions; None where none has two epochs."""
    found = epoch_curves(model, figure, scale)
    if found is None:
        return None
    curves, reference = found
    unit = " %" if figure == "error" else ""
    ends = "; ".join(
        f"{c.label} from {number(float(c.middle[0]))}{unit} to {number(float(c.middle[-1]))}{unit} in "
        f"{c.x[-1]:.0f} epochs"
        for c in curves
    )
    title = "Error" if figure == "error" else "Mean minimal distortion"
    alt = f"{title} by epoch of each variant, with {reference.label} for comparison: {ends}."
    return for_page(alt, panels, curves, reference, "epoch", ylabel)


def epoch_curves(model: ModelSummary, figure: str = "error", scale: float = 100) -> tuple[list[Curve], Curve] | None:
    """Errors (or distortions) by epoch of each variant, and of the baseline; None where none has two epochs."""
    curves = []
    for v in model.variants:
        by_epoch: np.ndarray = v.curve if figure == "error" else v.distortion_curve
        if len(by_epoch):
            curves.append(Curve(v.name, by_epoch[:, 0], *(scale * by_epoch[:, column] for column in (1, 2, 3))))
    reference = next((curve for curve in curves if curve.label == model.baseline), None)
    if reference is None or max(len(curve.x) for curve in curves) < 2:
        return None
    return curves, reference
