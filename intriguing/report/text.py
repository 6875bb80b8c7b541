"""Numbers and verdicts in words."""

import math
from collections.abc import Mapping
from typing import Any

NONE = "–"
_THIN = "\u202f"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    shown = f"{value:.{places}f}" if 0 <= places <= 6 else f"{value:.{digits}g}"
    return shown.replace("-", "\u2212")


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage, without its sign; a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{int(value):,}".replace(",", _THIN)


def plural(value: int, noun: str) -> str:
    """The number and its noun: "1 search", "2 searches"."""
    ending = "" if value == 1 else "es" if noun.endswith(("ch", "s", "x")) else "s"
    return f"{count(value)} {noun}{ending}"


def shorten(name: str, most: int) -> str:
    """`name`, cut in the middle where it is longer than `most` characters, without line breaks."""
    flat = " ".join(name.split()) or repr(name)
    half = (most - 1) // 2
    return flat if len(flat) <= most else f"{flat[:half]}…{flat[-half:]}"


def verdict(test: Mapping[str, Any], noun: str = "unit", level: float = 0.05) -> tuple[str, str]:
    """What a rotation test says, as (outcome, sentence).

    noun: what an axis of the natural basis is called. outcome: "higher", "lower", "none" or "unknown". The p-value is
    the one after Holm's correction where there is one. No significant difference is never called equality: the
    sentence says what the test could have found.
    """
    metric, p, adjusted = test["metric"], test["p_two"], test["p_holm"]
    shown, after = (p, "") if _missing(adjusted) else (adjusted, " after Holm's correction")
    if _missing(shown) or _missing(test["natural"]) or _missing(test["null_mean"]):
        return "unknown", f"No test of {metric} could be made."
    compared = (
        f"{metric} is {number(test['natural'])} in the natural basis and {number(test['null_mean'])} ± "
        f"{number(test['null_sd'], 2)} over {plural(int(test['rotations']), 'random rotation')} "
        f"(p = {number(shown, 2)}{after})"
    )
    if shown <= level:
        high, low = test.get("p_high"), test.get("p_low")
        # Of a skewed null the mean may lie beyond its own tail: which tail is the smaller says which way.
        above = test["natural"] > test["null_mean"] if high is None or low is None or high == low else high < low
        outcome = "higher" if above else "lower"
        return outcome, f"Single {noun}s score {outcome} than random directions: {compared}."
    power = test["detectable_effect"]
    limit = ""
    if not _missing(power):
        found = f" A difference of {number(power, 2)} null standard deviations would have been found with 80 % power"
        limit = f"{found} before it." if after else f"{found}."
    return "none", f"No difference between single {noun}s and random directions was found: {compared}.{limit}"


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)
