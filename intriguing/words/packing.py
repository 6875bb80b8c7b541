"""Arrays and words as bytes for a store, in the format safetensors, which cannot contain code."""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from intriguing.errors import DataError

_NOTES = "notes"


def pack(arrays: Mapping[str, np.ndarray], notes: Mapping[str, str]) -> bytes:
    """`arrays` and `notes` as safetensors bytes: the same input gives the same bytes."""
    blob = np.frombuffer(json.dumps(dict(notes), sort_keys=True).encode(), np.uint8)
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()} | {_NOTES: blob})


def unpack(data: bytes, kind: str, needed: Iterable[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The input of `pack`. Raises: `DataError` for other bytes, or if one of the `needed` arrays is missing."""
    try:
        arrays = load(data)
        notes = json.loads(arrays.pop(_NOTES).tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"These {len(data)} bytes are no stored {kind} ({error}). Compute it again.") from None
    missing = set(needed) - set(arrays)
    if missing:
        raise DataError(f"These bytes are no stored {kind}: they lack {sorted(missing)}. Compute it again.")
    return arrays, notes


def pack_strings(name: str, strings: Sequence[str]) -> dict[str, np.ndarray]:
    """Strings as two arrays: their UTF-8 bytes in a row, and the length of each."""
    encoded = [s.encode("utf-8", "surrogatepass") for s in strings]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.lengths": np.array([len(e) for e in encoded], np.int32),
    }


def unpack_strings(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The strings that `pack_strings` packed under `name`."""
    blob = arrays[f"{name}.bytes"].tobytes()
    ends = np.cumsum(arrays[f"{name}.lengths"].astype(np.int64)).tolist()
    starts = [0, *ends[:-1]]
    return tuple(blob[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=True))
