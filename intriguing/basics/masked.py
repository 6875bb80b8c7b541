"""Masked arrays of NumPy: all else takes what stands behind the mask, in silence."""

from typing import Any

import numpy as np

from intriguing.errors import InputError


def check_unmasked(given: Any, name: str) -> None:
    """Raise `InputError` for a masked array of which entries are masked; `name` is the variable's."""
    if isinstance(given, np.ma.MaskedArray) and bool(np.ma.getmaskarray(given).any()):
        count = int(np.ma.count_masked(given))
        raise InputError(
            f"{name} has {count:,} masked entries: leave out the rows that hold some, or fill them, {name}.filled(0)."
        )
