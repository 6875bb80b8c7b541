"""What a run says about transfer: found changes against noise of the same size, on models they were not made for."""

import numpy as np

from intriguing.randomness import generator
from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.results.rays import Rays, against_noise
from intriguing.stats.findings import counted
from intriguing.stats.resampling import Estimate, weights

_DRAWS = 1_000
_LEAST = 20
"""Images below which nothing is said: resamples of a few images that agree have no spread."""
_AT = 0.1
"""The size that the verdict is about: the paper's table 4 amplifies to it; else the nearest that was fed."""


def verdicts(context: Context) -> list[Verdict]:
    """Per data set, rule and grade, whether changes made for one model fool others more often than noise does."""
    followed = context.query("select distinct dataset, target_rule, grade from rays where kind = 'adversarial'")
    made = [_verdict(context, key) for key, _ in context.grouped(followed, "dataset", "target_rule", "grade")]
    return [verdict for verdict in made if verdict is not None]


def _verdict(context: Context, key: Row) -> Verdict | None:
    rays = Rays(context.run, key, context.run.in_order)
    at = int(np.abs(rays.sizes - _AT).argmin())
    excess, counted_rays = against_noise(rays, at)
    if len(excess) < _LEAST:
        return None
    drawn = weights(generator(0, "transfer.verdict"), len(excess), _DRAWS)
    with np.errstate(invalid="ignore"):
        estimate = Estimate.of(excess.sum() / counted_rays.sum(), (drawn @ excess) / (drawn @ counted_rays))
    if estimate.low > 0:
        sentence = "Changes made to fool one network fool others more often than noise of the same size."
    elif estimate.high < 0:
        sentence = "Changes made to fool one network fool others less often than noise of the same size."
    else:
        sentence = "No evidence that changes made to fool one network fool others more often than noise of their size."
    size = number(float(rays.sizes[at]), 2)
    where = f"{key['dataset']}, {key['target_rule']}, {key['grade']}"
    interval = f"95 % interval {100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}; "
    return Verdict(
        sentence,
        f"points by which errors at RMS {size} exceed those on noise of that size, over all pairs ({where})",
        f"{100 * estimate.value:+.1f}",
        f"{interval if np.isfinite(estimate.low) else ''}{counted(int((counted_rays > 0).sum()), 'image')}",
        "amplification",
        "errors that are as frequent on noise of the same size",
    )
