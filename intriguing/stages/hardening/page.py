"""What hardening did: error against distortion, curves by epoch, and the claims in a table."""

from math import exp
from typing import Any

from markupsafe import Markup

from intriguing.report.figures import Curve, crosses, panels
from intriguing.report.parts import Context, PagePart, render
from intriguing.report.text import number
from intriguing.stages.hardening.summary import Interval, ModelSummary, VariantSummary, summaries, value_in_words
from intriguing.stats.seeds import PairedDifference


def parts(context: Context) -> list[PagePart]:
    """One part with all models that were hardened; none where nothing was."""
    models = summaries(context.run)
    if not models:
        return []
    section = context.run.section("hardening")
    shown = [_model(model) for model in models]
    trials, held_out = section.get("trials", 0), section.get("held_out", 0)
    html = render("stages/hardening/page.html", models=shown, trials=trials, held_out=held_out)
    return [PagePart("hardening", "Does training on what the searches find help?", html)]


def _model(model: ModelSummary) -> dict[str, Any]:
    claims = []
    for claim in model.claims:
        value, interval = value_in_words(claim)
        claims.append(claim | {"shown": value, "interval": interval})
    return {
        "dataset": model.dataset,
        "model": model.model,
        "split": model.split,
        "images": model.images,
        "baseline": model.baseline,
        "seeds": len(model.seeds),
        "noise": model.test_noise,
        "variants": [_variant(v) for v in model.variants],
        "claims": claims,
        "goal": next((c["goal"] for c in model.claims if c["goal"] is not None), None),
        "crosses": _crosses(model),
        "panels": _panels(model),
        "pools": any(v.layers for v in model.variants),
    }


def _variant(v: VariantSummary) -> dict[str, Any]:
    ratio = None
    if v.robust is not None:
        ratio = [None if x is None else exp(x) for x in (v.robust.mean, v.robust.low, v.robust.high)]
    return {
        "name": v.name,
        "how": _how(v),
        "seeds": len(v.seeds),
        "epochs": v.epochs,
        "train_error": v.train_error,
        "error": v.error,
        "against": _interval(v.against),
        "distortion": v.distortion,
        "ratio": ratio,
        "lower_bound": v.lower_bound,
        "fooled": v.fooled,
        "cpu": v.cpu_seconds,
        "searching": v.searching,
    }


def _interval(difference: PairedDifference | None) -> Interval | None:
    if difference is None:
        return None
    ends = (difference.low, difference.high)
    low, high = (difference.mean if end is None else end for end in ends)
    return difference.mean, low, high


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
    points = [(v.name, v.distortion, _percent(v.error)) for v in model.variants if v.distortion]
    alt = "Error against mean minimal distortion, a point per variant with intervals over seeds; the table has them."
    return crosses(points, "mean minimal distortion (RMS)", "error, %", alt) if points else None


def _percent(interval: Interval) -> Interval:
    mean, low, high = interval
    return 100 * mean, 100 * low, 100 * high


def _panels(model: ModelSummary) -> Markup | None:
    base = next(v for v in model.variants if v.name == model.baseline)
    curves = [
        Curve(v.name, v.curve[:, 0], 100 * v.curve[:, 1], 100 * v.curve[:, 2], 100 * v.curve[:, 3])
        for v in model.variants
    ]
    if max(len(curve.x) for curve in curves) < 2:
        return None
    reference = next(curve for curve in curves if curve.label == base.name)
    alt = f"Error by epoch of each variant, with {base.name} for comparison: " + "; ".join(
        f"{c.label} ends at {number(float(c.middle[-1]))} %" for c in curves
    )
    return panels(curves, reference, "epoch", "error, %", alt)
