"""What a name of the user's may be, and how large a spec: refused in a sentence, before anything is done with it."""

import datetime
import math
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from intriguing.basics.folders.presence import is_file, is_folder, is_taken, is_there, refusal
from intriguing.basics.folders.saved_plan import read_regular
from intriguing.basics.text.printable import printable
from intriguing.errors import SpecError, unknown_name

LARGEST_SPEC = 250_000
"""Bytes of the largest TOML file that is read."""
DEEPEST = 20
"""Levels of tables and lists in a spec."""
MOST_VALUES = 100_000
"""Values in a spec, all levels together."""
MOST_NAMED = 1_000
"""Data sets, and models, of a spec."""
MOST_TASKS = 2_000_000
"""Tasks of a plan: each takes about a kilobyte of memory."""

SPECS = Path(__file__).with_name("specs")
"""The specs that go by name."""
_SCANNED = 10_000
"""Files beside a spec that is missing that are looked at for one of a similar name."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
_LONGEST_NAME = 200
# The parser of TOML takes time that grows with the square of a dotted key's length.
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_DOTTED = re.compile(rf"(?<![\w-])(?:{_PART}\.[ \t]*+){{{2 * DEEPEST}}}")

_YAML = re.compile(r"(?:[^\S\n]*(?:#[^\n]*)?\n|---[^\n]*\n)*+[A-Za-z_][\w-]*:(?:\s|$)")
_PLACE = re.compile(r"\(at line (\d+), column \d+\)")
_BARE = re.compile(r"=\s*([A-Za-z_][\w:./-]*)\s*(?:#.*)?$")
_TOML = " Write [section] and key = value; `intriguing init` writes a first spec."


def folder_name(name: str) -> str:
    """`name` if it can be the name of a folder, one component of a path; else `ValueError` says why not.

    It has at most 200 bytes, neither slashes nor control characters, no dot in front, no blank at either end, and is
    not a name that Windows keeps for a device.
    """
    why = ""
    if "/" in name or "\\" in name:
        why = "has a slash: it names one folder, not a path (--out takes a path)"
    elif printable(name) != name:
        why = "has a control character or another that cannot be seen"
    elif name.startswith("."):
        why = "starts with a dot"
    elif name != name.strip():
        why = "starts or ends with a blank"
    elif name.partition(".")[0].lower() in _RESERVED:
        why = "is kept for a device by Windows"
    elif len(name.encode()) > _LONGEST_NAME:
        why = f"has more than {_LONGEST_NAME} bytes"
    if why:
        raise ValueError(f"'{printable(name)[:100]}' {why}. Write another `name`")
    return name


def spec_names() -> list[str]:
    """The names of the specs in the package."""
    return sorted(path.stem for path in SPECS.glob("*.toml"))


def check_is_there(name: str) -> None:
    """Raise where no spec of the package has this `name`, and no file lies at that path; the nearest are named.

    Imports nothing that takes time, so that a slip of the pen is told at once. Raises: `SpecError` for the path of a
    TOML file; `UnknownNameError` for a name.
    """
    path, named = Path(name), spec_names()
    if "\0" in name:
        raise unknown_name("spec", name, named)
    is_toml = path.suffix == ".toml"
    if (is_toml or len(path.parts) > 1) and (why := refusal(path)):
        raise SpecError(printable(f"The spec {name} cannot be looked at: {why}."))
    if not is_toml:
        if is_file(path) or name in named:
            return
        raise SpecError(printable(_no_file(path))) if is_taken(path) else unknown_name("spec", name, named)
    if is_taken(path):
        return
    valid = {spec: spec for spec in named}
    with suppress(OSError):
        valid |= {other.stem: str(other) for other in islice(path.parent.glob("*.toml"), _SCANNED)}
    near = " or ".join(valid[stem] for stem in get_close_matches(path.stem, list(valid), n=3, cutoff=0.5))
    hint = f" Did you mean {near}?" if near else ""
    raise SpecError(printable(f"There is no file {name}.{hint} `intriguing init` writes a first spec."))


def _no_file(path: Path) -> str:
    """The sentence for what lies at `path` and is no file."""
    kind, said = "a pipe or a device", "Save it first."
    if is_folder(path):
        kind, said = "a folder", f"`intriguing status {path}` names the command that continues a run."
    elif not is_there(path):
        kind, said = f"a link to what is not there ({refusal(path) or 'nothing lies there'})", "Mend the link."
    return f"{path} is {kind}, and a spec is a file of TOML, or a name: see `intriguing specs`. {said}"


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML file at `path`; raises `SpecError` where it cannot be read, is no file, or is larger than a spec is."""
    text = ""
    try:
        text = read_regular(path, LARGEST_SPEC).decode("utf-8").removeprefix("\ufeff")  # as editors of Windows put it
        long = _DOTTED.search(text)
        if long is not None:
            raise ValueError(
                f"a key of more than {2 * DEEPEST} parts, {long[0][:20]!r}... (at position {long.start()})"
            )
        body = tomllib.loads(text)
    except RecursionError:
        raise SpecError(f"The spec {path} cannot be read: its lists or tables are nested too deeply.") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"The spec {path} cannot be read: it is no UTF-8 text ({error}). Save it as UTF-8.") from error
    except (
        OSError,
        ValueError,
    ) as error:  # TOML that is wrong, no UTF-8, a number of 5,000 digits: all are ValueErrors
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SpecError(f"The spec {path} cannot be read: {why[:500]}.{_advice(path, text, why)}") from error
    check_size(body, str(path))
    return body


