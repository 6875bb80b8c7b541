"""Commands that make a run and follow it: run, plan, status."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from intriguing.basics.text.printable import printable
from intriguing.basics.version import __version__
from intriguing.cli.app import Data, Json, Out, RunFolder, SpecArgument, command
from intriguing.cli.terminal import err, heard_or_not, out, print_json, say, text, write
from intriguing.engine.paths import allow_working_folder
from intriguing.stats.findings import counted

if TYPE_CHECKING:
    from intriguing.engine.progress.progress import Snapshot
    from intriguing.sweep.runner import Outcome, Prepared

_EVERY = 2.0
_ANEW = "it is read as it is, and the command that made it goes on and computes anew what is computed otherwise now."


@Parameter(name="*")
@dataclass(frozen=True)
class Workers:
    """Where a run works."""

    executor: Annotated[
        Literal["auto", "inline", "strict", "ray"] | None,
        Parameter(
            help="inline: this process. strict: inline, with nothing kept from task to task, as on other machines. "
            "ray: a cluster, or Ray on this machine. auto: ray where a cluster is running, else inline. By default "
            "INTRIGUING_EXECUTOR, else the spec's."
        ),
    ] = None
    workers: Annotated[
        int | None,
        Parameter(
            help="How many Ray actors; by default INTRIGUING_WORKERS, else the spec's, else one per GPU, or per CPU "
            "where there is no GPU."
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        Parameter(help="How much of a GPU each actor holds; by default the spec's, else 1 where there are GPUs."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Search:
    """How somebody looks for a fault in a run."""

    only: Annotated[
        list[str] | None,
        Parameter(negative="", help="A task's name or a pattern of names: run it and what it needs; the others wait."),
    ] = None
    pdb: Annotated[
        bool, Parameter(negative="", help="Open the debugger where a task raises (with --executor inline or strict).")
    ] = False


@command("run demo", "run mine.toml --out outputs/mine --executor ray")
def run(
    spec: SpecArgument,
    *,
    out: Out = None,
    where: Workers = Workers(),
    data: Data = None,
    fault: Search = Search(),
    dry_run: Annotated[
        bool, Parameter(negative="", help="Print tasks, rows, bytes and devices; write nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Run a sweep, or continue it: what is finished is never computed again.

    A failed task's own line, in the table failures, runs it alone (--only) and prints its traceback.
    """
    from intriguing.sweep.limits import check_is_there

    check_is_there(spec)
    from intriguing.sweep.runner import execute, prepare

    if dry_run:
        return plan(spec, out=out, data=data, as_json=as_json)
    allow_working_folder()
    prepared = prepare(spec, out, data)
    debug = _open_debugger if fault.pdb else None
    at = (where.executor, where.workers, where.gpus_per_worker)
    try:
        with _stdout_to_stderr(), _progress(quiet=fault.pdb) as listen:
            outcome = execute(prepared, *at, listen, only=fault.only or (), debug=debug)
    except KeyboardInterrupt:
        say(err, f"Stopped. What is finished is kept. Continue with:\n  {prepared.command}")
        return 130
    if fault.only:
        for failure in outcome.failures:
            say(err, f"{failure.task}:\n{failure.traceback}")
    summary = _summary(prepared, outcome)
    with heard_or_not():
        if as_json:
            print_json(summary)
        else:
            _summarise(prepared.out, summary)
    return 1 if outcome.failures or outcome.blocked else 0


@command("plan demo", "plan mine.toml --json")
def plan(spec: SpecArgument, *, out: Out = None, data: Data = None, as_json: Json = False) -> int:
    """Show what a run would do: tasks, rows, bytes and devices. Writes nothing."""
    from intriguing.sweep.limits import check_is_there

    check_is_there(spec)
    from intriguing.cli import terminal
    from intriguing.sweep.dry_run import estimate
    from intriguing.sweep.runner import prepare

    allow_working_folder()
    forecast = estimate(prepare(spec, out, data))
    if as_json:
        print_json(vars(forecast))
        return 0
    table = Table("stage", "tasks", "to run", "rows", "MB", box=None, title=text(forecast.folder), title_justify="left")
    for stage in forecast.stages:
        size = f"{stage['bytes'] / 1e6:,.1f}" if stage["bytes"] else ""
        table.add_row(text(stage["stage"]), f"{stage['tasks']:,}", f"{stage['to_run']:,}", f"{stage['rows']:,}", size)
    terminal.out.print(table)
    say(
        terminal.out,
        f"{forecast.tasks:,} tasks: {forecast.to_run:,} to run, {forecast.reused:,} reused, "
        f"{forecast.dropped:,} dropped; at most {forecast.rows:,} rows, {forecast.bytes / 1e6:,.1f} MB before "
        f"compression; {forecast.device}.",
    )
    if forecast.imported:
        say(terminal.out, "Your modules were imported (they run with your rights):")
        for name, file in forecast.imported.items():
            say(terminal.out, f"  {printable(name)}: {printable(file)}")
    return 0


