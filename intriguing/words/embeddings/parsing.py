"""Parse the lines and records of vector files; an error names the number of the line or record.

A line is a word and numbers, separated by spaces or tabs, as many numbers as in the first line. A word may contain
spaces if the part after them has no digit, since otherwise it could be a damaged number; in a file with tabs it always
may.
"""

import codecs
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np

from intriguing.data.files import instead
from intriguing.errors import DataError
from intriguing.words.embeddings.vectors import WordVectors

_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_LIKE_A_NUMBER = re.compile(r".*\d.*|[-+]?(nan|inf|infinity)\W?", re.IGNORECASE)
_FRACTION = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?", re.ASCII)
_NUMBERED = re.compile(r"\d+[ \t]+\S")
_SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars", "\u00a0": "no-break spaces", "\u3000": "wide spaces"}
_LONGEST_WORD = 1 << 16
_LOOKED_AT = 1000
"""Vectors of a binary file whose numbers are looked at."""
_ENOUGH = 32
"""Bytes of different numbers, so many that they are not all characters, or usual the other way round, by chance."""


def is_wide(encoding: str) -> bool:
    """Whether an encoding uses more than one byte for ASCII characters."""
    return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


class VectorTable:
    """The rows of a file in their order, and counts of skipped ones.

    form: the file's format; count: number of vectors to read; dim: their length; promised: their number. Both are None
    without a header.
    """

    def __init__(
        self, name: str, form: str, count: int | None, dim: int | None = None, promised: int | None = None
    ) -> None:
        self.name, self.form, self.count, self.dim, self.promised = name, form, count, dim, promised
        self.from_header = dim is not None
        self.seen = self.repeated = self.not_finite = 0
        self.unended = False
        self.rows: dict[str, np.ndarray] = {}

    @property
    def full(self) -> bool:
        """Whether all `count` vectors have been read."""
        return self.count is not None and self.seen >= self.count

    def add(self, word: str, vector: np.ndarray) -> None:
        """Add a row; a repeated word and a vector that is not finite are skipped and counted."""
        self.dim = self.dim or len(vector)
        self.seen += 1
        if word in self.rows:
            self.repeated += 1
        elif not np.isfinite(vector).all():
            self.not_finite += 1
        else:
            self.rows[word] = vector

    def unequal(self, where: str, word: str, numbers: int) -> DataError:
        """The error for a row with a wrong count of `numbers`."""
        needed = f"its header promises {self.dim}" if self.from_header else f"the vectors before it have {self.dim}"
        return DataError(
            f"{self.name}, {where}: {word[:60]!r} has {numbers} numbers, {needed}. Remove or repair that line, or the "
            "header (a word that holds a space and a number looks like this, too)."
        )

    def finish(self) -> WordVectors:
        """The table. Raises: `DataError` if it is shorter than its header says, or empty."""
        if self.form != "glove" and self.count is not None and self.seen < self.count:
            raise DataError(
                f"{self.name} ends after {self.seen} vectors, its header promises {self.promised}. Fetch the file "
                "again, or put the right number into its first line."
            )
        if not self.rows:
            raise DataError(
                f"{self.name} holds no vectors (read as {self.form}): {self.repeated} repeated words, "
                f"{self.not_finite} vectors that are not finite. Name its format (form=...) if it is another."
            )
        if len(self.rows) > 1 and all(_FRACTION.fullmatch(word) for word in self.rows):
            raise DataError(f"{self.name} holds numbers alone: begin each line with its word.")
        if len(self.rows) > 1 and all(_NUMBERED.match(word) for word in self.rows):
            first = next(iter(self.rows))
            raise DataError(f"{self.name}: each line begins with a number before its word ({first[:60]!r}). Remove it.")
        notes = {"made_by": f"{self.form} file {self.name}"}
        notes |= {"repeated_words": str(self.repeated), "vectors_not_finite": str(self.not_finite)}
        notes |= {"unended_lines": "1"} if self.unended else {}
        return WordVectors(
            tuple(self.rows), np.stack(list(self.rows.values())), np.full(len(self.rows), -1, np.int64), notes
        )


