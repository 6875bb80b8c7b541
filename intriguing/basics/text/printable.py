"""Text from outside (names, paths, messages, tables of somebody else's run) made safe to print.

A name may hold a terminal's escape codes, a carriage return that overwrites what was said before, or marks that turn
the reading direction. Printed as they are, they lie to the reader or command the terminal.
"""

import unicodedata
from typing import Any

# Control characters, marks of format (such as those that turn the reading direction), lone surrogates (which no output
# can encode), line and paragraph separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # several scripts are written with them


def printable(value: Any, lines: bool = False) -> str:
    r"""`value` as text in which nothing commands the terminal: such characters are shown as escapes, like ``\x1b``.

    lines: keep line breaks and tabs, for text of several lines; otherwise they are escaped too.
    """
    text = str(value)
    if text.isprintable():
        return text
    kept = _JOINERS + ("\n\t" if lines else "")
    return "".join(c if c.isprintable() or c in kept or not _is_hidden(c) else _escape(c) for c in text)


def width_of(text: str) -> int:
    """How many columns of a terminal a line takes: Chinese, Japanese and Korean characters take two, marks none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def filled(text: str, width: int, right: bool = False) -> str:
    """A line with spaces after it (right: before it), so that it takes `width` columns of a terminal."""
    spaces = " " * (width - width_of(text))
    return spaces + text if right else text + spaces


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    number = ord(character)
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65_536 else f"\\U{number:08x}"
    )
