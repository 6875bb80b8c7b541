import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from intriguing.activations import WRITE_OPTIONS, activation_table, read_vectors, vector_array, vectors_of
from intriguing.errors import DataError, InputError
from intriguing.tables import activations

KEYS = {"dataset": "d", "model": "m", "model_seed": 0, "layer": "features.0"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_vectors_come_back_as_they_were(tmp_path, dtype):
    vectors = torch.randn(30, 7).to(dtype)
    table = activation_table(np.arange(30), vectors, **KEYS)
    pq.write_table(table, tmp_path / "a b.parquet", **WRITE_OPTIONS)
    again = pq.read_table(tmp_path / "a b.parquet")
    assert again.schema.equals(activations(7, pa.float16() if dtype == torch.float16 else pa.float32()).schema)
    assert np.array_equal(vectors_of(again), vectors.numpy())


def test_shards_are_read_by_id_whatever_their_order(tmp_path):
    vectors = torch.randn(20, 3)
    for name, ids in (("z", range(12)), ("a", range(12, 20))):
        table = activation_table(np.array(ids)[::-1], vectors[list(ids)].flip(0), **KEYS)
        pq.write_table(table, tmp_path / f"{name}.parquet")
    ids, found = read_vectors([tmp_path / "a.parquet", tmp_path / "z.parquet"])
    assert ids.tolist() == list(range(20))
    assert np.array_equal(found, vectors.numpy())


def test_positions_keep_the_rows_of_one_input_apart(tmp_path):
    table = activation_table(np.repeat(np.arange(3), 4), torch.randn(12, 2), positions=np.tile(np.arange(4), 3), **KEYS)
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_vectors([tmp_path / "a.parquet"])[0].tolist() == np.repeat(np.arange(3), 4).tolist()


def test_overlapping_shards_are_an_error(tmp_path):
    for name in "ab":
        pq.write_table(activation_table(np.arange(3), torch.randn(3, 2), **KEYS), tmp_path / name)
    with pytest.raises(DataError, match="twice"):
        read_vectors([tmp_path / "a", tmp_path / "b"])


def test_shards_of_two_layers_are_an_error(tmp_path):
    for name in "ab":
        pq.write_table(activation_table(np.arange(3), torch.randn(3, 2), **KEYS | {"layer": name}), tmp_path / name)
    with pytest.raises(DataError, match="another layer"):
        read_vectors([tmp_path / "a", tmp_path / "b"])


def test_other_types_are_refused():
    with pytest.raises(InputError, match="float64"):
        vector_array(torch.zeros((2, 2), dtype=torch.float64))
