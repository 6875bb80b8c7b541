"""What a run says about transfer: found changes against noise of the same size, on models they were not made for."""

from dataclasses import dataclass

import numpy as np

from intriguing.randomness import generator
from intriguing.report.parts import Context, Row
from intriguing.report.text import number, percent
from intriguing.report.verdicts import Verdict
from intriguing.results.rays import Rays, against_noise
from intriguing.stats.findings import LEVEL, counted, significant
from intriguing.stats.multiple import holm
from intriguing.stats.resampling import Estimate, extremes_drawn, resampled_ratios, with_extremes
from intriguing.stats.signs import signed

_DRAWS = 1_000
_LEAST = 20
"""Images below which nothing is said: resamples of a few images that agree have no spread."""
_AT = 0.1
"""The size that the verdict is about: the paper's table 4 amplifies to it; else the nearest that was fed."""


def verdicts(context: Context) -> list[Verdict]:
    """Per data set, rule and grade, whether changes made for one model fool others more often than noise does.

    Holm's correction is over all of them.
    """
    keys = [key for key, _ in context.grouped(context.groups("rays"), "dataset", "target_rule", "grade")]
    measured = [one for key in keys if (one := _measured(context, key, len(keys))) is not None]
    corrected = holm(np.array([one.estimate.p for one in measured]))
    return [_verdict(one, float(p)) for one, p in zip(measured, corrected, strict=True)]


@dataclass(frozen=True)
class _Measured:
    """How much more often than noise the changes of one data set, rule and grade fool others."""

    key: Row
    size: float
    """The RMS of changes and noise."""
    estimate: Estimate
    wrong: float
    """The share of errors on the changes, enlarged to that size."""
    images: int
    as_found: Row
    """Errors of other models on the changes as found (minimal) and on noise of their size (gaussian); their median RMS
    (size)."""
    half: Row
    """The RMS from which half of the rays fool another model: of changes and of noise."""


_INTO = {"untargeted": " into any wrong class", "random": " into a class drawn at random"}
_AS_FOUND = """
select avg(is_error::int) filter (kind = 'minimal') as minimal, median(rms) filter (kind = 'minimal') as size,
       avg(is_error::int) filter (kind = 'gaussian') as gaussian
from transfer where dataset = $dataset and grade = $grade and target_rule = $target_rule
    and (source_model, source_seed) <> (model, model_seed)"""
_HALF = """
with chosen as (
    select kind, case when status = 'never' then 'infinity'::double else crossing end as crossing from rays
    where dataset = $dataset and not clean_error and (kind = 'gaussian' or (
        grade = $grade and target_rule = $target_rule and (source_model, source_seed) <> (model, model_seed))))
select median(crossing) filter (kind = 'adversarial') as changes,
       median(crossing) filter (kind = 'gaussian') as noise from chosen"""


def _measured(context: Context, key: Row, tests: int) -> _Measured | None:
    rays = Rays(context.run, key, context.run.in_order)
    at = int(np.abs(rays.sizes - _AT).argmin())
    wrong, noise, counted_rays = against_noise(rays, at)
    if len(wrong) < _LEAST:
        return None
    excess = wrong - noise
    # As many resamples as a correction over all tests needs to find anything at all.
    draws = max(_DRAWS, int(10 * tests / LEVEL))
    rng = generator(0, "transfer.verdict")
    drawn = resampled_ratios(rng, excess, counted_rays, draws)
    images = int((counted_rays > 0).sum())
    drawn = with_extremes(drawn, images, extremes_drawn(rng, draws), 1.0, -1.0)
    estimate = Estimate.of(excess.sum() / counted_rays.sum(), drawn).of_images(int((excess != 0).sum()))
    as_found, half = ({str(k): v for k, v in rays.query(sql).iloc[0].items()} for sql in (_AS_FOUND, _HALF))
    share = float(wrong.sum() / counted_rays.sum())
    return _Measured(key, float(rays.sizes[at]), estimate, share, images, as_found, half)


def _verdict(one: _Measured, p_holm: float) -> Verdict:
    estimate, key = one.estimate, one.key
    found = _known(one.as_found["size"])
    times = one.size / found if found else 1.0
    who = "Changes" if 0.9 < times < 1.1 else "Enlarged, changes" if times > 1 else "Made smaller, changes"
    into = _INTO.get(key["target_rule"], "")
    said = f"{who} made to fool one network{into} fool others significantly {{}} often than noise of the same size."
    if not significant(p_holm):
        sentence = (
            f"No evidence that changes made to fool one network{into} fool others more often than noise of their size."
        )
    else:
        sentence = said.format("more" if estimate.value > 0 else "less")
    size = number(one.size, 2)
    where = f"{key['dataset']}, {key['target_rule']}, {key['grade']}"
    low, high = (signed(100 * end, ".1f") for end in (estimate.low, estimate.high))
    interval = f"95 % interval {low} to {high}; Holm's p = {p_holm:.2g}, both by a bootstrap over images; "
    return Verdict(
        sentence,
        f"points by which errors at RMS {size}{_enlarged(times, found)} exceed those on noise of that size: "
        f"{percent(one.wrong)} % against {percent(one.wrong - estimate.value)} %, over all pairs of different networks "
        f"({where})",
        signed(100 * estimate.value, ".1f"),
        f"{interval if np.isfinite(estimate.low) else ''}{counted(one.images, 'image')} that both networks of a pair "
        "get right unchanged",
        "amplification",
        "errors that are as frequent on noise of the same size",
        "Each change is brought to this size along its own direction and fed to the networks that it was not made for; "
        f"noise of the same size on the same images is the control.{_unenlarged(one)}",
    )


def _enlarged(times: float, found: float | None) -> str:
    """How many times the found size a size is, and which median that is: no median over images, as elsewhere."""
    median = f"median change as found, {number(found)} over all searches"
    return "" if 0.9 < times < 1.1 else f" ({number(times, 2)} times the {median})"


def _unenlarged(one: _Measured) -> str:
    """What the changes do as they were found, and how large they must be for half of them to fool another network."""
    said = ""
    minimal, gaussian = (_known(one.as_found[kind]) for kind in ("minimal", "gaussian"))
    if minimal is not None and gaussian is not None:
        wrong = f"{percent(minimal)} % of answers wrong, and noise of their size {percent(gaussian)} %"
        said += f" As found, they make {wrong} (what a network gets wrong unchanged counts in both)."
    changes, noise = (_known(one.half[kind]) for kind in ("changes", "noise"))
    if changes is not None and np.isfinite(changes):
        beside = "" if noise is None else f"; of noise {_or_never(noise)}"
        said += f" Half of them fool another network from RMS {number(changes, 2)} on{beside}."
    return said


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _or_never(value: float) -> str:
    return "less than half does at any size" if np.isinf(value) else f"half does from {number(value, 2)} on"