def lines_of(file: BinaryIO, name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """The lines of a text with their numbers from 1, ends included, without a byte order mark.

    Raises: `DataError` with the number of a line that is not of the encoding.
    """
    number = 0
    wide = is_wide(encoding)
    source = iter(io.TextIOWrapper(file, encoding, newline="\n") if wide else file)
    while True:
        try:
            line = next(source, None)
            if line is None:
                return
            text = line if isinstance(line, str) else line.decode(encoding)
        except UnicodeDecodeError as error:
            # An encoding with several bytes per character is decoded in blocks, not in lines.
            before = error.object[: error.start].decode(encoding, "replace").count("\n") if wide else 0
            raise DataError(
                f"{name}, line {number + before + 1}: not {encoding} ({error.reason}). Name its encoding."
            ) from None
        if number == 0:
            text = text.removeprefix("\ufeff")
        # Old Macs end lines with a carriage return.
        for part in [text] if "\r" not in text[:-2] else re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text):
            number += 1
            yield number, part


def read_text(lines: Iterator[tuple[int, str]], table: VectorTable, *, ends: bool) -> None:
    """All `lines`, up to the table's count; with `ends` a line beyond it is an error."""
    for number, line in lines:
        body = line.strip(" \t\r\n")
        if not body:
            continue
        if table.full:
            if ends:
                raise DataError(
                    f"{table.name} goes on after the {table.count} vectors that its header promises (line {number}). "
                    "Put the right number into its first line."
                )
            return
        if line[0] in " \t" and all(_NUMBER.fullmatch(field) for field in _BLANKS.split(body)):
            raise DataError(
                f"{table.name}, line {number}: its word is missing, it begins with a blank and holds numbers alone: "
                f"{body[:60]!r}. Repair or remove that line (where a number is the word, remove the blank before it)."
            )
        table.add(*_parsed(body, table, number))
        table.unended = not line.endswith(("\n", "\r"))


def fits_a_line(line: str, dim: int) -> bool:
    """Whether `line` is a word and `dim` numbers."""
    fields = _BLANKS.split(line.strip(" \t\r\n"))
    return len(fields) > dim and all(_NUMBER.fullmatch(field) for field in fields[-dim:])


def _parsed(body: str, table: VectorTable, number: int) -> tuple[str, np.ndarray]:
    fields, dim = body.split(" "), table.dim
    if "\t" in body or "" in fields:
        tabbed = body.split("\t")
        plain = len(tabbed) > 1 and all(_NUMBER.fullmatch(f) for f in tabbed[1:])
        fields = tabbed if plain else _BLANKS.split(body)
    if "\0" in body:
        raise DataError(f"{table.name}, line {number} holds a NUL: the file is damaged, or of another encoding.")
    if dim is None:
        dim = _numbers_at_the_end(fields)
        if not dim:
            raise _no_vector(body, table, number, "numbers")
    if len(fields) < dim + 1:
        if not all(_LIKE_A_NUMBER.fullmatch(field) for field in fields[1:]):
            raise _no_vector(body, table, number, f"{dim} numbers")
        raise table.unequal(f"line {number}", fields[0], len(fields) - 1)
    word = fields[0]
    if len(fields) > dim + 1:
        word = _spaced(fields, dim, body, table, number)
    vector = _vector(fields[-dim:])
    if vector is None:
        raise _no_vector(body, table, number, f"{dim} numbers")
    return word, vector


def _numbers_at_the_end(fields: list[str]) -> int:
    many = 0
    while many < len(fields) - 1 and _NUMBER.fullmatch(fields[-1 - many]):
        many += 1
    return many


def _spaced(fields: list[str], dim: int, body: str, table: VectorTable, number: int) -> str:
    """The word before the numbers, with its spaces. Raises: `DataError` if a part of it may be a number."""
    if any(_LIKE_A_NUMBER.fullmatch(field) for field in fields[1:-dim]):
        if table.dim is None:
            raise _no_vector(body, table, number, "numbers")
        raise table.unequal(f"line {number}", fields[0], len(fields) - 1)
    return re.sub(rf"(?:[ \t]+[^ \t]+){{{dim}}}$", "", body)


