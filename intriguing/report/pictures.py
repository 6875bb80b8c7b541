"""Images as a page shows them: float32 in [0, 1], of one or three channels; and changes on grey."""

import numpy as np

from intriguing.errors import InputError


def as_pictures(images: np.ndarray, count: int) -> np.ndarray:
    """`images` (n, C, H, W), uint8 or float in [0, 1], as float32 with one or three channels; n must be `count`.

    Other numbers of channels are shown as their mean. Raises `InputError` for another shape or type.
    """
    array = np.asarray(images)
    if array.ndim != 4 or len(array) != count or 0 in array.shape:
        raise InputError(f"images() gave shape {array.shape} for {count} ids: (n, C, H, W) is needed.")
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    elif array.dtype.kind != "f":
        raise InputError(f"images() gave {array.dtype}: uint8, or float in [0, 1], is needed.")
    pictures = np.nan_to_num(array.astype(np.float32)).clip(0, 1)
    return pictures if pictures.shape[1] in (1, 3) else pictures.mean(axis=1, keepdims=True)


def on_grey(perturbation: np.ndarray) -> tuple[np.ndarray, float]:
    """A perturbation (C, H, W) centred on mid-grey and stretched to fill the range, and the change shown white."""
    scale = float(np.abs(perturbation).max())
    return 0.5 + perturbation / (2 * scale) if scale > 0 else np.full_like(perturbation, 0.5), scale
