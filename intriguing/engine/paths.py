"""Where Python looks for modules: the user's folders come last, and only where the user's code is meant to run.

A file `duckdb.py` or `bottleneck.py` in a folder that somebody sent must not run because a command was typed there.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def without_working_folder() -> Iterator[None]:
    """Take the working folder off the front of the path, where `python -c` and `python -m` put it.

    It stays where this package itself was found in it: its code runs already.
    """
    first = sys.path[0] if sys.path else None
    is_working = first is not None and (first in ("", ".") or Path(first).resolve() == Path.cwd())
    if not is_working or _home() == Path.cwd():
        yield
        return
    assert first is not None
    sys.path.pop(0)
    try:
        yield
    finally:
        sys.path.insert(0, first)


def allow_working_folder() -> None:
    """Let modules of the working folder be imported, after all others: for good, since they may be pickled later."""
    extend_path([str(Path.cwd())])


def extend_path(folders: list[str]) -> None:
    """Append those of `folders` that are not on Python's path."""
    present = {p or str(Path.cwd()) for p in sys.path}
    for folder in folders:
        if folder not in present:
            sys.path.append(folder)


def users_path() -> list[str]:
    """Python's path in this process as absolute folders: what a worker appends to its own."""
    here = Path.cwd()
    return list(dict.fromkeys(str(here / p) for p in sys.path))


def package_folder() -> list[str]:
    """The folder of this package where a new Python would not find it by itself, in a list; else an empty list."""
    own = (Path(p).resolve() for p in sys.path[1:] if p not in ("", "."))
    return [] if _home() in own else [str(_home())]


def _home() -> Path:
    return Path(__file__).resolve().parents[2]
