"""The `intriguing` command.

Text from a run folder is printed as text: what would command the terminal is shown as escapes.

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
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from intriguing.basics.files import at_home
from intriguing.basics.printable import printable
from intriguing.engine.paths import allow_working_folder, without_working_folder
from intriguing.engine.progress import Snapshot
from intriguing.engine.shown import LogLines
from intriguing.errors import InputError, IntriguingError, StoreError
from intriguing.results import Run, open_run
from intriguing.stats.findings import counted
from intriguing.sweep.runner import execute, prepare
from intriguing.sweep.spec import spec_names
from intriguing.tables import TABLES, named

if TYPE_CHECKING:
    import pandas as pd

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
    str | None,
    Parameter(help="The run folder; by default NAME in the folder INTRIGUING_OUT, else outputs. A run is continued."),
]
Data = Annotated[
    str | None, Parameter(help="The folder that torchvision's data sets lie in; by default INTRIGUING_DATA.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
RunFolder = Annotated[str, Parameter(help="The run folder.")]


@app.command
def run(
    spec: SpecArgument,
    *,
    out: Out = None,
    executor: Annotated[
        Literal["auto", "inline", "strict", "ray"] | None,
        Parameter(
            help="inline: this process. strict: inline, with nothing kept from task to task, as on other machines. "
            "ray: a cluster, or Ray on this machine. auto: ray where a cluster is running, else inline. By default "
            "INTRIGUING_EXECUTOR, else the spec's."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        Parameter(
            help="How many Ray actors; by default INTRIGUING_WORKERS, else the spec's, else one per GPU, or per CPU "
            "where there is no GPU."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        Parameter(help="How much of a GPU each actor holds; by default the spec's, else 1 where there are GPUs."),
    ] = None,
    data: Data = None,
    only: Annotated[
        list[str] | None,
        Parameter(negative="", help="A task's name or a pattern of names: run it and what it needs; the others wait."),
    ] = None,
    pdb: Annotated[
        bool, Parameter(negative="", help="Open the debugger where a task raises (with --executor inline or strict).")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Print tasks, rows, bytes and devices; write nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Run a sweep, or continue it: what is finished is never computed again.

    A failed task's own line, in the table failures, runs it alone (--only) and prints its traceback.
    """
    if dry_run:
        return plan(spec, out=out, data=data, as_json=as_json)
    allow_working_folder()
    prepared = prepare(spec, out, data)
    try:
        with _stdout_to_stderr(), _progress(quiet=pdb) as listen:
            debug = _open_debugger if pdb else None
            outcome = execute(prepared, executor, workers, gpus_per_worker, listen, only=only or (), debug=debug)
    except KeyboardInterrupt:
        _say(_err, f"Stopped. What is finished is kept. Continue with:\n  {prepared.command}")
        return 130
    if only:
        for failure in outcome.failures:
            _say(_err, f"{failure.task}:\n{failure.traceback}")
    summary = {
        "run": str(prepared.out),
        "report": str(prepared.out / "report.html"),
        "ran": len(outcome.ran),
        "reused": len(outcome.reused),
        "failed": [vars(f) for f in outcome.failures],
        "blocked": list(outcome.blocked),
        "waiting": len(outcome.waiting),
        "tasks": len(prepared.plan),
    }
    if as_json:
        _print_json(summary)
    else:
        _summarise(prepared.out, summary)
    return 1 if outcome.failures or outcome.blocked else 0


@app.command
def plan(spec: SpecArgument, *, out: Out = None, data: Data = None, as_json: Json = False) -> int:
    """Show what a run would do: tasks, rows, bytes and devices. Writes nothing."""
    from intriguing.sweep.dry_run import estimate

    allow_working_folder()
    forecast = estimate(prepare(spec, out, data))
    if as_json:
        _print_json(vars(forecast))
        return 0
    table = Table(
        "stage", "tasks", "to run", "rows", "MB", box=None, title=_text(forecast.folder), title_justify="left"
    )
    for stage in forecast.stages:
        size = f"{stage['bytes'] / 1e6:,.1f}" if stage["bytes"] else ""
        table.add_row(_text(stage["stage"]), f"{stage['tasks']:,}", f"{stage['to_run']:,}", f"{stage['rows']:,}", size)
    _out.print(table)
    _say(
        _out,
        f"{forecast.tasks:,} tasks: {forecast.to_run:,} to run, {forecast.reused:,} reused, "
        f"{forecast.dropped:,} dropped; at most {forecast.rows:,} rows, {forecast.bytes / 1e6:,.1f} MB before "
        f"compression; {forecast.device}.",
    )
    if forecast.imported:
        _say(_out, "Your modules were imported (they run with your rights):")
        for name, file in forecast.imported.items():
            _say(_out, f"  {printable(name)}: {printable(file)}")
    return 0


