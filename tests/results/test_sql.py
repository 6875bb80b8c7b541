"""SQL over the tables of a run: it reads them all, and nothing else."""

import re
import subprocess
import sys

import pytest

import intriguing as ig
from intriguing import tables
from intriguing.errors import InputError


def test_sql_sees_every_table(two_sets):
    run = ig.open_run(two_sets)
    for name in tables.TABLES:
        count = run.sql(f"select count(*) as n from {name}").n[0]
        assert count == (run.table(name).num_rows if name != "activations" else 2 * 2 * 2 * 80)


def test_sql_joins_and_takes_parameters(one_set):
    joined = "distortions join models using (dataset, model, model_seed)"
    query = f"select label, avg(l2) as l2 from {joined} where model = ? group by 1"
    frame = ig.open_run(one_set).sql(query, ["007"])
    assert sorted(frame.label) == list(range(10))
    assert frame.l2.between(0, 28).all()


def test_sql_reads_layers_of_different_width_as_lists(two_sets):
    frame = ig.open_run(two_sets).sql("select layer, max(len(vector)) as d from activations group by 1 order by 1")
    assert frame.d.tolist() == [16, 12]


@pytest.mark.parametrize(
    "query",
    [
        "copy models to '{}'",
        "attach '{}'",
        "export database '{}'",
        "install httpfs",
        "load httpfs",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "copy models from '/etc/passwd'",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "pragma database_list; copy models to '{}'",
    ],
)
def test_sql_neither_reads_nor_writes_files(one_set, tmp_path, query, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="The query failed"):
        ig.open_run(one_set).sql(query.format(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_sql_cannot_change_a_table(one_set):
    with pytest.raises(InputError, match="The query failed"):
        ig.open_run(one_set).sql("delete from models")
    assert ig.open_run(one_set).table("models").num_rows == 2


def test_a_bad_query_gives_the_databases_own_hint(one_set):
    with pytest.raises(InputError, match="distortions"):
        ig.open_run(one_set).sql("select * from distortion")


@pytest.mark.parametrize(
    "query",
    [
        "select natural from rotation_tests",
        "select metric, Natural, null_mean from rotation_tests",
        "select avg(natural) as m from rotation_tests where metric = 'natural'",
        "select * from rotation_tests where natural > 1",
        "select * from rotation_tests order by natural",
    ],
)
def test_a_column_that_is_a_word_of_sql_is_named_where_the_parser_stumbles(one_set, query):
    run = ig.open_run(one_set)
    with pytest.raises(InputError, match='must stand in double quotes: "natural".'):
        run.sql(query)
    assert len(run.sql(re.sub("(?<!')[Nn]atural", '"natural"', query))) > 0


def test_other_faults_of_a_query_are_not_blamed_on_a_column(one_set):
    with pytest.raises(InputError) as failed:
        ig.open_run(one_set).sql("selec \"natural\" from rotation_tests where metric = 'natural'")
    assert "double quotes" not in str(failed.value)


def test_a_notebook_without_ipywidgets_can_ask_too(one_set):
    """There DuckDB has no bar, and raises where it is told to leave it out: every run ended so in such a notebook."""
    code = (
        "import sys, types; kernel = types.SimpleNamespace(config={'IPKernelApp': {}}); "
        "sys.modules['IPython'] = module = types.ModuleType('IPython'); module.get_ipython = lambda: kernel; "
        "sys.modules['ipywidgets'] = None; import intriguing as ig; run = ig.open_run(sys.argv[1]); "
        "print(run.sql('select count(*) as n from models').n[0], len(run.transfer_matrix()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(one_set)], capture_output=True, text=True, timeout=250)
    assert done.stdout.split() == ["2", "2"], done.stderr
