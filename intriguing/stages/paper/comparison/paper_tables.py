"""What the paper prints in its tables 1 to 4, as data: every cell, under the names that the specs `paper` use.

Source: Szegedy et al. 2013, arXiv:1312.6199, section 4.2. Errors are fractions here. Distortions are
sqrt(sum r^2 / n), averaged over the attacked images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

ATTACKED = 256
"""How many images were attacked for each model: 25 of the 30 cells off table 2's diagonal are whole 1/256 parts."""
TEST, TRAINING, HALF = 10_000, 60_000, 30_000
"""How many images the errors of tables 1 and 3 rest on."""

AMPLIFIED = 0.1
"""The RMS that the changes of table 4 are amplified to."""

SIX = ("FC10(1e-4)", "FC10(1e-2)", "FC10(1)", "FC100-100-10", "FC200-200-10", "AE400-10")
"""The models of tables 1 and 2."""
THREE = ("FC100-100-10 P1", "FC123-456-10 P1", "FC100-100-10 P2")
"""The models of tables 3 and 4; P1 and P2 are the halves of the training set, and the last is the paper's
FC100-100-10'."""


@dataclass(frozen=True)
class Printed:
    """A cell of the paper: its table, the figure, and how many images it rests on (0: the paper does not say)."""

    table: int
    value: float
    n: int


_TABLE_1 = {  # train error, test error (in percent), average minimum distortion
    "FC10(1e-4)": (6.7, 7.4, 0.062),
    "FC10(1e-2)": (10.0, 9.4, 0.1),
    "FC10(1)": (21.2, 20.0, 0.14),
    "FC100-100-10": (0.0, 1.64, 0.058),
    "FC200-200-10": (0.0, 1.54, 0.065),
    "AE400-10": (0.57, 1.9, 0.086),
}
_TABLE_2 = {  # made for: fed to the six (in percent)
    "FC10(1e-4)": (100, 11.7, 22.7, 2, 3.9, 2.7),
    "FC10(1e-2)": (87.1, 100, 35.2, 35.9, 27.3, 9.8),
    "FC10(1)": (71.9, 76.2, 100, 48.1, 47, 34.4),
    "FC100-100-10": (28.9, 13.7, 21.1, 100, 6.6, 2),
    "FC200-200-10": (38.2, 14, 23.8, 20.3, 100, 2.7),
    "AE400-10": (23.4, 16, 24.8, 9.4, 6.6, 100),
}
_NOISE_2 = {"noise 0.1": (5.0, 10.1, 18.3, 0, 0, 0.8), "noise 0.3": (15.6, 11.3, 22.7, 5, 4.3, 3.1)}
_TABLE_3 = {  # error on its own half, on the other half, on the test set (in percent), average minimum distortion
    "FC100-100-10 P1": (0, 2.4, 2, 0.062),
    "FC123-456-10 P1": (0, 2.5, 2.1, 0.059),
    "FC100-100-10 P2": (0, 2.3, 2.1, 0.058),
}
_TABLE_4 = {
    "minimal": {
        "FC100-100-10 P1": (100, 26.2, 5.9),
        "FC123-456-10 P1": (6.25, 100, 5.1),
        "FC100-100-10 P2": (8.2, 8.2, 100),
    },
    "amplified": {
        "FC100-100-10 P1": (100, 98, 43),
        "FC123-456-10 P1": (96, 100, 22),
        "FC100-100-10 P2": (27, 50, 100),
    },
}
_NOISE_4 = {"noise 0.06": (2.2, 2.6, 2.4), "noise 0.1": (2.6, 2.8, 2.7)}

Key = tuple[str, str, str]
"""What is measured (test_error, distortion, minimal, amplified, noise 0.1, ...), of which source, on which target."""


def cells(amplified_rms: float = AMPLIFIED) -> Mapping[Key, Printed]:
    """Every cell. Errors and distortions have their model as the target and no source; so has noise.

    Those of amplified images are left out where `amplified_rms`, the size that ours have, is not the paper's.
    """
    found: dict[Key, Printed] = {}
    for model, (train, test, distortion) in _TABLE_1.items():
        found["train_error", "", model] = Printed(1, train / 100, TRAINING)
        found["test_error", "", model] = Printed(1, test / 100, TEST)
        found["distortion", "", model] = Printed(1, distortion, 0)
    for model, (own, other, test, distortion) in _TABLE_3.items():
        found["train_error", "", model] = Printed(3, own / 100, HALF)
        found["other_error", "", model] = Printed(3, other / 100, HALF)
        found["test_error", "", model] = Printed(3, test / 100, TEST)
        found["distortion", "", model] = Printed(3, distortion, 0)
    _matrix(found, 2, "minimal", _TABLE_2, SIX)
    for kind, rows in _TABLE_4.items():
        if kind != "amplified" or isclose(amplified_rms, AMPLIFIED):
            _matrix(found, 4, kind, rows, THREE)
    for table, noise, models in ((2, _NOISE_2, SIX), (4, _NOISE_4, THREE)):
        for size, row in noise.items():
            for target, error in zip(models, row, strict=True):
                found[size, "", target] = Printed(table, error / 100, ATTACKED)
    return found


def _matrix(
    found: dict[Key, Printed], table: int, kind: str, rows: Mapping[str, tuple[float, ...]], targets: tuple[str, ...]
) -> None:
    for source, errors in rows.items():
        for target, error in zip(targets, errors, strict=True):
            found[kind, source, target] = Printed(table, error / 100, ATTACKED)
