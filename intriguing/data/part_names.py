"""What parts of a training split are called: "1 of 2"."""

import re

from intriguing.errors import DataError, InputError

_FORM = re.compile(r"([1-9]\d{0,5}) of ([1-9]\d{0,5})")


def parse_part(text: str) -> tuple[int, int]:
    """The numbers in "1 of 2": which part, and of how many.

    Raises: `InputError` for another form, fewer than two parts, or a part beyond the last.
    """
    match = _FORM.fullmatch(text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts or parts < 2:
        raise InputError(f"{text!r} is no part of a training split: write it as '1 of 2', '2 of 2' or '3 of 10'.")
    return part, parts


def check_part(what: str, text: str, rarest: int) -> None:
    """Raise `DataError` where the smallest class, of `rarest` images, is too small to be in every part."""
    _, parts = parse_part(text)
    if rarest < parts:
        raise DataError(
            f"{what} has a class of only {rarest} image{'' if rarest == 1 else 's'}, so not each of {parts} parts can "
            f"hold one of it: cut the split into at most {rarest} parts, or leave that class out."
        )
