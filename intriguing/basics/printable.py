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


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    number = ord(character)
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65_536 else f"\\U{number:08x}"
    )