def _vector(fields: list[str]) -> np.ndarray | None:
    joined = "".join(fields)
    if "_" in joined or not joined.isascii():  # Python also reads 1_000 and digits of other scripts as numbers
        return None
    try:
        with np.errstate(over="ignore"):
            return np.array(fields, np.float32)
    except ValueError:
        return None


def _no_vector(body: str, table: VectorTable, number: int, needed: str) -> DataError:
    between = next((name for sign, name in _SEPARATORS.items() if sign in body), None)
    hint = f" Separate them by spaces or tabs, not by {between}." if between and len(_BLANKS.split(body)) <= 2 else ""
    if number == 1 and (what := instead(body[:64].encode(errors="replace"))):
        hint = f" The file is {what}."
    return DataError(f"{table.name}, line {number} is not a word and {needed}: {body[:60]!r}.{hint}")


def read_binary(file: BinaryIO, table: VectorTable, encoding: str, *, ends: bool) -> None:
    """Records of a word, a space, and float32 numbers, up to the table's count; with `ends` further bytes are an error.

    Raises: `DataError` with the number of a record that has no word, which happens if the header is wrong.
    """
    size = 4 * int(table.dim or 0)
    buffer, at = b"", 0
    while not table.full:
        space = buffer.find(b" ", at)
        while space < 0 or len(buffer) < space + 1 + size:
            more = b"" if space < 0 and len(buffer) - at > _LONGEST_WORD else file.read(1 << 22)
            if not more:
                return
            buffer, at = buffer[at:] + more, 0
            space = buffer.find(b" ", at)
        word = _named(buffer[at:space], table, encoding)
        table.add(word, np.frombuffer(buffer, np.float32, size // 4, space + 1))
        at = space + 1 + size
    _check_numbers(table)
    rest = buffer[at:] + file.read(1 << 12)
    if ends and rest.strip(b"\r\n "):
        raise DataError(
            f"{table.name} goes on after the {table.count} vectors of {table.dim} numbers that its header promises: "
            "one of the two numbers is wrong, or the file is damaged."
        )


def _check_numbers(table: VectorTable) -> None:
    """Raise `DataError` where the numbers of a binary file are none that training gives, and its bytes say why: they
    are text, or usual numbers in the other byte order.
    """
    rows = list(islice(table.rows.values(), _LOOKED_AT))
    if not rows:
        return
    numbers = np.stack(rows)
    content = np.frombuffer(np.unique(numbers).tobytes(), np.uint8)
    what = None
    if content.size >= _ENOUGH and bool(((content >= 9) & (content < 127)).all()):
        what = "text: name the file's format"
    elif content.size >= _ENOUGH and _usual(numbers) <= 0.5 and _usual(numbers.byteswap()) > 0.95:
        what = "big-endian: write the file again with little-endian float32"
    if what:
        raise DataError(
            f"{table.name}: read as float32, its vectors hold numbers such as {rows[0][0]:.3g}. It is {what}."
        )


def _usual(numbers: np.ndarray) -> float:
    """The share of the numbers, zeros left aside, that are of a size that vectors have."""
    size = np.abs(np.unique(numbers[numbers != 0]))
    return float(((size > 1e-7) & (size < 1e7)).mean()) if size.size else 1.0


def _named(record: bytes, table: VectorTable, encoding: str) -> str:
    """The word at the beginning of a record."""
    try:
        word = record.removeprefix(b"\n").decode(encoding)
    except UnicodeDecodeError:
        word = "\0"
    if not word or any(ord(c) < 32 or ord(c) == 127 for c in word):
        what = f"not {encoding}, or holds control characters" if word else "empty"
        raise DataError(
            f"{table.name}, word {table.seen + 1} is {what}: the file is damaged, its header's dimension "
            f"({table.dim}) is wrong, or it has another encoding."
        )
    return word
