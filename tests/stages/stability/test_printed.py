"""The layers and the brackets as text: seeds and data sets of one model are told apart."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing import open_run, tables
from intriguing.stages.stability.printed import printed


def empty(kind):
    """A value of this type that says nothing."""
    return "" if pa.types.is_string(kind) else [] if pa.types.is_list(kind) else 0


def filled(table, **values):
    """A row of a table in which all else is null, or empty."""
    row = {field.name: None if field.nullable else empty(field.type) for field in table.fields}
    return row | values


def written(root, keys):
    """A run with a layer and a search for each (dataset, model, seed); the norm is the seed plus 2."""
    (root / "tables").mkdir(parents=True)
    spec = {"name": "printed", "models": {"b": {}, "a": {}}}
    (root / "plan.json").write_text(json.dumps({"spec": spec, "name": "printed", "tasks": 1}))
    names = [dict(zip(("dataset", "model", "model_seed"), key, strict=True)) for key in keys]
    rows = {
        tables.OPERATOR_NORMS: [
            filled(tables.OPERATOR_NORMS, **name, layer="fc", kind="linear", norm=2.0 + name["model_seed"])
            for name in names
        ],
        tables.CERTIFICATES: [
            filled(
                tables.CERTIFICATES, **name, target_rule=rule, grade="best", status="found", share=0.5, is_optimal=False
            )
            for rule in ("untargeted", "random")
            for name in names
        ],
    }
    for table, made in rows.items():
        (root / "tables" / table.name).mkdir()
        path = root / "tables" / table.name / f"part-00000-{0:016x}.parquet"
        pq.write_table(pa.Table.from_pylist(made, table.schema), path)
    return open_run(root)


def test_seeds_of_a_model_are_told_apart_and_models_stand_as_the_spec_lists_them(tmp_path):
    text = printed(written(tmp_path / "run", [("one", "a", 0), ("one", "b", 0), ("one", "a", 1)]))
    blocks = text.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "b",
        "a#0",
        "a#1",
        "proven / found: untargeted, best",
        "proven / found: random, best",
    ]
    assert "3.000" in blocks[2] and "3.000" not in blocks[1]
    assert [line.split()[0] for line in blocks[3].splitlines()[2:]] == ["b", "a#0", "a#1"]


def test_of_several_data_sets_each_is_named(tmp_path):
    text = printed(written(tmp_path / "run", [("one", "a", 0), ("two", "a", 0)]))
    assert [block.splitlines()[0] for block in text.split("\n\n")][:2] == ["one, a", "two, a"]


def test_a_run_without_bounds_prints_nothing(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"spec": {"name": "x"}, "name": "x", "tasks": 0}))
    assert printed(open_run(tmp_path)) == ""
