"""Amplified perturbations of attacked images, and Gaussian noise of the same size as a control.

The size of a change is the paper's distortion, RMS = sqrt(sum r^2 / n) over the n values of an image. Both functions
clip to the box (the paper does not say whether it does), and return the RMS after clipping and the fraction of clipped
values. Clipping makes noise smaller; `after_clipping` scales the noise up first, so that the control is as large as the
perturbation that it is compared with.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intriguing.basics.masked import check_unmasked
from intriguing.basics.text.brief import brief
from intriguing.errors import InputError
from intriguing.randomness import generator

_PURPOSE = "transfer.gaussian_noise"
_MOST = 1_000
"""Largest factor by which noise is scaled up before clipping."""


class Perturbed(NamedTuple):
    """Changed images, and the effect of clipping them to the box.

    images: (B, *shape) float32 in the box. rms_after: (B,) float32, the RMS of the change after clipping.
    clipped_fraction: (B,) float32, the fraction of an image's values that were outside the box.
    """

    __repr__ = brief

    images: np.ndarray
    rms_after: np.ndarray
    clipped_fraction: np.ndarray


def amplify(
    clean: npt.ArrayLike,
    adversarial: npt.ArrayLike,
    rms: npt.ArrayLike,
    lower: float = 0.0,
    upper: float = 1.0,
) -> Perturbed:
    """`clean` moved in the direction of `adversarial` by a change of size `rms`, then clipped.

        import numpy as np, intriguing as ig
        clean = np.full((1, 28, 28), 0.5)
        adversarial = clean + np.random.default_rng(0).normal(0, 0.01, clean.shape)
        ig.amplify(clean, adversarial, rms=0.1).images

    clean, adversarial: (B, *shape) in [lower, upper]; rms: a positive number, or one per image. Computes
    x + rms sqrt(n) (x' - x) / ||x' - x||_2.

    Raises: `InputError` for shapes that differ, images that are not finite or not in the box, an RMS that is not
    positive, or an adversarial image that equals its clean image, so that there is no direction.

    Source: Szegedy et al. 2013, section 4.2, table 4. The factor sqrt(n) is missing in print: for 28 x 28 pixels the
    change would have an RMS of 0.1 / 28, not the 0.1 of the table's caption.
    """
    x, box = _images("clean", clean, lower, upper)
    target, _ = _images("adversarial", adversarial, lower, upper)
    if x.shape != target.shape:
        raise InputError(f"Clean images of shape {x.shape} and adversarial images of shape {target.shape}: give pairs.")
    size = _sizes(rms, len(x))
    if not (size > 0).all():
        raise InputError(f"An RMS of {size.min():g} was asked for: amplified perturbations need a positive one.")
    change = target - x
    still = np.flatnonzero(~_flat(change).any(axis=1))
    if still.size:
        raise InputError(
            f"{still.size} adversarial image(s) equal the clean image (rows {still[:5].tolist()}), so there is no "
            "perturbation to amplify: pass only searches with status 'found'."
        )
    return _clipped(x, change, size, box)


def gaussian_noise(
    clean: npt.ArrayLike,
    rms: npt.ArrayLike,
    seed: int,
    ids: Sequence[int | str] | np.ndarray,
    lower: float = 0.0,
    upper: float = 1.0,
    *,
    after_clipping: bool = False,
) -> Perturbed:
    """`clean` plus Gaussian noise of exactly the size `rms`, then clipped: the control of a transfer matrix.

        import numpy as np, intriguing as ig
        ig.gaussian_noise(np.full((2, 28, 28), 0.5), rms=0.1, seed=0, ids=[0, 1]).images

    clean: (B, *shape) in [lower, upper]. rms: a number of at least 0, or one per image. ids: (B,) ids of the images.
    The noise of an image depends only on `seed` and its id; its size scales it. after_clipping: scale the noise up so
    that its RMS after clipping is `rms` (by a factor of at most 1,000, if the box allows no such noise).

    Raises: `InputError` for images that are not finite or not in the box, a negative RMS, or another number of ids than
    of images.
    """
    x, box = _images("clean", clean, lower, upper)
    size = _sizes(rms, len(x))
    if not (size >= 0).all():
        raise InputError(f"Noise of RMS {size.min():g} was asked for: give 0 or more.")
    names = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    if len(names) != len(x):
        raise InputError(f"{len(names)} ids for {len(x)} images: give one id per image.")
    noise = directions(x.shape, seed, names)
    return _clipped(x, noise, _before_clipping(x, noise, size, box) if after_clipping else size, box)


def directions(shape: tuple[int, ...], seed: int, ids: Sequence[int | str]) -> np.ndarray:
    """The noise of `gaussian_noise` before it is scaled: standard normal numbers (B, *shape) float64, keyed by the ids.

    shape: (B, *shape), as many images as there are ids.
    """
    noise = np.empty(shape)
    for row, name in zip(noise, ids, strict=True):
        row[...] = generator(seed, _PURPOSE, name).standard_normal(shape[1:])
    return noise


def _before_clipping(x: np.ndarray, noise: np.ndarray, size: np.ndarray, box: tuple[float, float]) -> np.ndarray:
    """The RMS (B,) before clipping with which `noise` has the RMS `size` after clipping; 1,000 times that at most.

    The sum of squares after clipping is piecewise linear and concave in the square of the RMS before it, so Newton's
    method climbs from below to the very piece that holds the answer, in a few steps. A row that no step moves up is
    done, whatever the others do.
    """
    unit = _flat(noise / np.maximum(_rms(noise), np.finfo(np.float64).tiny).reshape(-1, *[1] * (x.ndim - 1)))
    room = np.where(unit > 0, box[1] - _flat(x), _flat(x) - box[0]) ** 2
    unit, most = unit**2, (size * _MOST) ** 2
    total, square = size**2 * unit.shape[1], size**2
    rows = np.flatnonzero(square > 0)
    while len(rows):
        free = unit[rows] * square[rows, None] < room[rows]
        left = total[rows] - np.where(free, 0.0, room[rows]).sum(axis=1)
        slope = np.where(free, unit[rows], 0.0).sum(axis=1)
        step = np.divide(left, slope, out=np.full(len(rows), np.inf), where=slope > 0)
        rows, step = rows[step > square[rows]], step[step > square[rows]]
        square[rows] = np.minimum(step, most[rows])
        rows = rows[step < most[rows]]
    return np.sqrt(square)


def _images(name: str, images: npt.ArrayLike, lower: float, upper: float) -> tuple[np.ndarray, tuple[float, float]]:
    """The images (B, *shape) as float64, and the box. Raises: `InputError` unless they are a batch in the box."""
    if not lower < upper:
        raise InputError(f"The box [{lower}, {upper}] is empty: give lower < upper.")
    check_unmasked(images, name)
    if hasattr(images, "detach"):  # a tensor, of any device, that may ask for gradients
        images = images.detach().double().cpu().numpy()  # type: ignore[union-attr]
    values = np.asarray(images)
    if values.dtype.kind not in "fiub":
        raise InputError(f"The {name} images are of type {values.dtype}: numbers are needed.")
    batch = values.astype(np.float64)
    if batch.ndim < 2 or not prod(batch.shape[1:]):
        raise InputError(
            f"The {name} images have shape {batch.shape}: a batch (B, *shape) is needed, such as image[None]."
        )
    if batch.size and not (batch.min() >= lower and batch.max() <= upper):
        low, high = float(batch.min()), float(batch.max())
        bytes_like = low >= 0 and 1 < high <= 255 and (lower, upper) == (0, 1)
        line = "give images / 255" if values.dtype.kind in "ui" and bytes_like else "scale them to the box first"
        raise InputError(
            f"The {name} images hold values outside [{lower}, {upper}] or NaN "
            f"({values.dtype} from {low:g} to {high:g}): {line}."
        )
    return batch, (lower, upper)


def _sizes(rms: npt.ArrayLike, count: int) -> np.ndarray:
    """One RMS per image, as float64."""
    size = np.asarray(rms, np.float64)
    if size.shape not in ((), (count,)):
        raise InputError(f"RMS of shape {size.shape} for {count} images: give one number, or one per image.")
    if not np.isfinite(size).all():
        raise InputError("The RMS holds NaN or infinity.")
    return np.broadcast_to(size, (count,))


def _clipped(x: np.ndarray, change: np.ndarray, size: np.ndarray, box: tuple[float, float]) -> Perturbed:
    """`x` plus `change` rescaled to the RMS `size` of each image, clipped to the box, stored as float32."""
    each = (-1, *[1] * (x.ndim - 1))
    scale = np.abs(_flat(change)).max(axis=1, initial=0.0).reshape(each)
    # Scaled to a maximum of 1 first, so that the squares of a tiny change do not underflow.
    unit = np.divide(change, scale, out=np.zeros_like(change), where=scale > 0)
    norm = np.maximum(_rms(unit), np.finfo(np.float64).tiny)
    moved = x + unit * (size / norm).reshape(each)
    outside = (moved < box[0]) | (moved > box[1])
    stored = np.clip(moved, *box).astype(np.float32)
    after = _rms(stored.astype(np.float64) - x)
    return Perturbed(stored, after.astype(np.float32), _flat(outside).mean(axis=1).astype(np.float32))


def _flat(batch: np.ndarray) -> np.ndarray:
    """One row per image."""
    return batch.reshape(len(batch), prod(batch.shape[1:]))


def _rms(change: np.ndarray) -> np.ndarray:
    """sqrt(mean of squares) of each image's numbers."""
    return np.sqrt((_flat(change) ** 2).mean(axis=1))
