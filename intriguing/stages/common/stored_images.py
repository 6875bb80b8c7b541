"""Images of a table as arrays: read where they lie in Arrow's memory, never turned into Python numbers."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intriguing.errors import InputError


class StoredImages:
    """The images of a table with the columns `search_id`, `shape` and `image` (such as `adversarial`), by search.

    ``StoredImages(table).stack(["best/untargeted/3"])`` is a new array (1, *shape) float32; the table is not copied.
    Raises `InputError` for images of different shapes, and for an image whose pixels do not fill its shape.
    """

    def __init__(self, table: pa.Table) -> None:
        self.shape: tuple[int, ...] = _one_shape(table["shape"])
        """The shape of every image; () where the table has none."""
        self._names = table["search_id"].combine_chunks()
        self.names: list[str] = self._names.to_pylist()
        """The searches, in the table's order."""
        self._chunks = list(_matrices(table["image"], math.prod(self.shape)))

    def stack(self, search_ids: Sequence[str]) -> np.ndarray:
        """The images of these searches, in their order: (n, *shape) float32. Raises `InputError` for one not stored."""
        names = pa.array(search_ids, self._names.type)
        indices = pc.index_in(names, value_set=self._names)  # pyright: ignore[reportAttributeAccessIssue]
        if indices.null_count:
            raise _lacking(names.filter(indices.is_null()).to_pylist(), len(names))
        rows = indices.to_numpy()
        images = np.empty((len(rows), math.prod(self.shape)), np.float32)
        start = 0
        for chunk in self._chunks:
            here = (rows >= start) & (rows < start + len(chunk))
            images[here] = chunk[rows[here] - start]
            start += len(chunk)
        return images.reshape(len(rows), *self.shape)


def gathered(tables: Iterable[pa.Table], search_ids: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    """The images of these searches, in their order, out of tables that hold them in any: (n, *shape) float32.

    A table can go before the next one is read, so that no image is in memory twice. Raises `InputError` for a search
    without an image, and for an image of another shape.
    """
    places = {name: i for i, name in enumerate(search_ids)}
    images = np.empty((len(search_ids), *shape), np.float32)
    for table in tables:
        stored = StoredImages(table)
        names = [name for name in stored.names if name in places]
        if names and stored.shape != shape:
            raise InputError(f"Stored images of shape {stored.shape} for a data set of {shape}.")
        if names:
            images[[places.pop(name) for name in names]] = stored.stack(names)
    if places:
        raise _lacking(list(places), len(search_ids))
    return images


def _lacking(names: Sequence[str], of: int) -> InputError:
    return InputError(f"Search {names[0]!r} has no stored image ({len(names)} of {of} lack one).")


def _one_shape(shapes: pa.ChunkedArray) -> tuple[int, ...]:
    """The shape that all rows have."""
    distinct: dict[tuple[int, ...], None] = {}
    for chunk in shapes.chunks:
        # A list per row is short, but there may be many rows: whole columns are compared where lengths agree.
        lengths, values = np.diff(chunk.offsets.to_numpy()), chunk.flatten().to_numpy()
        if len(chunk) and (lengths == lengths[0]).all():
            distinct |= dict.fromkeys(map(tuple, np.unique(values.reshape(len(chunk), lengths[0]), axis=0).tolist()))
        else:
            distinct |= dict.fromkeys(map(tuple, chunk.to_pylist()))
    if len(distinct) > 1:
        listed = " and ".join(str(shape) for shape in sorted(distinct)[:5])
        raise InputError(f"The stored images have the shapes {listed}: images of one shape are needed.")
    return next(iter(distinct), ())


def _matrices(images: pa.ChunkedArray, size: int) -> Iterator[np.ndarray]:
    """Each chunk as a view (rows, size) of its pixels."""
    for chunk in images.chunks:
        if len(chunk):
            offsets = chunk.offsets.to_numpy()
            wrong = np.flatnonzero(np.diff(offsets) != size)
            if wrong.size:
                count = int(np.diff(offsets)[wrong[0]])
                raise InputError(f"A stored image has {count} pixels where its shape has {size}: the table is damaged.")
            yield chunk.values.to_numpy()[offsets[0] : offsets[-1]].reshape(len(chunk), size)
