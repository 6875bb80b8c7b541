"""The `intriguing` command.

Results and `--json` go to stdout, progress and logs to stderr. Exit codes: 0 all done, 1 some tasks failed, 2 bad use,
130 stopped by Ctrl-C.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.table import Table

from intriguing.engine.progress import Snapshot
from intriguing.errors import IntriguingError
from intriguing.results import open_run
from intriguing.sweep.running import LogLines, execute, image_reader, prepare
from intriguing.sweep.spec import spec_names
from intriguing.tables import TABLES, named

app = App(
    name="intriguing",
    help="Do single units mean more than random directions? How small a change makes a network wrong?",
    result_action="return_value",
    version_flags=["--version"],
)
_out = Console()
_err = Console(stderr=True)

SpecArgument = Annotated[str, Parameter(help="A spec's name (demo, mnist, full, ...) or the path of a TOML file.")]
Out = Annotated[
    str | None, Parameter(help="The run folder; by default outputs/NAME. A folder with a run is continued.")
]
Data = Annotated[str | None, Parameter(help="The folder that torchvision's data sets lie in (INTRIGUING_DATA).")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
RunFolder = Annotated[str, Parameter(help="The run folder.")]


@app.command
def run(
    spec: SpecArgument,
    *,
    out: Out = None,
    executor: Annotated[
        Literal["auto", "inline", "strict", "ray"] | None,
        Parameter(help="inline: this process. ray: a cluster, or Ray on this machine. auto: ray where one is running."),
    ] = None,
    workers: Annotated[int | None, Parameter(help="How many Ray actors; by default one per GPU or CPU.")] = None,
    gpus_per_worker: Annotated[float | None, Parameter(help="How much of a GPU each actor holds.")] = None,
    data: Data = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Print tasks, rows, bytes and devices; write nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Run a sweep, or continue it: what is finished is never computed again."""
    if dry_run:
        return plan(spec, out=out, data=data, as_json=as_json)
    prepared = prepare(spec, out, data)
    try:
        with _stdout_to_stderr(), _progress() as listen:
            outcome = execute(prepared, executor, workers, gpus_per_worker, listen)
    except KeyboardInterrupt:
        told = f"Stopped. What is finished is kept. Continue with:\n  {prepared.command}"
        _err.print(told, highlight=False, markup=False, soft_wrap=True)
        return 130
    told = {
        "run": str(prepared.out),
        "report": str(prepared.out / "report.html"),
        "ran": len(outcome.ran),
        "reused": len(outcome.reused),
        "failed": [vars(f) for f in outcome.failures],
        "blocked": list(outcome.blocked),
    }
    if as_json:
        _print_json(told)
    else:
        _summarise(prepared.out, told)
    return 0 if outcome.complete else 1


@app.command
def plan(spec: SpecArgument, *, out: Out = None, data: Data = None, as_json: Json = False) -> int:
    """Show what a run would do: tasks, rows, bytes and devices. Writes nothing."""
    from intriguing.sweep.dry_run import estimate

    found = estimate(prepare(spec, out, data))
    if as_json:
        _print_json(vars(found))
        return 0
    table = Table("stage", "tasks", "to run", "rows", "MB", box=None, title=found.folder, title_justify="left")
    for stage in found.stages:
        size = f"{stage['bytes'] / 1e6:,.1f}" if stage["bytes"] else ""
        table.add_row(stage["stage"], f"{stage['tasks']:,}", f"{stage['to_run']:,}", f"{stage['rows']:,}", size)
    _out.print(table)
    _out.print(
        f"{found.tasks:,} tasks: {found.to_run:,} to run, {found.reused:,} reused, {found.dropped:,} dropped; "
        f"{found.rows:,} rows, {found.bytes / 1e6:,.1f} MB before compression; {found.device}.",
        highlight=False,
        soft_wrap=True,
    )
    return 0


@app.command
def status(folder: RunFolder, *, as_json: Json = False) -> int:
    """Say how far a run is, from its folder alone."""
    from intriguing.sweep.status import status_of

    found = status_of(Path(folder))
    if as_json:
        _print_json(found)
    else:
        state = "running" if found["running"] else "not running"
        _out.print(
            f"{found['name']}: {found['done']:,} of {found['tasks']:,} tasks done, {found['failed']} failed, {state}",
            highlight=False,
        )
        for noun, (done, total) in found["amounts"].items():
            _out.print(f"  {noun} {done:,}/{total:,}", highlight=False)
        if found["line"]:
            _out.print(f"  {found['line']}", highlight=False)
        if found["done"] < found["tasks"] and not found["running"]:
            _out.print(f"Continue with: {found['command']}", highlight=False, soft_wrap=True)
    return 0


