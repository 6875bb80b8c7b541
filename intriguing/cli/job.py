"""What the scripts in jobs/ share. It lies in the package, for `ray submit` copies a script alone."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intriguing.basics.process.leaving import leave
from intriguing.cli.app import app
from intriguing.cli.process import call
from intriguing.cli.terminal import write

if TYPE_CHECKING:
    from intriguing.results import Run

__all__ = ["leave", "opened", "run_job", "split"]


def run_job(arguments: Sequence[str], default: str) -> "tuple[int, Run | None]":
    """Run a spec as `intriguing run` does: its exit code, and the run, or None where nothing was run to the end.

    arguments: a spec, which may be left out (`default`), and the options of `intriguing run`.
    """
    spec, options = split(arguments, default)
    if {"-h", "--help"} & {spec, *options}:
        return _help(default), None
    code = call(["run", spec, *options])
    stopped = code in (2, 130) or "--dry-run" in options
    return code, None if stopped else opened([spec, *options], default)


def _help(default: str) -> int:
    """Print what the script says of itself, and the options that it shares with `intriguing run`: 0."""
    script = sys.modules["__main__"]
    command = app["run"]
    before = command.usage, command.help_prologue, command.help
    name = Path(str(getattr(script, "__file__", "JOB.py"))).name
    try:
        command.usage = f"Usage: python jobs/{name} [SPEC] [OPTIONS]   (SPEC by default: {default})"
        command.help_prologue = command.help = ""
        write(f"{(script.__doc__ or '').strip()}\n")
        return call(["run", "--help"])
    finally:
        command.usage, command.help_prologue, command.help = before


def opened(arguments: Sequence[str], default: str) -> "Run":
    """The run that these arguments make or continue; raises `StoreError` where there is none yet."""
    from intriguing.results import open_run
    from intriguing.sweep.runner import run_folder

    spec, options = split(arguments, default)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--out")
    given, _ = parser.parse_known_args(options)
    return open_run(run_folder(spec, given.out))


def split(arguments: Sequence[str], default: str) -> tuple[str, list[str]]:
    """The spec and the options: the spec comes first or not at all, so an option's value is never taken for it."""
    named = bool(arguments) and not arguments[0].startswith("-")
    return (arguments[0], list(arguments[1:])) if named else (default, list(arguments))
