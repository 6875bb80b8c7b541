"""What models answered to changed images, as arrays: who is fooled by images that were made for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intriguing.basics.text.brief import brief
from intriguing.errors import InputError


@dataclass(frozen=True)
class Network:
    """A model, and what tells it from others.

    recipe: what it is built from and how it is trained; equal for models that differ by their seed or training part
    alone. family: its architecture. part: the part of the training split that it saw ("1 of 2"); "" is all of it.
    """

    name: str
    seed: int
    family: str
    recipe: str
    part: str = ""


@dataclass(frozen=True)
class Answers:
    """The answers of T models to images that were made for S = T models, out of N images that were attacked.

    models: the T models, in one order for sources and targets. images: (N,) their ids, ascending. clean: (T, N), 1.0
    where the model is wrong on the unchanged image, 0.0 where it is right, NaN where it was not fed it. wrong: by kind
    of change, (S, T, N), likewise. rms: by kind, (S, N), the size of the change as fed; NaN where there is none.
    """

    __repr__ = brief

    models: tuple[Network, ...]
    images: np.ndarray
    clean: np.ndarray
    wrong: Mapping[str, np.ndarray]
    rms: Mapping[str, np.ndarray]

    @property
    def both_right(self) -> np.ndarray:
        """(S, T, N): whether source and target are right on the unchanged image."""
        right = self.clean == 0
        return right[:, None] & right[None]

    def cells(self, kind: str) -> np.ndarray:
        """(S, T, N) answers to a kind of change; those to the noise of a target alone are the same for every source."""
        if kind not in self.wrong:
            raise InputError(f"No image of kind {kind!r} was fed; there are: {', '.join(self.wrong)}.")
        return self.wrong[kind]


class Collector:
    """Puts rows of answers into arrays: `clean` and `changed` in any order, then `answers`."""

    def __init__(self, models: Sequence[Network], images: npt.ArrayLike) -> None:
        """models: distinct by name and seed. images: the ids of what was attacked, in any order."""
        self._models = tuple(models)
        self._at = {(model.name, model.seed): i for i, model in enumerate(models)}
        self._images = np.unique(np.asarray(images, np.int64))
        self._clean = np.full((len(models), len(self._images)), np.nan, np.float32)
        self._wrong: dict[str, np.ndarray] = {}
        self._rms: dict[str, np.ndarray] = {}

    def clean(self, targets: npt.ArrayLike, seeds: npt.ArrayLike, images: npt.ArrayLike, wrong: npt.ArrayLike) -> None:
        """Rows of answers to unchanged images, all arguments (n,)."""
        self._clean[self._numbers(targets, seeds), self._places(images)] = np.asarray(wrong, np.float32)

    def changed(
        self,
        kind: str,
        sources: tuple[npt.ArrayLike, npt.ArrayLike],
        targets: tuple[npt.ArrayLike, npt.ArrayLike],
        images: npt.ArrayLike,
        answers: tuple[npt.ArrayLike, npt.ArrayLike],
    ) -> None:
        """Rows of answers to one kind of changed image. sources, targets: names and seeds. answers: wrong, and RMS."""
        s, t, i = self._numbers(*sources), self._numbers(*targets), self._places(images)
        count = len(self._models)
        cells = self._wrong.setdefault(kind, np.full((count, count, len(self._images)), np.nan, np.float32))
        cells[s, t, i] = np.asarray(answers[0], np.float32)
        self._rms.setdefault(kind, np.full((count, len(self._images)), np.nan))[s, i] = answers[1]

    def noise(
        self, kind: str, targets: tuple[npt.ArrayLike, npt.ArrayLike], images: npt.ArrayLike, wrong: npt.ArrayLike
    ) -> None:
        """Rows of answers to noise that was made for no model: the control of every source alike."""
        count = len(self._models)
        one = np.full((count, len(self._images)), np.nan, np.float32)
        one[self._numbers(*targets), self._places(images)] = np.asarray(wrong, np.float32)
        self._wrong[kind] = np.broadcast_to(one[None], (count, count, len(self._images)))

    def answers(self) -> Answers:
        """What was collected."""
        return Answers(self._models, self._images, self._clean, self._wrong, self._rms)

    def _numbers(self, names: npt.ArrayLike, seeds: npt.ArrayLike) -> np.ndarray:
        pairs = zip(np.asarray(names).tolist(), np.asarray(seeds).tolist(), strict=True)
        return np.array([self._at[pair] for pair in pairs], np.int64)

    def _places(self, images: npt.ArrayLike) -> np.ndarray:
        ids = np.asarray(images, np.int64)
        places = np.searchsorted(self._images, ids)
        if len(ids) and (places.max() >= len(self._images) or (self._images[places] != ids).any()):
            raise InputError("An answer belongs to an image that was not attacked.")
        return places
