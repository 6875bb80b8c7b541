"""Commands on a run that lies on an object store: each does there what it does on a disk."""

import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import intriguing as ig
from intriguing.basics.folders import bucket as bucket_module
from intriguing.cli import call as run_command
from intriguing.engine.storage import lease
from intriguing.report import is_current
from intriguing.results import Run
from intriguing.tables import TABLES
from tests.buckets import Server
from tests.sweep.small import SMALL, toml

FEW_TASKS = {
    "name": "few",
    "datasets": {"mnist-sample": {}},
    "models": {name: SMALL["models"][name] for name in ("softmax",)},
    "blind_spots": {"images": 6, "grade": "fast", "target_rules": ["untargeted"]},
    "transfer": {"kinds": ["minimal"]},
    "compute": {"slots": 32},
}


@pytest.fixture(scope="module")
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(bucket_module, "PAUSES", (0.05, 0.05))
    monkeypatch.setattr(lease, "SETTLED", 0.05)


def rows(run, name):
    table = (
        run.table(name)
        if name != "activations"
        else pa.Table.from_pandas(run.activation_layers().drop(columns="folder"))
    )
    return table.sort_by([(key, "ascending") for key in TABLES[name].key if key in table.column_names])


@pytest.mark.slow
def test_every_command_on_a_bucket(server, tmp_path_factory, tmp_path, monkeypatch, capsys):
    spec_file, finished = (tmp_path_factory.mktemp("disk") / name for name in ("few tasks.toml", "run"))
    spec_file.write_text(toml(FEW_TASKS))
    ig.run(str(spec_file), finished, "inline", progress=False)
    monkeypatch.chdir(tmp_path)
    bucket = server.bucket()
    uri = server.uri(f"{bucket}/runs/small")
    assert run_command(["run", str(spec_file), "--out", uri, "--executor", "inline", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    shown = uri.replace("key:secret@", "").partition("?")[0]
    assert told["run"] == shown
    assert told["report"] == f"{shown}/report.html"
    here, there = ig.open_run(finished), ig.open_run(uri)
    assert there.tables() == here.tables()
    for name in there.tables():
        if name != "tasks":
            assert rows(there, name).equals(rows(here, name)), name
    assert there.place.read("report.html").count(b"<section") > 3
    assert b"secret" not in there.place.read("plan.json")
    assert list(tmp_path.iterdir()) == []

    def say(*arguments):
        code = run_command(list(arguments))
        said = capsys.readouterr()
        assert "secret" not in said.out + said.err
        return code, said.out

    assert say("run", str(spec_file), "--out", uri, "--executor", "inline")[1].startswith("0 tasks ran")
    code, status = say("status", uri, "--json")
    assert (code, json.loads(status)["done"], json.loads(status)["running"]) == (0, told["tasks"], False)
    assert json.loads(status)["command"].endswith(f"127.0.0.1%3A{server.port}&scheme=http'")
    assert say("plan", str(spec_file), "--out", uri)[0] == 0
    assert say("show", uri, "transfer") == say("show", str(finished), "transfer")
    asked = len(server.faults.seen)
    assert say("report", uri) == (0, f"{shown}/report.html\n")
    listings = [path for method, path in server.faults.seen[asked:] if method == "GET" and path.count("/") == 1]
    assert len(listings) <= 2 * len(TABLES)  # each table is listed once; it was every time that it was asked for
    with there.listed_once():
        with there.listed_once():
            there.tables()
        asked = len(server.faults.seen)
        there.tables()
        assert len(server.faults.seen) == asked
        with ThreadPoolExecutor(1) as another:  # sees what is there now
            another.submit(there.tables).result()
        assert len(server.faults.seen) > asked
        asked = len(server.faults.seen)
    there.tables()
    assert len(server.faults.seen) > asked
    assert say("diff", str(finished), uri)[0] == 0
    assert say("export", uri, "--adversarial", str(tmp_path / "images"), "--first", "2")[0] == 0
    assert say("verify", uri)[0] == 0
    assert "0 outputs removed" in say("prune", uri)[1]
    assert {path.name for path in tmp_path.iterdir()} == {"images"}

    # A driver puts a table in order after it was listed: the page is made of what is there then.
    names, whole = ig.open_run(uri).file_names("models"), Run.check_whole
    folder = f"/{bucket}/runs/small/tables/models"

    def renamed_meanwhile(run):
        whole(run)
        for name in names:
            server.ask("PUT", f"{folder}/part-{name}", server.ask("GET", f"{folder}/{name}"))
            server.ask("DELETE", f"{folder}/{name}")
        names.clear()

    monkeypatch.setattr(Run, "check_whole", renamed_meanwhile)
    assert say("report", uri) == (0, f"{shown}/report.html\n")

    # What changes after a table was listed is not on the page, so the page does not pass for one of it.
    def changed_meanwhile(run):
        whole(run)
        tasks = f"/{bucket}/runs/small/tables/tasks/tasks.parquet"
        changed = pa.BufferOutputStream()
        pq.write_table(pq.read_table(pa.BufferReader(server.ask("GET", tasks))), changed, compression="none")
        server.ask("PUT", tasks, changed.getvalue().to_pybytes())

    monkeypatch.setattr(Run, "check_whole", changed_meanwhile)
    assert is_current(there.place)
    assert say("report", uri) == (0, f"{shown}/report.html\n")
    assert not is_current(there.place)
