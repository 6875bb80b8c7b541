"""Hardening as Markdown: the tables and verdicts of a run, for `docs/results/hardening.md`."""

from math import exp

from intriguing.results import Run
from intriguing.stages.hardening.printed import spread
from intriguing.stages.hardening.summary import ModelSummary, Row, VariantSummary, summaries, value_in_words
from intriguing.stats.findings import counted
from intriguing.stats.seeds import PairedDifference


def written(run: Run) -> str:
    """The results of every model that was hardened; raises nothing where a part is not finished yet."""
    section = run.section("hardening")
    parts = [_model(model, len(section.get("seeds", ())), int(section.get("trials", 0))) for model in summaries(run)]
    return "\n\n".join(parts) + "\n" if parts else "Nothing was hardened yet.\n"


def _model(model: ModelSummary, asked: int, trials: int) -> str:
    seeds = model.seeds
    whole = f"{counted(len(seeds), 'seed')} of every variant" + (
        f" (of {asked} in the spec)" if len(seeds) < asked else ""
    )
    chosen = f" Options were chosen on held-out training images, from {trials} settings." if trials else ""
    lines = [
        f"## {model.model} on {model.dataset}",
        "",
        f"{whole}; errors on {model.images:,} {model.split} images, where the binomial standard deviation of an error "
        f"of {model.baseline} is {100 * model.test_noise:.2f} points. Means over seeds ± half of the 95 % interval "
        f"(Student's t); differences are paired by seed.{chosen}",
        "",
        "| variant | epochs | train error, % | error, % | minus "
        + model.baseline
        + ", points | mean minimal distortion | "
        "times " + model.baseline + " | proven bound | fooled by its images, % | CPU-s (searching) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(v) for v in model.variants]
    answered = [claim for claim in model.claims if claim["outcome"] != "unknown" or claim["remark"].count(";")]
    if answered:
        lines += ["", "| claim | answer | figure | 95 % interval | Holm's p |", "|---|---|---|---|---|"]
        lines += [_claim(claim) for claim in answered]
        lines += ["", *(f"- {c['sentence']}. It would have been refuted by {c['refuted_by']}." for c in answered)]
    return "\n".join([*lines, "", _best(model)])


def _claim(claim: Row) -> str:
    value, interval = value_in_words(claim)
    p = "–" if claim["p"] is None else f"{claim['p']:.2g}"
    remark = f" ({claim['remark']})" if claim["remark"] else ""
    span = interval.removeprefix("95 % interval ") or "–"
    return f"| {claim['claim']} | {claim['outcome']}{remark} | {claim['measure']}: {value} | {span} | {p} |"


def _row(v: VariantSummary) -> str:
    against = "–"
    if v.against is not None:
        against = _signed(v.against)
    ratio = "–" if v.robust is None else f"{exp(v.robust.mean):.2f}"
    fooled = spread(v.fooled, 100, 0)
    bound = "–" if v.lower_bound is None else f"{v.lower_bound:.4f}"
    cost = f"{v.cpu_seconds:.0f}" + (f" ({v.searching:.0f})" if v.searching else "")
    return (
        f"| {v.name} | {v.epochs} | {100 * v.train_error:.2f} | {spread(v.error, 100, 2)} | {against} | "
        f"{spread(v.distortion, 1, 4)} | {ratio} | {bound} | {fooled} | {cost} |"
    )


def _signed(difference: PairedDifference) -> str:
    """A difference in points: "−0.20 (−0.31 to −0.09)", without an interval where there is one seed."""
    ends = (difference.low, difference.high)
    interval = "" if None in ends else " ({:+.2f} to {:+.2f})".format(*(100 * end for end in ends if end is not None))
    return f"{100 * difference.mean:+.2f}{interval}".replace("-", "\u2212")


def _best(model: ModelSummary) -> str:
    """The variant that is hardest to fool among those whose mean error is no worse than the baseline's."""
    base = next(v for v in model.variants if v.name == model.baseline)
    good = [v for v in model.variants if v.robust is not None and v.error[0] <= base.error[0]]
    if not good:
        return f"No variant has an error as low as {model.baseline}'s."
    best = max(good, key=lambda v: v.robust.mean if v.robust else 0.0)
    assert best.robust is not None
    return (
        f"Hardest to fool among those with an error no worse than {model.baseline}'s: **{best.name}**, "
        f"{exp(best.robust.mean):.2f} times its mean minimal distortion."
    )
