"""A statistic held against random draws of it: its rank among them is an exact p-value.

If what was measured is one more draw from the null, every rank is equally likely. So the p-value needs no assumption on
the shape of the null, and cannot fall below 1 / (draws + 1).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from intriguing.stats.findings import LEVEL

POWER = 0.8
"""The power that detectable effects are stated for."""
_DOUBLE, _SINGLE = 1e-12, 1e-6
"""Relative rounding of a mean in float64, and of scores that were computed in float32."""


@dataclass(frozen=True)
class Comparison:
    """A statistic against what chance gives. A field is None where it cannot be computed."""

    natural: float | None = None
    """The statistic."""
    null_mean: float | None = None
    """Its mean under the null."""
    null_sd: float | None = None
    """Its standard deviation under the null."""
    low: float | None = None
    """Lower end of the 95 % interval of natural minus null_mean."""
    high: float | None = None
    """Upper end."""
    rotations: int = 0
    """How many random draws make up the null; 0 where the null is known exactly."""
    p_high: float | None = None
    """P(a statistic at least as large)."""
    p_low: float | None = None
    """P(a statistic at most as large)."""
    p_two: float | None = None
    """min(1, 2 min(p_high, p_low))."""
    effect: float | None = None
    """(natural - null_mean) / null_sd."""
    detectable_effect: float | None = None
    """The smallest effect that is found with 80 % power, in null standard deviations."""

    def row(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def compare_with_draws(statistic: float, draws: np.ndarray, standard_error: float | None = None) -> Comparison:
    """The rank test of a `statistic` among `draws` of its null, (B,).

    standard_error: that of `statistic` minus the mean of the draws, over the choice of the data (`stats.halves`).
    Without it, or if it is not finite, there is no interval, and the detectable effect is for the data as given. If the
    statistic or a draw is not finite, or there are no draws, the comparison has no figures.
    """
    null = np.asarray(draws, dtype=np.float64)
    b = len(null)
    if not b or not np.isfinite(statistic) or not np.isfinite(null).all():
        return Comparison(rotations=b)
    # Rounding must not break a tie: equal statistics may have been added up in another order, and where all agree to
    # the digits of float32, in which scores are computed, they are one value (a layer with a single unit that varies).
    scale = max(abs(statistic), float(np.abs(null).max()))
    slack = (_SINGLE if float(np.abs(null - statistic).max()) <= _SINGLE * scale else _DOUBLE) * scale
    p_high = (1 + int((null >= statistic - slack).sum())) / (b + 1)
    p_low = (1 + int((null <= statistic + slack).sum())) / (b + 1)
    mean = float(null.mean())
    sd = float(null.std(ddof=1)) if b > 1 else 0.0
    sd = sd if sd > slack else 0.0
    # Random halves of few inputs may lack a class, and then have no statistic.
    error = standard_error if standard_error is not None and np.isfinite(standard_error) else None
    half = None if error is None else float(ndtri(0.975)) * error
    return Comparison(
        natural=statistic,
        null_mean=mean,
        null_sd=sd,
        low=None if half is None else statistic - mean - half,
        high=None if half is None else statistic - mean + half,
        rotations=b,
        p_high=p_high,
        p_low=p_low,
        p_two=min(1.0, 2 * min(p_high, p_low)),
        effect=(statistic - mean) / sd if sd else None,
        detectable_effect=detectable_effect(null, error or 0.0) if sd else None,
    )


def detectable_effect(
    null: np.ndarray, standard_error: float = 0.0, level: float = LEVEL, power: float = POWER
) -> float | None:
    """The smallest effect, in standard deviations of the `null` (B,), that p_two <= `level` finds with this `power`.

    The statistic has to pass the null's own critical value (the mean of the upper and the lower one). It does so with
    that power when it lies the normal quantile of `power` times its `standard_error` beyond it. None where the null
    has no spread, or too few draws for any p_two to reach the level.
    """
    b = len(null)
    needed = int(np.floor(level / 2 * (b + 1)))
    sd = float(np.std(null, ddof=1)) if b > 1 else 0.0
    if needed < 1 or sd <= 1e-12 * max(float(np.abs(null).max()), 1e-300):
        return None
    ordered = np.sort(null)
    critical = (ordered[b - needed] - ordered[needed - 1]) / 2
    return float(critical / sd + ndtri(power) * standard_error / sd)
