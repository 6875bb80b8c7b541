"""What a run folder says of itself, `plan.json` and `live/status.json`, read as what anybody may have written.

Nothing that is named there is imported, run or followed: types are checked, sizes and nesting are limited.
"""

import json
import os
import re
import shlex
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intriguing.basics.folders.files import unreadable
from intriguing.basics.folders.folder import Place, told_again
from intriguing.errors import CorruptError, StoreError

LARGEST_PLAN = 1 << 30
"""Bytes of the largest plan.json that is read: a million tasks take about a quarter of it."""

LIVE_LISTS = {
    "nodes": (str, int, str),
    "busy": (str, str, str, float, str),
    "slowest": (str, float),
    "failures": (str, str, str),
}
"""The lists of `live/status.json`, and the types of the values in a row of each."""

_LARGEST_STATUS = 1 << 20
_MOST_ROWS = 100
_FINGERPRINT = re.compile(r"[0-9a-f]{40}")
_MOST = 1 << 53


@dataclass(frozen=True)
class SavedPlan:
    """The plan that a run folder was made for: names and numbers, nothing that can be run."""

    name: str
    tasks: int
    spec: dict[str, Any]
    fingerprints: dict[str, str]
    """Task to fingerprint (40 hexadecimal digits)."""
    amounts: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Task to how much it is, and of what."""
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Data set to source, root, content_hash, shape; empty in folders of version 0.1.0."""
    version: str = ""
    """The version of this package that made it; "" where plan.json does not say it."""
    command: str = ""
    """The line that continues the run; "" where plan.json holds another kind of line."""
    publish: dict[str, dict[str, str]] = field(default_factory=dict)
    """Task to output to the folder of the table that it goes to; empty where plan.json does not say it so."""


def read_saved_plan(run: Place) -> SavedPlan:
    """The plan.json of `run`.

    Raises:
        StoreError: there is none: the folder holds no run.
        CorruptError: it cannot be read, or is not what a run writes; the message says what is wrong.
    """
    path = f"{run}/plan.json"
    try:
        content = _read(run, "plan.json", LARGEST_PLAN)
    except FileNotFoundError:
        raise StoreError(f"{run} holds no run: there is no plan.json that can be read.") from None
    except NotADirectoryError:
        raise StoreError(f"{run} holds no run: it is a file.") from None
    except (StoreError, ValueError) as error:
        raise StoreError(f"{run} holds no run: its plan.json cannot be read ({error}).") from error
    except OSError as error:
        raise unreadable(error, path) from error
    try:
        return checked_plan(parse_json(content))
    except ValueError as error:
        raise damaged(path, error) from error


def damaged(path: object, error: Exception) -> CorruptError:
    """What to raise for a plan.json at `path` that cannot be read."""
    return CorruptError(
        f"{path} cannot be read ({error}). If the folder is a run's, run the spec there again: what is finished is "
        "not computed again. (Where other files lie beside it, move its store/ into a new folder first.)"
    )


def checked_plan(body: Any) -> SavedPlan:
    """The parsed `body` of a plan.json; raises `ValueError` where it is not what a run writes."""
    plan = _mapping(body, "it")
    name, tasks, command = plan.get("name", ""), plan.get("tasks", 0), plan.get("command", "")
    if not isinstance(name, str) or not isinstance(command, str):
        raise ValueError("name and command must be text")
    fingerprints = _mapping(plan.get("fingerprints", {}), "fingerprints")
    for task, fingerprint in fingerprints.items():
        if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
            raise ValueError(f"the fingerprint of task {task[:100]!r} is not 40 hexadecimal digits")
    amounts = {task: _amount(task, value) for task, value in _mapping(plan.get("amounts", {}), "amounts").items()}
    datasets = _mapping(plan.get("datasets", {}), "datasets")
    return SavedPlan(
        name=name,
        tasks=_count(tasks, "tasks"),
        spec=_spec(plan.get("spec", {})),
        fingerprints=fingerprints,
        amounts=amounts,
        datasets={key: _mapping(value, f"datasets.{key[:100]!r}") for key, value in datasets.items()},
        version=version if isinstance(version := plan.get("version", ""), str) else "",
        command=safe_command(command),
        publish=_publish(plan.get("publish")),
    )


def _publish(value: Any) -> dict[str, dict[str, str]]:
    entries = value.values() if isinstance(value, dict) else [None]
    shaped = all(isinstance(e, dict) and all(isinstance(folder, str) for folder in e.values()) for e in entries)
    return value if shaped else {}