@app.command
def show(
    folder: Annotated[str, Parameter(help="The run folder.")],
    table: Annotated[str | None, Parameter(help="A table; without one, the tables are listed.")] = None,
    *,
    rows: Annotated[int, Parameter(help="How many rows to print.")] = 20,
    sql: Annotated[str | None, Parameter(help="A query; every table is a view by its name.")] = None,
    schema: Annotated[bool, Parameter(negative="", help="Print the table's columns in place of its rows.")] = False,
    as_json: Json = False,
) -> int:
    """Print a table of a run, or the answer to a query."""
    if schema and table:
        known = named(table)
        _out.print(f"{known.name}: a row is {known.row}; unique by {', '.join(known.key)}", highlight=False)
        listing = Table("column", "type", "what", "unit", box=None)
        for field in known.fields:
            listing.add_row(field.name, str(field.type), field.doc, field.unit)
        _out.print(listing)
        return 0
    opened = open_run(folder)
    if sql is None and table is None:
        for name in opened.tables():
            _out.print(f"{name}: a row is {TABLES[name].row}", highlight=False)
        return 0
    frame = opened.sql(sql) if sql is not None else opened.pandas(str(table)).head(rows)
    if as_json:
        _write(frame.to_json(orient="records") or "[]")
    else:
        _write(frame.to_string(index=False, max_rows=rows, max_colwidth=40))
    return 0


@app.command
def report(
    folder: RunFolder,
    *,
    out: Annotated[
        str | None,
        Parameter(help="The file to write; by default report.html in the run folder."),
    ] = None,
    data: Data = None,
) -> int:
    """Write the run's HTML page anew, and print where it is."""
    from intriguing.report import write_report

    opened = open_run(folder)
    prepared = prepare(opened.spec, folder, data)
    _write(str(write_report(opened, out, images=image_reader(prepared))))
    return 0


@app.command(name="verify")
def verify_command(folder: RunFolder, *, as_json: Json = False) -> int:
    """Hash every stored output and table of a run, and name what is damaged; exit code 1 if anything is."""
    from intriguing.engine.verify import verify

    found = verify(Path(folder))
    if as_json:
        _print_json(vars(found))
    else:
        _write("\n".join([*found.damaged, found.summary()]))
    return 1 if found.damaged else 0


@app.command(name="prune")
def prune_command(folder: RunFolder) -> int:
    """Remove from the store what the run's current plan no longer names."""
    from intriguing.engine.driver import prune
    from intriguing.engine.lock import locked
    from intriguing.engine.ownership import owned_plan

    owned_plan(Path(folder))
    with locked(Path(folder)):
        count, size, kept = prune(Path(folder))
    stays = f"; {kept} folders of the store stay: they hold files that no run of ours is known to have written"
    _write(f"{count} outputs removed, {size / 1e6:.1f} MB{stays if kept else ''}")
    return 0


@app.command
def models(*, as_json: Json = False) -> int:
    """List the architectures that a spec can name."""
    from intriguing.models import known_models

    return _list(known_models(), as_json)


@app.command
def datasets(*, as_json: Json = False) -> int:
    """List the data sets that a spec can name."""
    from intriguing.data import known_datasets

    return _list({str(d["name"]): str(d["sentence"]) for d in known_datasets()}, as_json)


@app.command
def specs(*, as_json: Json = False) -> int:
    """List the specs in the package."""
    from intriguing.sweep.spec import describe_spec

    return _list({name: describe_spec(name) for name in spec_names()}, as_json)


def main(arguments: list[str] | None = None) -> None:
    """The console script: runs a command and exits with its code."""
    sys.exit(call(arguments))


def call(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    _set_up_logging()
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # so that a spec can name a module:factory of the user's folder
    with _terminate_as_interrupt():
        try:
            code = app(arguments, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            _err.print(f"{error} (intriguing --help lists the commands)", highlight=False, soft_wrap=True)
            return 2
        except IntriguingError as error:
            _err.print(f"{error}", highlight=False, soft_wrap=True, markup=False)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    return code if isinstance(code, int) else 0


def _list(found: dict[str, str], as_json: bool) -> int:
    if as_json:
        _print_json(found)
        return 0
    table = Table(box=None, show_header=False)
    for name, sentence in found.items():
        table.add_row(name, sentence)
    _out.print(table)
    return 0


def _summarise(folder: Path, told: dict[str, Any]) -> None:
    _write(f"{told['ran']} tasks ran, {told['reused']} reused, {len(told['failed'])} failed")
    for failure in told["failed"][:5]:
        _write(f"  {failure['task']}: {failure['error_type']}: {failure['message']}")
    _write(f"tables: {folder}/tables\nreport: {told['report']}")


def _set_up_logging() -> None:
    level = os.environ.get("INTRIGUING_LOG", "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


@contextmanager
def _progress() -> Iterator[Callable[[Snapshot], None]]:
    """Progress on stderr: a live line where it is a terminal, log lines elsewhere."""
    if not _err.is_terminal:
        yield LogLines()
        return
    with _err.status("starting") as line:
        yield lambda snapshot: line.update(snapshot.line())


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Ray's own processes write to stdout even when told not to: results must not be mixed with that."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM stops a run as cleanly as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _print_json(value: Any) -> None:
    _write(json.dumps(value, indent=1, default=str))


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
