"""Tables of runs from before a column was there."""

import pyarrow as pa

import intriguing as ig
from tests.synthetic_run import SyntheticRun


def test_old_tables_of_failures_read_with_null_tracebacks(tmp_path):
    import pyarrow.parquet as pq

    from intriguing import tables

    root = SyntheticRun(tmp_path / "run").write("plan", "failures")
    file = next((root / "tables" / "failures").glob("*.parquet"))
    old = pq.read_table(file).drop_columns(["traceback"])
    assert old.num_rows == 1
    pq.write_table(old, file)
    read = ig.open_run(root).table("failures")
    assert read.schema.equals(tables.FAILURES.schema)
    assert read["traceback"].to_pylist() == [None]
    assert pa.types.is_string(read.schema.field("traceback").type)
    frame, total = ig.open_run(root).head("failures", 3)
    assert (frame["traceback"].isna().tolist(), total) == ([True], 1)
