"""The exact binomial test of a count against a known chance."""

import numpy as np
from scipy import stats

from intriguing.errors import InputError
from intriguing.stats.comparison import POWER, Comparison
from intriguing.stats.findings import LEVEL


def compare_with_chance(successes: int, trials: int, chance: float) -> Comparison:
    """The exact binomial test of `successes` in independent `trials` that each succeed with probability `chance`.

    The interval is Clopper and Pearson's. Without trials the comparison has no figures.

    Raises: `InputError` unless 0 <= successes <= trials and 0 < chance < 1.
    """
    if not 0 <= successes <= trials or not 0 < chance < 1:
        raise InputError(
            f"A binomial test takes 0 <= successes <= trials and 0 < chance < 1; given {successes}, {trials}, {chance}."
        )
    if not trials:
        return Comparison()
    null = stats.binom
    p_high, p_low = float(null.sf(successes - 1, trials, chance)), float(null.cdf(successes, trials, chance))
    sd = float(np.sqrt(chance * (1 - chance) / trials))
    interval = stats.binomtest(successes, trials, chance).proportion_ci(0.95, "exact")
    # The smallest significant number of successes, and the share of successes that reaches it with 80 % power.
    needed = int(null.isf(LEVEL / 2, trials, chance)) + 1
    share = float(stats.beta.ppf(POWER, needed, trials - needed + 1)) if needed <= trials else None
    return Comparison(
        natural=successes / trials,
        null_mean=chance,
        null_sd=sd,
        low=float(interval.low) - chance,
        high=float(interval.high) - chance,
        p_high=p_high,
        p_low=p_low,
        p_two=min(1.0, 2 * min(p_high, p_low)),
        effect=(successes / trials - chance) / sd,
        detectable_effect=None if share is None else (share - chance) / sd,
    )
