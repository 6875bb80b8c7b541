"""How far along its ray must an image be changed before a network is fooled?

The ray of an image x through a changed image x' is x + t (x' - x), t >= 0, clipped to the box. A point of it is
identified by the size of the change after clipping, RMS = sqrt(sum r^2 / n), so that rays of different sources are
compared at equal size. A ray ends where every value that changes has reached a side of the box.

Errors need not be monotone along a ray. The crossing is bisected between the first size of a fixed grid at which the
network is wrong and the size before. Errors that lie wholly between two sizes of the grid are missed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.errors import InputError

RESOLUTION = 0.01
"""Relative width of a crossing's bracket at which bisection stops."""
MOST_STEPS = 12
"""Largest number of bisections of a crossing."""
GROWTH = 1.5
"""Factor of the sizes beyond the largest one of the grid, at which rays without an error are followed to their end."""

_FURTHEST = 1e6
"""Largest scale of a change of RMS 1: values a millionth of the others or less do not make a ray longer."""
_AT_ONCE = 1 << 18
"""Values of images per block of float64 arithmetic: 2 MB in each of about ten arrays."""
_FED = 1 << 23
"""Values of the points that are fed at once: 32 MB."""
_BATCH = 32
"""Points are fed in multiples of it, so that even batches need no padding."""

Answer = Callable[[np.ndarray], np.ndarray]
"""The classes (b,) int64 that a network gives images (b, *shape) float32."""


