"""Adversarial images in 256 levels, as PNGs hold them: rounded, and farther where rounding undoes the change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from intriguing.errors import InputError, ModelError
from intriguing.stats.findings import counted

Models = Callable[[str, str, int], Any]
"""models(data set, model, seed) -> the network; `ModelError` says why it is not to be had."""

_FARTHER = (1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 6, 8, 12, 16, 24, 32)
_HALVINGS = 5
_SAME = ("dataset", "model", "model_seed", "target_rule", "grade")


@dataclass
class Picture:
    """An image to write: its row of `distortions`, as found, and the unchanged image where it is to be had.

    Of the PNG: its values, how it came about (rounded, farther, searched), the class that the model gives to it (None
    where it was not fed), and whether the plainly rounded image fools, whatever the PNG is.
    """

    row: dict[str, Any]
    exact: np.ndarray
    original: np.ndarray | None
    png: np.ndarray
    made: str = "rounded"
    prediction: int | None = None
    rounded_fools: bool | None = None

    @property
    def fools(self) -> bool | None:
        """Whether the PNG does to the model what the search was for; None where it was not fed."""
        return None if self.prediction is None else self.is_fooled(self.prediction)

    @property
    def times(self) -> float:
        """How many times as far from the unchanged image as what was found the PNG is."""
        return self.distance(self.png) / max(self.distance(self.exact), 1e-30)

    def is_fooled(self, prediction: int) -> bool:
        """Whether a model that answers `prediction`, -1 for none, does what the search was for."""
        target = self.row["target"]
        if prediction < 0:
            return False
        return prediction == target if target is not None else prediction != self.row["label"]

    def distance(self, image: np.ndarray) -> float:
        """L2 from the unchanged image; 0 where that is not to be had."""
        return 0.0 if self.original is None else float(np.linalg.norm((image - self.original).ravel()))

    def line(self, file: str) -> dict[str, Any]:
        """Its row of the index."""
        line = self.row | {"file": f"{file}.png", "png": self.made, "rounded_fools": self.rounded_fools}
        line |= {"prediction_of_png": self.prediction, "png_fools": self.fools}
        if self.original is not None:
            largest = float(np.abs(self.png - self.original).max())
            line |= {"l2_of_png": self.distance(self.png), "linf_of_png": largest, "original": f"{file}-original.png"}
        return line


def in_levels(image: np.ndarray) -> np.ndarray:
    """The nearest image of 256 levels, in [0, 1], as a PNG of it is read."""
    return levels(image) / np.float32(255)


def levels(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] in whole numbers from 0 to 255."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def make_fool(pictures: list[Picture], models: Models | None, search: bool) -> list[str]:
    """Choose PNGs that fool the model that they were made for, and say of how many that holds.

    Each picture is rounded and fed to its model. Where that undoes the change, the change is made larger until the
    rounded image fools the model (of a linear model no image of 256 levels that does is much nearer). search: images of
    256 levels are searched for, too. Of what fools, the nearest is taken.

    Raises `InputError` where a search is asked for and models or unchanged images are not to be had.
    """
    remarks = []
    for group in _by_model(pictures):
        row = group[0].row
        try:
            if models is None:
                raise ModelError("the models are not to be had")
            net = models(row["dataset"], row["model"], row["model_seed"])
        except ModelError as error:
            if search:
                raise InputError(f"8-bit images need the model they are searched for: {error}.") from error
            remarks.append(
                f"PNGs were not fed to their model: {error}. They are the images as found, rounded to 8 bits, which "
                "often undoes so small a change."
            )
            continue
        found = _searched(net, group) if search else [None] * len(group)
        for one, image in zip(group, found, strict=True):
            _choose(net, one, image)
    fed = [one for one in pictures if one.prediction is not None]
    return list(dict.fromkeys([*remarks, *([_survival(fed, search)] if fed else [])]))


def _choose(net: Any, one: Picture, searched: np.ndarray | None) -> None:
    """Put the nearest image that fools the network in the PNG; the rounded one where none does."""
    one.prediction = _answer(net, one.png)
    one.rounded_fools = one.fools
    fooling = [(one.made, one.png, one.prediction)] if one.fools else [*_farther(net, one)]
    if searched is not None and one.is_fooled(answer := _answer(net, searched)):
        fooling.append(("searched", searched, answer))
    if fooling:
        one.made, one.png, one.prediction = min(fooling, key=lambda each: one.distance(each[1]))


def _farther(net: Any, one: Picture) -> Iterator[tuple[str, np.ndarray, int]]:
    """Larger and larger changes of the same direction: the images of 256 levels that fool the network, as tried."""
    if one.original is None:
        return
    change = one.exact - one.original
    fails = max(1.0, 0.5 / 255 / max(float(np.abs(change).max()), 1e-12))  # below, no level changes
    unit = fails
    for factor in _FARTHER:
        holds = unit * factor
        image = in_levels(one.original + holds * change)
        if one.is_fooled(answer := _answer(net, image)):
            yield "farther", image, answer
            break
        fails = holds
    else:
        return
    for _ in range(_HALVINGS):
        middle = (fails + holds) / 2
        image = in_levels(one.original + middle * change)
        if one.is_fooled(answer := _answer(net, image)):
            holds = middle
            yield "farther", image, answer
        else:
            fails = middle


def _searched(net: Any, group: list[Picture]) -> list[np.ndarray | None]:
    """Images of 256 levels that fool the network, as near as the search finds them; None where it finds none."""
    import torch

    from intriguing.blind_spots import SearchOptions, minimal_distortion
    from intriguing.blind_spots.grades import GRADES

    originals = [one.original for one in group if one.original is not None]
    if len(originals) < len(group):
        raise InputError("8-bit images are searched from the unchanged images, and these are not to be had.")
    targets, grade = [one.row["target"] for one in group], group[0].row["grade"]
    starts = torch.from_numpy(np.stack([one.exact for one in group]))
    result = minimal_distortion(
        net,
        torch.from_numpy(np.stack(originals)),
        torch.tensor([one.row["label"] for one in group]),
        torch.tensor(targets) if None not in targets else None,
        SearchOptions(grade=grade, quantised_levels=256),
        starts=starts if GRADES[grade].starts else None,
    )
    return [
        in_levels(image.numpy()) if status == "found" else None
        for status, image in zip(result.status, result.adversarial, strict=True)
    ]


def _survival(fed: list[Picture], search: bool) -> str:
    """How many PNGs fool, what that cost, and what to do about those that do not."""
    fooling = [one for one in fed if one.fools]
    said = f"{len(fooling):,} of {len(fed):,} PNGs fool the model they were made for."
    if times := sorted(one.times for one in fooling if one.original is not None):
        least, most = (f"{end:.3g}" for end in (times[0], times[-1]))
        much = most if least == most else f"{least} to {most}"
        said += f" The change in them is {much} times as large (L2) as the one found."
    if farther := sum(one.made == "farther" for one in fooling):
        said += (
            f" {farther:,} of them {'was' if farther == 1 else 'were'} moved farther, for rounding to 8 bits undid the "
            "change: adversarial.npz has it as found"
        )
        said += "." if search else ", and --eight-bit searches for nearer images."
    if len(fooling) == len(fed):
        return said
    rest = counted(len(fed) - len(fooling), "image")
    if search:
        return f"{said} For {rest} none of 256 levels was found that does."
    return f"{said} Of {rest} rounding to 8 bits undoes larger changes, too: --eight-bit searches for others."


def _by_model(pictures: list[Picture]) -> list[list[Picture]]:
    groups: dict[tuple[Any, ...], list[Picture]] = {}
    for one in pictures:
        groups.setdefault(tuple(one.row[name] for name in _SAME), []).append(one)
    return list(groups.values())


def _answer(net: Any, image: np.ndarray) -> int:
    """The class that a network gives to an image that is fed alone, as a person feeds a PNG."""
    from intriguing.models import classes_of, predict

    return int(classes_of(predict(net, image[None], slots=1))[0])