@app.command
def status(folder: RunFolder, *, as_json: Json = False) -> int:
    """Say how far a run is, from its folder alone."""
    from intriguing.sweep.status import status_of

    found = status_of(at_home(folder))
    if as_json:
        _print_json(found)
    else:
        state = "running" if found["running"] else "not running"
        _say(
            _out,
            f"{printable(found['name'])}: {found['done']:,} of {found['tasks']:,} tasks done, {found['failed']:,} "
            f"failed, {found['blocked']:,} blocked, {state}",
        )
        for noun, (done, total) in found["amounts"].items():
            _say(_out, f"  {printable(noun)} {done:,}/{total:,}")
        if found["line"]:
            _say(_out, f"  {printable(found['line'])}")
        if found["done"] < found["tasks"] and not found["running"] and found["command"]:
            _say(_out, f"Continue with: {printable(found['command'])}")
    return 0


@app.command
def show(
    folder: Annotated[str, Parameter(help="The run folder, or where it lies on an object store (s3://...).")],
    table: Annotated[str | None, Parameter(help="A table; without one, the tables are listed.")] = None,
    *,
    rows: Annotated[
        int | None, Parameter(help="How many rows to print; by default 20, of a query with --json all.")
    ] = None,
    sql: Annotated[
        str | None, Parameter(help="A query of DuckDB, shown in place of a table; every table is a view by its name.")
    ] = None,
    schema: Annotated[
        bool, Parameter(negative="", help="Print what the columns of TABLE are, in place of its rows.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print a table of a run, or the answer to a query."""
    if schema and table:
        described = named(table)
        _say(_out, f"{described.name}: a row is {described.row}; unique by {', '.join(described.key)}")
        listing = Table("column", "type", "what", "unit", box=None)
        for field in described.fields:
            listing.add_row(*map(_text, (field.name, field.type, field.doc, field.unit)))
        _out.print(listing)
        return 0
    opened = open_run(folder)
    if sql is None and table is None:
        for name in opened.tables():
            _say(_out, f"{name}: a row is {TABLES[name].row}")
        return 0
    frame, total, note = _shown(opened, table, sql, rows, as_json)
    if as_json:
        _write(frame.to_json(orient="records") or "[]")
    elif len(frame) or not note:
        _print_frame(_with_class_names(opened, frame), with_traces=sql is None and table == "failures")
    if len(frame) < total:
        note = f"{len(frame):,} of {total:,} rows; --rows N shows more.{note and ' ' + note}"
    if note:
        _say(_err, note)
    return 0


def _print_frame(frame: "pd.DataFrame", with_traces: bool) -> None:
    """Print rows as a table; tracebacks follow it, each under its task's name."""
    traces = frame.pop("traceback").tolist() if with_traces else []
    shown = frame.to_string(index=False, max_rows=len(frame), max_colwidth=40) if len(frame) else ""
    _write(printable(shown, lines=True))
    for task, trace in zip(frame["task"] if traces else (), traces, strict=True):
        _write(f"\n{printable(task)}:\n{printable(trace or 'no traceback was kept', lines=True)}")


def _with_class_names(opened: Run, frame: Any) -> Any:
    """`frame` with the names of its labels' classes, where they have names."""
    names = opened.class_names() if {"dataset", "label"} <= set(frame) and "class_name" not in frame else {}
    if not names:
        return frame
    keys = zip(frame["dataset"], frame["label"], strict=True)
    named = frame.copy()
    named.insert(list(frame).index("label") + 1, "class_name", [names.get(key) for key in keys])
    return named


@app.command
def report(
    folder: RunFolder,
    *,
    out: Annotated[
        str | None,
        Parameter(help="The file to write; by default report.html in the run folder."),
    ] = None,
    data: Data = None,
    trust: Annotated[
        bool,
        Parameter(negative="", help="Run the functions (module:factory) that the run names, to show their images."),
    ] = False,
) -> int:
    """Write the run's HTML page anew, and print where it is. Without --trust nothing that the run names is executed."""
    from intriguing.basics.saved_plan import read_saved_plan
    from intriguing.sweep.images import image_reader, saved_sources
    from intriguing.sweep.report import write_report

    opened = open_run(folder)
    if trust:
        allow_working_folder()
    root = data or os.environ.get("INTRIGUING_DATA")
    sources = saved_sources(read_saved_plan(at_home(folder)).datasets, opened.spec, root)
    _write(printable(write_report(opened, out, images=image_reader(sources, trust))))
    return 0


@app.command(name="verify")
def verify_command(folder: RunFolder, *, as_json: Json = False) -> int:
    """Hash every stored output and table of a run, and name what is damaged; exit code 1 if anything is."""
    from intriguing.engine.verify import verify

    verification = verify(at_home(folder))
    if as_json:
        _print_json(vars(verification))
    else:
        _write("\n".join([*verification.damaged, verification.summary()]))
    return 1 if verification.damaged else 0


@app.command(name="prune")
def prune_command(folder: RunFolder) -> int:
    """Remove from the store what the run's plan no longer names. Nothing that the run names is executed."""
    from intriguing.basics.saved_plan import read_saved_plan
    from intriguing.engine.driver import prune
    from intriguing.engine.lock import locked

    run_folder = at_home(folder)
    read_saved_plan(run_folder)
    with locked(run_folder):
        saved = read_saved_plan(run_folder)
        if len(saved.fingerprints) != saved.tasks:
            raise StoreError(
                f"{folder}/plan.json lists {len(saved.fingerprints):,} of {saved.tasks:,} tasks, so nothing is "
                "removed. Run the spec again: it is written anew."
            )
        count, size, kept = prune(run_folder)
    verb = "stays: it holds" if kept == 1 else "stay: they hold"
    stay = f"; {counted(kept, 'folder')} of the store {verb} files that are not the run's" if kept else ""
    _write(f"{counted(count, 'output')} removed, {size / 1e6:.1f} MB{stay}")
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
    """Run a command and return its exit code.

    Modules of the working folder can be imported by `run` and `plan` alone, and come after all others.
    """
    _set_up_logging()
    with _terminate_as_interrupt(), without_working_folder():
        try:
            code = app(arguments, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            _say(_err, f"{error} (intriguing --help lists the commands)")
            return 2
        except IntriguingError as error:
            _say(_err, error)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    return code if isinstance(code, int) else 0


def _list(sentences: dict[str, str], as_json: bool) -> int:
    if as_json:
        _print_json(sentences)
        return 0
    table = Table(box=None, show_header=False)
    for name, sentence in sentences.items():
        table.add_row(_text(name), _text(sentence))
    _out.print(table)
    return 0


def _shown(
    opened: Run, table: str | None, sql: str | None, rows: int | None, as_json: bool
) -> tuple["pd.DataFrame", int, str]:
    """What `show` prints of a table or of a query's answer, how many rows there are, and what else is to be said."""
    if sql is not None:
        frame = opened.sql(sql)
        most = len(frame) if rows is None and as_json else 20 if rows is None else rows
        if most < 0:
            raise InputError(f"--rows {most}: give 0 or more.")
        return frame.head(most), len(frame), "" if len(frame) else "The query gives no rows."
    name = str(table)
    frame, total = opened.head(name, 20 if rows is None else rows)
    present = opened.tables()
    if name not in present:
        return frame, total, f"The run has no table {name!r}; it has: {', '.join(present) or 'none'}."
    if name == "activations":
        return frame, total, "Activations are read a layer at a time: each is a folder of Parquet files."
    return frame, total, "" if total else f"The table {name!r} has no rows."


def _summarise(folder: Path, summary: dict[str, Any]) -> None:
    waiting = f", {summary['waiting']} not asked for" if summary["waiting"] else ""
    _write(
        f"{summary['ran']} tasks ran, {summary['reused']} reused, {len(summary['failed'])} failed, "
        f"{len(summary['blocked'])} blocked{waiting} (of {summary['tasks']})"
    )
    for failure in summary["failed"][:5]:
        _write(printable(f"  {failure['task']}: {failure['error_type']}: {failure['message']}"))
    _write(f"tables: {printable(folder)}/tables\nreport: {printable(summary['report'])}")


def _set_up_logging() -> None:
    level = os.environ.get("INTRIGUING_LOG", "INFO").upper()
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PlainFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


class _PlainFormatter(logging.Formatter):
    """Log lines in which nothing commands the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of `record`."""
        return printable(super().format(record), lines=True)


@contextmanager
def _progress(quiet: bool = False) -> Iterator[Callable[[Snapshot], None]]:
    """Progress on stderr: a live line where it is a terminal, log lines elsewhere and where it is to be `quiet`."""
    if quiet or not _err.is_terminal:
        yield LogLines()
        return
    with _err.status("starting") as line:
        yield lambda snapshot: line.update(_text(snapshot.line()))


def _open_debugger(error: BaseException) -> None:
    import pdb

    _say(_err, f"{type(error).__name__}: {error}")
    pdb.post_mortem(error.__traceback__)


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


def _text(value: object) -> Text:
    """A cell or line as text: no markup, no escape codes."""
    return Text(printable(value))


def _say(console: Console, text: object) -> None:
    console.print(Text(printable(text, lines=True)), highlight=False, soft_wrap=True)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
