"""Checks of single numbers that a person gave as options."""

from math import inf, isfinite
from typing import Any

from intriguing.errors import InputError


def check_number(what: str, value: Any, *, whole: bool = False, low: float = 0, high: float = inf) -> None:
    """Raise `InputError` unless `value` is a finite number from `low` to `high`; whole: and a whole one."""
    kind = int if whole else int | float
    if not isinstance(value, kind) or isinstance(value, bool) or not isfinite(value) or not low <= value <= high:
        number = "a whole number" if whole else "a number"
        span = f"of at least {low:g}" if high == inf else f"from {low:g} to {high:g}"
        raise InputError(f"{what} = {value!r}: it must be {number} {span}.")
