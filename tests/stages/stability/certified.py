"""Runs with norms of layers and certificates alone, written as tables: nothing is computed."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing import open_run, tables

SEARCHES = [{"target_rule": rule, "share": 0.5, "is_optimal": False} for rule in ("untargeted", "random")]


def empty(kind):
    """A value of this type that says nothing."""
    return "" if pa.types.is_string(kind) else [] if pa.types.is_list(kind) else 0


def filled(table, **values):
    """A row of a table in which all else is null, or empty."""
    row = {field.name: None if field.nullable else empty(field.type) for field in table.fields}
    return row | values


def written(root, keys, searches=SEARCHES):
    """A run with a layer and `searches` for each (dataset, model, seed); the norm is the seed plus 2."""
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
            filled(tables.CERTIFICATES, **name, grade="best", status="found", **search)
            for search in searches
            for name in names
        ],
    }
    for table, made in rows.items():
        (root / "tables" / table.name).mkdir()
        path = root / "tables" / table.name / f"part-00000-{0:016x}.parquet"
        pq.write_table(pa.Table.from_pylist(made, table.schema), path)
    return open_run(root)
