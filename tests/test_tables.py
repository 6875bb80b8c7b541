"""Schemas: each field explained, each key among the fields, nothing inferred."""

import json

import pyarrow as pa
import pytest

from intriguing.errors import InputError, UnknownNameError
from intriguing.tables import MODELS, TABLES, activations, named
from tests.keys import duplicates

ROW = {
    "dataset": ["mnist"],
    "model": ["007"],
    "model_seed": [0],
    "weights_hash": ["abc"],
    "parameters": [7850],
    "train_error": [0.1],
    "test_error": [None],
    "train_part": [None],
    "other_error": [None],
}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_every_field_has_a_sentence_and_every_key_is_a_field(table):
    assert all(f.doc.endswith(".") for f in table.fields)
    assert set(table.key) <= {f.name for f in table.fields}
    # Only a score that no judge gives may lack a part of its key.
    assert [f.name for f in table.fields if f.name in table.key and f.nullable] in ([], ["judge"])
    assert json.loads(table.schema.metadata[b"primary_key"]) == list(table.key)


def test_a_table_is_built_with_its_types_and_constants_repeated():
    rows = {k: v * 2 for k, v in ROW.items() if k != "model"}
    built = MODELS.build(rows, model="007")
    assert built.schema.equals(MODELS.schema)
    assert built["model"].to_pylist() == ["007", "007"]


def test_a_missing_and_an_unknown_column_are_named():
    with pytest.raises(InputError, match=r"missing \['weights_hash'\], unknown \['hash'\]"):
        MODELS.build({k: v for k, v in ROW.items() if k != "weights_hash"} | {"hash": ["x"]})


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InputError, match=r"different lengths \[1, 2\]"):
        MODELS.build(ROW | {"dataset": ["a", "b"]})


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'distortions'"):
        named("distortion")


def test_repeated_keys_are_counted():
    table = pa.table({"a": [1, 1, 2], "b": [1, 1, 1], "c": [1, 2, 3]})
    assert duplicates(table, ["a", "b"]) == 1
    assert duplicates(table, ["a", "b", "c"]) == 0


def test_a_layer_s_vectors_have_its_width():
    assert activations(12, pa.float16()).schema.field("vector").type == pa.list_(pa.float16(), 12)
