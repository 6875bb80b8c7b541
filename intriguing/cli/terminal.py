"""What commands print, and how: results to stdout, all else to stderr, and nothing in them commands the terminal."""

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, pairwise, takewhile
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from intriguing.basics.text.printable import printable, width_of


class _Console(Console):
    """A console that tells of a pipe that nobody reads any more; rich's ends the process with the code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


_SECOND = "\0"  # the second column of a wide character; what is printed has no such character of its own
out = _Console()
err = _Console(stderr=True)


def text(value: object) -> Text:
    """A cell or line as text: no markup, no escape codes."""
    return Text(printable(value))


def say(console: Console, what: object) -> None:
    """Print lines as they are, whatever characters they hold."""
    console.print(Text(printable(what, lines=True)), highlight=False, soft_wrap=True)


def write(what: str) -> None:
    """Print text that is known to be printable to stdout, at once: an error shows here, not at the process's end."""
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def stop_printing() -> None:
    """Let what is printed to stdout from now on, and what its buffer still holds, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def heard_or_not() -> Iterator[None]:
    """Inside, a command prints what its exit code says as well: that counts, too, where nobody reads on (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        stop_printing()


def print_json(value: Any) -> None:
    """Print a value as JSON to stdout."""
    write(json.dumps(value, indent=1, default=str))


def list_sentences(sentences: dict[str, str], as_json: bool) -> int:
    """Print names with a sentence each, as a command's whole answer."""
    if as_json:
        print_json(sentences)
        return 0
    table = Table(box=None, show_header=False)
    for name, sentence in sentences.items():
        table.add_row(text(name), text(sentence))
    out.print(table)
    return 0


def width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none, and lines may have any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(what: str, columns: int | None) -> str:
    """Text in lines of at most `columns` characters (None: as it is): sentences are wrapped, tables are cut between
    columns into tables that begin with the same columns of names. A single column that is wider stays.
    """
    if columns is None:
        return what
    blocks: list[str] = []
    for cut, lines in groupby(_spread(what).split("\n"), _cut_of):
        shown = list(lines)
        if cut is not None and len(shown) > 1 and max(map(len, shown)) > columns:
            blocks += cut(shown, columns)
        else:
            blocks += [part for line in shown for part in _wrapped(line, columns)]
    return "\n".join(blocks).replace(_SECOND, "")


def _spread(what: str) -> str:
    """Text with a placeholder after each character that takes two columns, so that its length is its width."""
    if what.isascii():
        return what
    return "".join(c + _SECOND * (width_of(c) - 1) for c in unicodedata.normalize("NFC", what))


def _cut_of(line: str) -> Callable[[list[str], int], list[str]] | None:
    """What cuts the table that a line is a row of: cells stand between bars, or two spaces or more hold them apart."""
    if line.startswith("| ") and line.endswith(" |"):
        return _cut_at_bars
    return _cut if "  " in line.strip() else None


def _wrapped(line: str, columns: int) -> list[str]:
    if len(line) <= columns:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    wrapper = textwrap.TextWrapper(columns, break_long_words=False, break_on_hyphens=False)
    wrapper.subsequent_indent = indent + "  "
    return wrapper.wrap(line) or [line]


def _cut(rows: list[str], columns: int) -> list[str]:
    """The rows of a table, cut into tables of at most `columns` characters a line."""
    wide = max(map(len, rows))
    padded = [row.ljust(wide) for row in rows]
    gaps = [at for at in range(wide) if all(row[at] == " " for row in padded)]
    # A column begins after a gap of two spaces or more; a text within a cell may have a single space in all rows.
    starts = [0, *(at + 1 for at in gaps if at - 1 in gaps and at + 1 < wide and at + 1 not in gaps)]
    cells = [slice(start, end) for start, end in zip(starts, [*starts[1:], wide], strict=True)]
    names = list(takewhile(lambda cell: all(row[cell.start] != " " for row in padded[1:]), cells)) or cells[:1]
    widest = max(map(_width, cells[len(names) :]), default=0)
    names = names if sum(map(_width, names)) + widest <= columns else cells[:1]
    parts = [list(names)]
    for cell in cells[len(names) :]:
        text_ends = max(len(row[cell].rstrip()) for row in padded)
        if len(parts[-1]) > len(names) and sum(map(_width, parts[-1])) + text_ends > columns:
            parts.append(list(names))
        parts[-1].append(cell)
    tables = (["".join(row[cell] for cell in part).rstrip() for row in padded] for part in parts)
    return [line for number, table in enumerate(tables) for line in ([""] if number else []) + table]


def _cut_at_bars(rows: list[str], columns: int) -> list[str]:
    """The rows of a Markdown table, cut into such tables; each begins with the cells that tell its rows apart."""
    wide = min(map(len, rows))
    bars = [at for at in range(wide) if all(row[at] == "|" for row in rows)]
    if bars[-1] + 1 != max(map(len, rows)):
        return rows
    cells = [slice(start, end) for start, end in pairwise(bars)]
    telling = next((n for n in range(1, len(cells)) if len({row[: cells[n].start] for row in rows}) == len(rows)), 1)
    names = cells[:telling]
    if sum(map(_width, names)) + max(map(_width, cells[telling:]), default=0) >= columns:
        names = cells[:1]
    parts = [list(names)]
    for cell in cells[len(names) :]:
        if len(parts[-1]) > len(names) and sum(map(_width, parts[-1])) + _width(cell) >= columns:
            parts.append(list(names))
        parts[-1].append(cell)
    tables = (["".join(row[cell] for cell in part) + "|" for row in rows] for part in parts)
    return [line for number, table in enumerate(tables) for line in ([""] if number else []) + table]


def _width(cell: slice) -> int:
    return cell.stop - cell.start