def read_status(run: Place) -> dict[str, Any]:
    """What `live/status.json` says: 0, "" and empty lists where it cannot be read, or says what a run does not.

    `failed`, `blocked`, `workers`, `queued` are numbers, `line` is text; `nodes`, `busy`, `slowest` and `failures` are
    lists of rows, each a list of texts and numbers (see `intriguing.engine.live`).
    """
    try:
        content = parse_json(_read(run, "live/status.json", _LARGEST_STATUS))
    except (OSError, ValueError):
        content = {}
    status = content if isinstance(content, dict) else {}
    numbers = {key: status.get(key) for key in ("failed", "blocked", "workers", "queued")}
    line = status.get("line", "")
    return {
        **{key: n if _is_count(n) else 0 for key, n in numbers.items()},
        "line": line[:1_000] if isinstance(line, str) else "",
        **{key: _rows(status.get(key), types) for key, types in LIVE_LISTS.items()},
    }


def _rows(value: Any, types: tuple[type, ...]) -> list[list[Any]]:
    """The rows of `value` whose values are of `types` (whole numbers are floats, too); none where it is no list."""
    rows = value[:_MOST_ROWS] if isinstance(value, list) else []
    fit = [row for row in rows if isinstance(row, list) and len(row) == len(types)]
    return [
        row
        for row in fit
        if all(isinstance(v, int | float if t is float else t) for v, t in zip(row, types, strict=True))
    ]


def _read(run: Place, name: str, largest: int) -> bytes:
    if isinstance(run, Path):
        return read_regular(run / name, largest)
    size = run.look(name)[0]
    if size > largest:
        raise ValueError(f"it has {size:,} bytes, more than the {largest:,} that are read")
    return run.read(name)


def read_regular(path: Path, largest: int) -> bytes:
    """The bytes of a regular file of at most `largest` bytes; raises `ValueError` for another thing or a larger file.

    A pipe or a device in its place is not waited for.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123 (a handle)
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        content = file.read(largest + 1) if about.st_size <= largest else b""
    if about.st_size > largest or len(content) > largest:
        raise ValueError(f"it has {max(about.st_size, len(content)):,} bytes, more than the {largest:,} that are read")
    return content


def parse_json(content: bytes) -> Any:
    """`content` as JSON; raises `ValueError` for anything else, and for nesting deeper than the parser goes."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def safe_command(line: str) -> str:
    """`line` if it is one that continues a run, quoted anew so that a shell runs nothing else; else "".

    ``[INTRIGUING_CORPUS=TEXT] intriguing run SPEC --out FOLDER [--data FOLDER]`` is what a run writes.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return ""
    before = [w for w in words[:1] if w.startswith("INTRIGUING_CORPUS=")]
    words = words[len(before) :]
    options = words[3:]
    names, values = options[::2], options[1::2]
    shaped = words[:2] == ["intriguing", "run"] and len(words) in (5, 7) and names == ["--out", "--data"][: len(names)]
    if not shaped or any(value.startswith("-") for value in (words[2], *values)):
        return ""
    variables = [f"INTRIGUING_CORPUS={shlex.quote(w.partition('=')[2])}" for w in before]
    return " ".join([*variables, shlex.join(words)])


def command_at(line: str, run: Place) -> str:
    """The `command` of a saved plan for the folder where the run lies now: it may have been moved or copied."""
    words = shlex.split(line)
    if "--out" in words:
        at = words.index("--out") + 1
        with suppress(OSError, ValueError):
            if isinstance(run, Path) and os.path.samefile(words[at], run):  # noqa: PTH121
                return line
        words[at] = told_again(run)
    return safe_command(shlex.join(words)) if words else ""


def _spec(value: Any) -> dict[str, Any]:
    """The spec, with its models and data sets held to the types that a spec has there.

    Sections of stages are whatever the folder says: `Run.section` gives those that are mappings.
    """
    spec = _mapping(value, "spec")
    models = spec.get("models") or {}
    for model in models.values() if isinstance(models, dict) else _list(models, "spec.models"):
        layers = _list((model.get("layers") or []) if isinstance(model, dict) else [], "spec.models.layers")
        name = model.get("name") if isinstance(model, dict) else model
        if not isinstance(name, str if name is model else str | None) or not all(
            isinstance(layer, str) for layer in layers
        ):
            raise ValueError("spec.models is not what a spec holds")
    if not isinstance(spec.get("datasets") or {}, dict | list):
        raise ValueError("spec.datasets must be a mapping")
    return spec


def _amount(task: str, value: Any) -> tuple[int, str]:
    pair = _list(value, "amounts")
    if len(pair) != 2 or not isinstance(pair[1], str):
        raise ValueError(f"the amount of task {task[:100]!r} is no number and noun")
    return _count(pair[0], "amounts"), pair[1]


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be a mapping")
    return dict(value)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list")
    return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _count(value: Any, what: str) -> int:
    if not _is_count(value):
        raise ValueError(f"{what} must be a whole number from 0")
    return value