def _advice(path: Path, text: str, why: str) -> str:
    """What else to know of a `text` that is no TOML, after a space: its line, and what was probably meant; else ""."""
    if path.suffix == ".json" or text.lstrip().startswith("{"):
        return f" It looks like JSON, and a spec is TOML.{_TOML}"
    if path.suffix in (".yaml", ".yml") or _YAML.match(text):
        return f" It looks like YAML, and a spec is TOML.{_TOML}"
    place = _PLACE.search(why)
    lines = text.split("\n")
    if place is None or not 0 < int(place[1]) <= len(lines):
        return ""
    line = lines[int(place[1]) - 1].strip()
    shown = f" The line is: {printable(line)[:100]}" if line else ""
    if any(quote in line for quote in "“”„«»‘’"):
        return f'{shown} (its quotes are typographic: write straight ones, ")'
    bare = _BARE.search(line) if why.startswith("Invalid value") else None
    if bare is None:
        return shown
    is_truth = bare[1] in ("True", "False")
    return f"{shown} (write {bare[1].lower()})" if is_truth else f'{shown} (text stands in quotes: "{bare[1]}")'


def check_size(body: Mapping[str, Any], where: str) -> None:
    """Raise `SpecError` where `body` is nested deeper or holds more than a spec does, or values that it cannot hold."""
    stack: list[tuple[Any, int, str]] = [(body, 1, "")]
    count = 0
    while stack:
        value, depth, key = stack.pop()
        count += 1
        if depth > DEEPEST:
            raise SpecError(
                f"{where}: {key[:100]!r} is nested more than {DEEPEST} levels deep, which no key of a spec is."
            )
        if count > MOST_VALUES:
            raise SpecError(f"{where} holds more than {MOST_VALUES:,} values. Cut it into several specs.")
        if isinstance(value, Mapping):
            stack += [(inner, depth + 1, f"{key}.{name}".strip(".")) for name, inner in value.items()]
        elif isinstance(value, list | tuple):
            stack += [(inner, depth + 1, f"{key}.{place}") for place, inner in enumerate(value)]
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise SpecError(
                f"{where}: {key[:100]!r} is a whole number of {value.bit_length()} bits and a sign; at most 64 bits "
                "are read, the sign among them."
            )
        elif isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"{where}: {key[:100]!r} is {value}, and every number of a spec is finite.")
        elif isinstance(value, datetime.date | datetime.time):
            raise SpecError(
                f"{where}: {key[:100]!r} is a date or a time, and no key of a spec takes one. Write it as text."
            )
    for key in ("datasets", "models"):
        named = body.get(key)
        if isinstance(named, Mapping) and len(named) > MOST_NAMED:
            raise SpecError(f"{where} has {len(named):,} {key}; at most {MOST_NAMED:,} are taken. Cut it into several.")
