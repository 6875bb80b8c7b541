"""Tables that earlier states wrote are read, one that a later state wrote is refused with what to do."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import intriguing as ig
from intriguing.basics.version import __version__
from intriguing.cli import call as run_command
from intriguing.errors import CorruptError, StoreError
from intriguing.tables import TABLES
from tests.golden_tables import GOLDEN, SCHEMAS, two_rows

FILES = sorted(GOLDEN.glob("*.parquet"))


def run_with(tmp_path, name, file, **plan):
    """A run folder that holds `file` as its table `name`."""
    folder = tmp_path / "run" / "tables" / name / ("layer" if name == "activations" else ".")
    folder.mkdir(parents=True)
    shutil.copy(file, folder / "part-00000-0000000000000000.parquet")
    about = {"spec": {}, "name": "golden", "tasks": 1, "version": __version__} | plan
    (tmp_path / "run" / "plan.json").write_text(json.dumps(about))
    return tmp_path / "run"


def test_every_table_has_a_golden_file_of_its_version():
    missing = [n for n, t in TABLES.items() if not (GOLDEN / f"{n}.{t.version}.parquet").exists()]
    assert not missing, f"{missing}: type `python -m tests.golden_tables`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_file_is_read_as_it_was_written(tmp_path, file):
    name, version = file.stem.split(".")
    written = pq.read_table(file)
    read = ig.open_run(run_with(tmp_path, name, file)).table(name)
    assert read.schema.equals(SCHEMAS[name])
    assert read.select([c for c in written.column_names if c in read.column_names]).num_rows == written.num_rows
    if int(version) == TABLES[name].version:
        assert read.select(written.column_names).equals(written)


@pytest.mark.parametrize("name", TABLES)
def test_a_schema_that_no_longer_fits_its_golden_file_has_another_version(name):
    """Without it old files would be read as if they held what they do not."""
    old, new = pq.read_schema(GOLDEN / f"{name}.{TABLES[name].version}.parquet"), SCHEMAS[name]
    assert old.metadata[b"schema_version"] == new.metadata[b"schema_version"] == str(TABLES[name].version).encode()
    told = f"raise the version of {name!r} in intriguing/tables/, and type `python -m tests.golden_tables`"
    assert {field.name: field.type for field in old}.items() <= {field.name: field.type for field in new}.items(), told
    assert all(field.nullable for field in new if field.name not in old.names), told


def test_a_table_of_a_later_version_is_refused_with_what_to_do(tmp_path, capsys):
    rows = two_rows(SCHEMAS["models"])
    later = tmp_path / "later.parquet"
    pq.write_table(rows.replace_schema_metadata(rows.schema.metadata | {b"schema_version": b"7"}), later)
    root = run_with(tmp_path, "models", later, version="3.2.1")
    with pytest.raises(
        StoreError, match=r"'models' of .* is of version 7, and intriguing .* knows up to 1\. Read the run"
    ):
        ig.open_run(root).table("models")
    assert run_command(["show", str(root), "models"]) == 2
    assert "the version that made it" in capsys.readouterr().err
    assert run_command(["status", str(root)]) == 0
    assert f"Made by intriguing 3.2.1, and this is {__version__}" in capsys.readouterr().out


def test_a_table_from_before_versions_were_told_is_read(tmp_path, capsys):
    rows = two_rows(SCHEMAS["models"])
    old = tmp_path / "old.parquet"
    kept = {key: value for key, value in rows.schema.metadata.items() if key != b"schema_version"}
    pq.write_table(rows.replace_schema_metadata(kept), old)
    root = run_with(tmp_path, "models", old, version="")
    assert ig.open_run(root).table("models").equals(rows)
    assert run_command(["status", str(root)]) == 0
    assert "Made by an earlier state of intriguing" in capsys.readouterr().out


def test_damage_in_a_run_of_another_version_is_told_with_that_version(tmp_path):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes((GOLDEN / "models.1.parquet").read_bytes()[:-9])
    with pytest.raises(CorruptError, match=r"made by 0\.0\.9, and this is"):
        ig.open_run(run_with(tmp_path, "models", damaged, version="0.0.9")).table("models")


def test_every_table_that_a_run_writes_says_its_version(finished):
    for file in (finished / "tables").rglob("*.parquet"):
        metadata = pq.read_schema(file).metadata
        assert metadata[b"schema_version"].decode() == str(TABLES[metadata[b"table"].decode()].version)
    assert json.loads((finished / "plan.json").read_text())["version"] == __version__ == ig.open_run(finished).version


def test_two_rows_has_a_value_and_a_null_wherever_there_may_be_one():
    rows = two_rows(SCHEMAS["models"])
    assert rows["test_error"].to_pylist() == [1.0, None]
    assert pa.types.is_string(rows.schema.field("model").type)
