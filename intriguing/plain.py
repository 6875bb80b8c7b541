"""Text from outside (names, paths, messages, tables of somebody else's run) made safe to print.

A name may hold a terminal's escape codes, a carriage return that overwrites what was said before, or marks that turn
the reading direction. Printed as they are, they lie to the reader or command the terminal.
"""

import re
from typing import Any

# Control characters (C0, DEL, C1), line and paragraph separators, marks of direction and joining, the byte-order mark,
# tags, and lone surrogates, which no output can encode.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def printable(value: Any, lines: bool = False) -> str:
    r"""`value` as text in which nothing commands the terminal: such characters are shown as escapes, like ``\x1b``.

    lines: keep line breaks and tabs, for text of several lines; otherwise they are escaped too.
    """
    return _HIDDEN.sub(lambda found: found[0] if lines and found[0] in "\n\t" else _escape(found[0]), str(value))


def _escape(character: str) -> str:
    number = ord(character)
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return known or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65_536 else f"\\U{number:08x}"
    )
