"""What commands print, and how: results to stdout, all else to stderr, and nothing in them commands the terminal."""

import json
import shutil
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from intriguing.basics.printable import printable

out = Console()
err = Console(stderr=True)


def text(value: object) -> Text:
    """A cell or line as text: no markup, no escape codes."""
    return Text(printable(value))


def say(console: Console, what: object) -> None:
    """Print lines as they are, whatever characters they hold."""
    console.print(Text(printable(what, lines=True)), highlight=False, soft_wrap=True)


def write(what: str) -> None:
    """Print text that is known to be printable to stdout."""
    sys.stdout.write(what + "\n")


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