@command("status outputs/demo", "status outputs/demo --follow")
def status(
    folder: RunFolder,
    *,
    follow: Annotated[
        bool, Parameter(negative="", help="Say it again whenever it changed, until no driver is at work any more.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Say how far a run is, from its folder alone."""
    from intriguing.basics.folders.bucket import place_at
    from intriguing.sweep.status import status_of

    place = place_at(folder)
    last = None
    while True:
        found = status_of(place)
        told = {key: value for key, value in found.items() if key != "live"}
        if told != last:
            last = told
            print_json(found) if as_json else _say_status(found)
        if not follow or not found["running"]:
            return 0
        sys.stdout.flush()
        time.sleep(_EVERY)


def _say_status(found: dict[str, Any]) -> None:
    state = {True: "running", False: "not running"}
    say(
        out,
        f"{printable(found['name'])}: {found['done']:,} of {found['tasks']:,} tasks done, {found['failed']:,} "
        f"failed, {found['blocked']:,} blocked, {state[found['running']]}",
    )
    for noun, (done, total) in found["amounts"].items():
        say(out, f"  {printable(noun)} {done:,}/{total:,}")
    if found["line"]:
        say(out, f"  {printable(found['line'])}")
    if found["live"]:
        _say_live(found["live"])
    if found["version"] != __version__:
        made = f"intriguing {printable(found['version'])}" if found["version"] else "an earlier state of intriguing"
        say(out, f"Made by {made}, and this is {__version__}: {_ANEW}")
    if found["done"] < found["tasks"] and not found["running"] and found["command"]:
        say(out, f"Continue with: {printable(found['command'])}")


def _say_live(live: dict[str, Any]) -> None:
    """Who is at work, at what for how long, what took longest so far, and what failed last."""
    lines = [f"{counted(live['workers'], 'worker')}, {live['queued']:,} tasks ready to run"]
    lines += [
        f"  {node}: {counted(count, 'worker')}{device and f', {device}'}" for node, count, device in live["nodes"]
    ]
    for task, worker, node, seconds, held in live["busy"]:
        lines.append(f"at work: {task}, for {seconds:,.0f} s ({worker} on {node}{held and f'; holds {held}'})")
    lines += [f"longest: {task}, {seconds:,.1f} s" for task, seconds in live["slowest"][:3]]
    lines += [f"failed: {task}: {error}: {message}" for task, error, message in live["failures"]]
    for line in lines:
        say(out, f"  {printable(line)}")


def _summary(prepared: "Prepared", outcome: "Outcome") -> dict[str, Any]:
    from intriguing.results import open_run
    from intriguing.sweep.reporting.printed import notes

    return {
        "run": str(prepared.out),
        "report": f"{prepared.out}/report.html",
        "ran": len(outcome.ran),
        "reused": len(outcome.reused),
        "failed": [vars(f) for f in outcome.failures],
        "blocked": list(outcome.blocked),
        "waiting": len(outcome.waiting),
        "tasks": len(prepared.plan),
        "notes": notes(open_run(prepared.out)),
    }


def _summarise(folder: object, summary: dict[str, Any]) -> None:
    waiting = f", {summary['waiting']} not asked for" if summary["waiting"] else ""
    write(
        f"{summary['ran']} tasks ran, {summary['reused']} reused, {len(summary['failed'])} failed, "
        f"{len(summary['blocked'])} blocked{waiting} (of {summary['tasks']})"
    )
    for failure in summary["failed"][:5]:
        write(printable(f"  {failure['task']}: {failure['error_type']}: {failure['message']}"))
    for note in summary["notes"]:
        write(printable(note))
    write(f"tables: {printable(str(folder))}/tables\nreport: {printable(summary['report'])}")


@contextmanager
def _progress(quiet: bool = False) -> Iterator[Callable[["Snapshot"], None]]:
    """Progress on stderr: bars where it is a terminal, log lines elsewhere and where it is to be `quiet`."""
    from intriguing.cli.bars import Bars
    from intriguing.engine.progress.shown import LogLines

    if quiet or not err.is_terminal:
        yield LogLines()
        return
    with Bars(err) as bars:
        yield bars.show


def _open_debugger(error: BaseException) -> None:
    import pdb

    say(err, f"{type(error).__name__}: {error}")
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