class Rays:
    """Rays from `clean` images through `changed` ones, both (B, *shape), within the box.

    changed: the images, or a function from rows (b,) to their images (b, *shape), so that they are never all in memory.
    Raises: `InputError` for other shapes, and for a changed image that equals its clean one.
    """

    __repr__ = brief

    def __init__(
        self,
        clean: np.ndarray,
        changed: np.ndarray | Callable[[np.ndarray], np.ndarray],
        lower: float = 0.0,
        upper: float = 1.0,
        *,
        inside: bool = True,
    ) -> None:
        """`inside=False`: `changed` may leave the box, as an image plus noise does."""
        if isinstance(changed, np.ndarray) and clean.shape != changed.shape:
            raise InputError(f"Clean images of shape {clean.shape} and changed ones of {changed.shape}: give pairs.")
        self.shape, self.box = clean.shape[1:], (lower, upper)
        self._grids: dict[tuple[float, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._clean = np.ascontiguousarray(clean, np.float32).reshape(len(clean), prod(self.shape))
        self._change = np.empty_like(self._clean)
        made = changed.__getitem__ if isinstance(changed, np.ndarray) else changed
        for part in self._parts(np.arange(len(clean))):
            moved = made(part).reshape(len(part), prod(self.shape))
            if inside and moved.size and not (moved.min() >= lower and moved.max() <= upper):
                raise InputError(f"The changed images leave the box [{lower}, {upper}].")
            change = moved.astype(np.float64) - self._clean[part]
            # Scaled to a maximum of 1 first, so that the squares of a tiny change do not underflow.
            largest = np.abs(change).max(axis=1, initial=0.0, keepdims=True)
            if not (largest > 0).all():
                raise InputError(
                    "A changed image equals its clean one, so no ray leads through both: pass only searches with "
                    "status 'found'."
                )
            change /= largest
            self._change[part] = change / np.sqrt((change**2).mean(axis=1, keepdims=True))

    def __len__(self) -> int:
        return len(self._clean)

    @property
    def nbytes(self) -> int:
        """The size of the rays in memory, in bytes."""
        return self._clean.nbytes + self._change.nbytes

    def images(self, rows: np.ndarray, scales: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The points (b, *shape) float32 of the rays `rows` (b,) at `scales` (b,), written to `out` (b, n) if given."""
        moved = np.empty((len(rows), prod(self.shape)), np.float32) if out is None else out
        for part in self._parts(np.arange(len(rows))):
            points = self._change[rows[part]]
            points *= scales[part].astype(np.float32)[:, None]
            points += self._clean[rows[part]]
            np.clip(points, *self.box, out=moved[part[0] : part[-1] + 1])
        return moved.reshape(len(moved), *self.shape)

    def rms(self, rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """The RMS (b,) float64, after clipping, of the points of the rays `rows` (b,) at `scales` (b,)."""
        sizes = np.empty(len(rows))
        for part in self._parts(np.arange(len(rows))):
            size, room = self._change_and_room(rows[part])
            sizes[part] = np.sqrt((np.minimum(size * scales[part, None], room) ** 2).mean(axis=1))
        return sizes

    def scales(self, rows: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
        """The scales (S, b) float64 at which points of the rays `rows` (b,) have the RMS `sizes` (S,) after clipping.

        The scale of a ray's end where the ray is shorter than a size. The solution is exact: between the scales at
        which two values reach their side of the box, the square of the RMS is a quadratic function.
        """
        found = np.empty((len(sizes), len(rows)))
        for part in self._parts(np.arange(len(rows))):
            size, room = self._change_and_room(rows[part])
            found[:, part] = _scales_at(size, room, np.asarray(sizes, np.float64))
        return found

    def grid(self, sizes: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """The scales (S, B) of all rays' points at these sizes, and their RMS (S, B); computed once."""
        key = tuple(sizes)
        if key not in self._grids:
            every = np.arange(len(self))
            scales = self.scales(every, sizes)
            self._grids[key] = scales, np.stack([self.rms(every, each) for each in scales])
        return self._grids[key]

    def _change_and_room(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per value: its rate of change, and its distance from the side of the box, (b, n) float64."""
        change, clean = self._change[rows].astype(np.float64), self._clean[rows].astype(np.float64)
        room = np.where(change > 0, self.box[1] - clean, clean - self.box[0])
        return np.abs(change), np.maximum(room, 0.0)

    def _parts(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        step = max(1, _AT_ONCE // max(1, self._clean.shape[1]))
        return (rows[start : start + step] for start in range(0, len(rows), step))


def _scales_at(size: np.ndarray, room: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The scales (S, b) at which sqrt(mean(min(scale size, room)^2)) has the values `sizes` (S,); (b, n) both."""
    meets = np.divide(room, size, out=np.full_like(size, np.inf), where=size > 0)
    order = np.argsort(meets, axis=1)
    meets, size, room = (np.take_along_axis(each, order, axis=1) for each in (meets, size, room))
    clipped = np.zeros((len(size), size.shape[1] + 1))  # of those that met their side: the sum of squares
    np.cumsum(room**2, axis=1, out=clipped[:, 1:])
    free = np.zeros_like(clipped)  # of the others: that at scale 1
    free[:, :-1] = np.cumsum((size**2)[:, ::-1], axis=1)[:, ::-1]
    finite = np.where(np.isfinite(meets), meets, 0.0)
    reached = np.where(np.isfinite(meets), clipped[:, :-1] + finite**2 * free[:, :-1], np.inf)
    end = np.minimum(finite.max(axis=1, initial=0.0), _FURTHEST)
    each, found = np.arange(len(size)), np.empty((len(sizes), len(size)))
    for i, wanted in enumerate(sizes**2 * size.shape[1]):
        met = (reached < wanted).sum(axis=1)
        left, rest = wanted - clipped[each, met], free[each, met]
        scale = np.sqrt(np.divide(left, rest, out=np.full(len(size), np.inf), where=rest > 0))
        found[i] = np.minimum(scale, end)
    return found


@dataclass(frozen=True, eq=False)
class Followed:
    """A network's predictions along rays.

    rms, predictions: (S, B), at the sizes of the grid. status: (B,) crossed, wrong_before or never. crossing and
    right_below: (B,) float64, the ends of the crossing's bracket in RMS: the smallest at which the network was wrong,
    and the largest below it at which it was right; NaN unless crossed. passes: (B,) int64, forward passes per ray.
    """

    rms: np.ndarray
    predictions: np.ndarray
    status: np.ndarray
    crossing: np.ndarray
    right_below: np.ndarray
    passes: np.ndarray

    __repr__ = brief


def follow(
    rays: Rays, sizes: Sequence[float], labels: np.ndarray, clean_predictions: np.ndarray, answer: Answer
) -> Followed:
    """Feed the points of all `rays` at the ascending `sizes`, then bisect where the network first becomes wrong.

    labels, clean_predictions: (B,) int64, the true classes and the predictions at the rays' beginnings. Rays without an
    error at any size are followed further, to their end.
    """
    every, predict = np.arange(len(rays)), _predictor(rays, answer)
    scales, rms = rays.grid(sizes)
    predictions = np.stack([predict(every, each) for each in scales])
    right_before = clean_predictions == labels
    bracket = _Bracket(len(rays))
    alive = every[right_before]
    for scale, each in zip(scales, predictions, strict=True):
        alive = bracket.step(alive, scale[alive], each[alive] != labels[alive])
    passes = np.full(len(rays), len(sizes), np.int64)
    _extend(rays, alive, sizes[-1], labels, predict, bracket, passes)
    crossed = np.flatnonzero(bracket.crossed)
    _bisect(rays, crossed, labels, predict, bracket, passes)
    status = np.where(bracket.crossed, "crossed", np.where(right_before, "never", "wrong_before"))
    ends = np.full((2, len(rays)), np.nan)
    ends[:, crossed] = [rays.rms(crossed, scale[crossed]) for scale in (bracket.wrong, bracket.right)]
    return Followed(rms, predictions, status, ends[0], ends[1], passes)


class _Bracket:
    """Per ray: the largest scale known to be right before the crossing, and the smallest known to be wrong after it."""

    def __init__(self, count: int) -> None:
        self.right, self.wrong = np.zeros(count), np.full(count, np.nan)

    @property
    def crossed(self) -> np.ndarray:
        return ~np.isnan(self.wrong)

    def step(self, rows: np.ndarray, scales: np.ndarray, is_wrong: np.ndarray) -> np.ndarray:
        """Note whether these rays are wrong at these scales; returns those that are right."""
        self.wrong[rows[is_wrong]] = scales[is_wrong]
        self.right[rows[~is_wrong]] = scales[~is_wrong]
        return rows[~is_wrong]


def _extend(
    rays: Rays,
    alive: np.ndarray,
    size: float,
    labels: np.ndarray,
    predict: "_Predict",
    bracket: _Bracket,
    passes: np.ndarray,
) -> None:
    """Follow the rays without an error so far from `size` on, until each has an error or ends."""
    width = rays.box[1] - rays.box[0]
    while len(alive) and size < width:
        size = min(size * GROWTH, width)
        scales = rays.scales(alive, [size])[0]
        longer = scales > bracket.right[alive]
        alive, scales = alive[longer], scales[longer]
        if len(alive):
            passes[alive] += 1
            alive = bracket.step(alive, scales, predict(alive, scales) != labels[alive])


def _bisect(
    rays: Rays, rows: np.ndarray, labels: np.ndarray, predict: "_Predict", bracket: _Bracket, passes: np.ndarray
) -> None:
    """Bisect the brackets of the rays `rows` until their relative width in RMS is `RESOLUTION`.

    By the geometric mean of the scales: that of a ray's end may be a million times the others, where a single value
    changes so little that it meets its side of the box there. The RMS is at most the scale, so it is below half of the
    wrong one at half of that.
    """
    for _ in range(MOST_STEPS):
        low, high = (rays.rms(rows, scales[rows]) for scales in (bracket.right, bracket.wrong))
        wide = high - low > RESOLUTION * high
        rows = rows[wide]
        if not len(rows):
            return
        right, wrong = bracket.right[rows], bracket.wrong[rows]
        middle = np.where(right > 0, np.sqrt(right * wrong), high[wide] / 2)
        passes[rows] += 1
        bracket.step(rows, middle, predict(rows, middle) != labels[rows])


_Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The predicted classes (b,) int64 of the points of rays (b,) at scales (b,)."""


def _predictor(rays: Rays, answer: Answer) -> _Predict:
    """The function that feeds points of `rays`; few of them are in memory at a time, in a buffer that is reused."""
    numbers = prod(rays.shape)
    step = max(_BATCH, _FED // max(1, numbers) // _BATCH * _BATCH)
    held = np.empty((min(step, len(rays)), numbers), np.float32)

    def predict(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
        classes = np.empty(len(rows), np.int64)
        for start in range(0, len(rows), step):
            part = slice(start, min(start + step, len(rows)))
            classes[part] = answer(rays.images(rows[part], scales[part], held[: part.stop - start]))
        return classes

    return predict
