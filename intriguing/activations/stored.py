"""Activations as rows of the table `activations`, built without copying the vectors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from intriguing.errors import DataError, InputError
from intriguing.tables import activations

TYPES = {torch.float32: pa.float32(), torch.float16: pa.float16()}
WRITE_OPTIONS: Mapping[str, Any] = {
    # Vectors never repeat, and dictionary encoding would take four times as long as all the rest.
    "use_dictionary": ["dataset", "model", "layer"],
    "write_statistics": ["example_id", "position"],
    "compression": "zstd",
    "compression_level": 1,
}
"""Keyword arguments of `pyarrow.parquet.write_table` for this table."""


def narrowed(vectors: torch.Tensor, dtype: torch.dtype, layer: str) -> torch.Tensor:
    """`vectors`, finite numbers, as `dtype`. float16 keeps three digits, and numbers below 6e-8 become 0.

    Raises: `InputError` if a number is too large for `dtype`.
    """
    if not dtype.is_floating_point:
        raise InputError(f"Activations are real numbers: dtype is torch.float32 or torch.float16, not {dtype}.")
    narrow = vectors.to(dtype)
    limit = torch.finfo(dtype).max
    if vectors.numel() and limit < torch.finfo(vectors.dtype).max:
        least, most = torch.aminmax(vectors)
        largest = max(-float(least), float(most))
        if largest > limit and not bool(torch.isfinite(narrow).all()):
            name = str(dtype).removeprefix("torch.")
            raise InputError(
                f"Layer {layer!r} has activations as large as {largest:.6g}, and {name} ends at {limit:.6g}: they "
                'would become infinite. Use dtype = "float32" (torch.float32 in a call).'
            )
    return narrow


def vector_array(vectors: torch.Tensor | np.ndarray) -> pa.FixedSizeListArray:
    """`vectors` (n, dim), float32 or float16, as an Arrow column that shares their memory."""
    rows = torch.as_tensor(vectors).detach().cpu().contiguous()
    if rows.ndim != 2 or rows.dtype not in TYPES:
        raise InputError(f"Vectors are (n, dim) of float32 or float16, not {tuple(rows.shape)} of {rows.dtype}.")
    # pyarrow's conversion of float16 uses Python objects, which is slow.
    flat = pa.Array.from_buffers(TYPES[rows.dtype], rows.numel(), [None, pa.py_buffer(rows.numpy())])
    return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])


def activation_table(
    ids: np.ndarray,
    vectors: torch.Tensor | np.ndarray,
    *,
    positions: np.ndarray | int = 0,
    predictions: np.ndarray | None = None,
    maxima: np.ndarray | None = None,
    **keys: str | int,
) -> pa.Table:
    """The rows of the table `activations` for inputs `ids` (n,) with their `vectors` (n, dim) at a layer.

    positions: the rows' positions in the layer's map, (n,) or one for all. predictions: the model's classes (n,).
    maxima: the positions of the units' maxima (n, dim) uint16. keys: dataset, model, model_seed and layer, the same for
    all rows. Raises: `InputError` for vectors of another shape or type, or where a key is missing or unknown.
    """
    column = vector_array(vectors)
    n = len(column)
    places_of = pa.list_(pa.uint16(), column.type.list_size)
    places = np.broadcast_to(np.asarray(positions, dtype=np.int32), (n,))
    return activations(column.type.list_size, column.type.value_type).build(
        {
            "example_id": pa.array(np.asarray(ids, dtype=np.int64)),
            "position": pa.array(places),
            "vector": column,
            "prediction": pa.nulls(n, pa.int64()) if predictions is None else pa.array(predictions, pa.int64()),
            "maxima": pa.nulls(n, places_of) if maxima is None else _maxima_array(maxima),
        },
        **keys,
    )


def _maxima_array(maxima: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(maxima.reshape(-1), pa.uint16()), maxima.shape[1])


def vectors_of(table: pa.Table) -> np.ndarray:
    """The column `vector` of an activations `table`, (n, dim) float32 or float16; one chunk is not copied."""
    column = table.column("vector").combine_chunks()
    chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), chunk.type.list_size)


def read_vectors(files: Sequence[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """Ids (n,) and vectors (n, dim) of stored shards of one layer, sorted by id and position.

    Raises: `DataError` if a position of an input occurs twice, or the shards are of several layers.
    """
    columns = ["dataset", "model", "model_seed", "layer", "example_id", "position", "vector"]
    tables = [pq.read_table(file, columns=columns) for file in files]
    if not tables:
        raise DataError("There are no stored activations to read.")
    first = tables[0].slice(0, 1).select(["dataset", "model", "model_seed", "layer"])
    for file, table in zip(files, tables, strict=True):
        if table.num_rows and table.slice(0, 1).select(first.column_names).to_pylist() != first.to_pylist():
            raise DataError(f"{file} holds activations of another layer, model or data set than {files[0]}.")
    ids = np.concatenate([t["example_id"].to_numpy() for t in tables])
    places = np.concatenate([t["position"].to_numpy() for t in tables])
    order = np.lexsort((places, ids))
    ids, places = ids[order], places[order]
    if ((ids[1:] == ids[:-1]) & (places[1:] == places[:-1])).any():
        raise DataError("An input is stored twice: the shards overlap.")
    return ids, np.concatenate([vectors_of(t) for t in tables if t.num_rows])[order]
