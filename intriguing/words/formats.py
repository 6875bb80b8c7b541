"""Vectors that others trained: word2vec text and binary, GloVe text, gensim KeyedVectors.

Text and binary files are read here, line by line, so that a bad line is named. A word that repeats an earlier one, and
a vector that is not finite, are skipped and counted in the result's `notes`; vectors of unequal length and files that
end early are errors, because nothing tells what else is wrong with them.
"""

import lzma
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from intriguing.errors import DataError, InputError, MissingExtraError, unknown_name
from intriguing.words.sources import locate, open_binary
from intriguing.words.vectors import WordVectors

FORMATS = ("auto", "word2vec", "word2vec-binary", "glove", "gensim")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_vectors(
    source: str, *, form: str = "auto", encoding: str = "utf-8", trust_pickle: bool = False, limit: int | None = None
) -> WordVectors:
    """The vectors in the file behind `source` (a path, plain or compressed, or ``gensim:NAME`` of gensim.downloader).

    `form` is one of `FORMATS`; ``auto`` tells a KeyedVectors file by its first bytes, a word2vec file by its header
    line (two whole numbers), a binary one by bytes that are no text, and takes anything else for GloVe. `limit` reads
    the first so many vectors. `counts` are -1 but for KeyedVectors that hold them (`WordVectors.counted_in` sets them).

    KeyedVectors files are pickles: reading one runs whatever code it holds, so it wants `trust_pickle=True`.

    Raises `DataError` naming the line or word, for unequal lengths, wrong header counts and files that end early.
    """
    if form not in FORMATS:
        raise unknown_name("vector format", form, FORMATS)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit}: read at least 1 vector, or None for all.")
    path = locate(source)
    try:
        return _read(path, _recognised(path) if form == "auto" else form, encoding, trust_pickle, limit)
    except (EOFError, OSError, lzma.LZMAError) as error:
        raise DataError(
            f"{path.name} cannot be decompressed: it ends early or is damaged ({error}). Fetch it again."
        ) from None


def _read(path: Path, form: str, encoding: str, trust_pickle: bool, limit: int | None) -> WordVectors:
    if form == "gensim":
        return _gensim_file(path, trust_pickle)
    with open_binary(path) as file:
        if form == "word2vec-binary":
            count, dim = _header(file, path.name, encoding)
            table = _Table(path.name, form, count if limit is None else min(limit, count), dim)
            _read_binary(file, table, encoding)
            return table.finish()
        count, dim = _header(file, path.name, encoding) if form == "word2vec" else (None, None)
        wanted = count if limit is None else limit if count is None else min(limit, count)
        table = _Table(path.name, form, wanted, dim)
        _read_text(file, table, encoding, 2 if form == "word2vec" else 1, ends=limit is None)
    return table.finish()


def from_keyed_vectors(vectors: Any) -> WordVectors:
    """The words, vectors and (where it holds them) counts of a gensim `KeyedVectors` in memory."""
    words = tuple(str(word) for word in vectors.index_to_key)
    counts = vectors.expandos.get("count")
    found = np.full(len(words), -1, np.int64) if counts is None else np.asarray(counts, np.int64)
    return WordVectors(words, np.array(vectors.vectors, np.float32), found, {"made_by": type(vectors).__name__})


class _Table:
    """Rows as they come, with what was skipped."""

    def __init__(self, name: str, form: str, count: int | None, dim: int | None) -> None:
        self.name, self.form, self.count, self.dim = name, form, count, dim
        self.seen = self.repeated = self.not_finite = 0
        self.rows: dict[str, np.ndarray] = {}

    @property
    def full(self) -> bool:
        return self.count is not None and self.seen >= self.count

    def add(self, word: str, vector: np.ndarray, where: str) -> None:
        self.dim = self.dim or len(vector)
        if len(vector) != self.dim:
            raise DataError(
                f"{self.name}, {where}: {word!r} has {len(vector)} numbers, the vectors before it have {self.dim}. "
                "Remove or repair that line (a word that holds a space looks like this, too)."
            )
        self.seen += 1
        if word in self.rows:
            self.repeated += 1
        elif not np.isfinite(vector).all():
            self.not_finite += 1
        else:
            self.rows[word] = vector

    def finish(self) -> WordVectors:
        if self.form != "glove" and self.count is not None and self.seen < self.count:
            raise DataError(
                f"{self.name} ends after {self.seen} vectors, its header promises {self.count}. Fetch the file again, "
                "or put the right number into its first line."
            )
        if not self.rows:
            raise DataError(
                f"{self.name} holds no vectors (read as {self.form}). Name its format: {', '.join(FORMATS)}."
            )
        notes = {"made_by": f"{self.form} file {self.name}"}
        notes |= {"repeated_words": str(self.repeated), "vectors_not_finite": str(self.not_finite)}
        return WordVectors(
            tuple(self.rows), np.stack(list(self.rows.values())), np.full(len(self.rows), -1, np.int64), notes
        )


def _recognised(path: Path) -> str:
    with open_binary(path) as file:
        first = file.readline(1 << 16)
        rest = file.read(1 << 12)
    if first[:2] in _PICKLES:
        return "gensim"
    fields = first.split()
    if len(fields) != 2 or not all(f.isdigit() for f in fields):
        return "glove"
    # Bytes of float32 numbers hold control characters, which no text of words and digits does.
    return "word2vec-binary" if any(b < 9 or 13 < b < 32 for b in rest) else "word2vec"


def _is_header(fields: list[bytes]) -> bool:
    """Whether these are two whole numbers that a file can have (Python refuses to read one of 5,000 digits)."""
    return len(fields) == 2 and all(f.isdigit() and len(f) <= 15 for f in fields)


def _header(file: BinaryIO, name: str, encoding: str) -> tuple[int, int]:
    line = file.readline(1 << 16)
    fields = line.split()
    if not _is_header(fields) or int(fields[1]) < 1:
        shown = line[:60].decode(encoding, "replace")
        raise DataError(f"{name}: the first line of a word2vec file is 'COUNT DIMENSION', not {shown!r}. Is it GloVe?")
    return int(fields[0]), int(fields[1])


def _read_text(file: BinaryIO, table: _Table, encoding: str, number: int, *, ends: bool) -> None:
    """All lines from line `number` on, up to the table's count; with `ends` a line beyond it is an error."""
    for line in file:
        if line.strip() and table.full:
            if ends:
                raise DataError(
                    f"{table.name} goes on after the {table.count} vectors that its header promises (line {number}). "
                    "Put the right number into its first line."
                )
            return
        if line.strip():
            word, vector = _parsed(line, table, encoding, number)
            table.add(word, vector, f"line {number}")
        number += 1


def _parsed(line: bytes, table: _Table, encoding: str, number: int) -> tuple[str, np.ndarray]:
    try:
        fields = line.decode(encoding).rstrip("\r\n ").split(" ")
    except UnicodeDecodeError as error:
        raise DataError(f"{table.name}, line {number}: not {encoding} ({error.reason}). Name its encoding.") from None
    # GloVe's largest set holds words with spaces: the numbers are the last `dim` fields.
    size = table.dim if table.dim and len(fields) > table.dim else len(fields) - 1
    try:
        return " ".join(fields[:-size] if size else fields), np.array(fields[len(fields) - size :], np.float32)
    except ValueError:
        raise DataError(
            f"{table.name}, line {number} is not a word and {size} numbers: {' '.join(fields)[:60]!r}."
        ) from None


def _read_binary(file: BinaryIO, table: _Table, encoding: str) -> None:
    size = 4 * int(table.dim or 0)
    buffer, at = b"", 0
    while not table.full:
        space = buffer.find(b" ", at)
        while space < 0 or len(buffer) < space + 1 + size:
            more = file.read(1 << 22)
            if not more:
                return
            buffer, at = buffer[at:] + more, 0
            space = buffer.find(b" ", at)
        try:
            word = buffer[at:space].lstrip(b"\n").decode(encoding)
        except UnicodeDecodeError:
            raise DataError(
                f"{table.name}, word {table.seen + 1} is not {encoding}: the file is damaged, its header's dimension "
                f"({table.dim}) is wrong, or it has another encoding."
            ) from None
        table.add(word, np.frombuffer(buffer, np.float32, size // 4, space + 1), f"word {table.seen + 1}")
        at = space + 1 + size


def _gensim_file(path: Path, trust_pickle: bool) -> WordVectors:
    if not trust_pickle:
        raise DataError(
            f"{path.name} is a pickle, and reading a pickle runs the code in it. If you trust where it comes from, say "
            "trust_pickle=True; otherwise save it as word2vec text (KeyedVectors.save_word2vec_format)."
        )
    try:
        from gensim.models import KeyedVectors
    except ImportError:
        raise MissingExtraError("KeyedVectors files need gensim: pip install gensim") from None
    try:
        loaded: Any = KeyedVectors.load(str(path))
    except Exception as error:  # a pickle can raise anything
        raise DataError(f"{path.name}: gensim cannot load it ({type(error).__name__}: {error}).") from None
    return from_keyed_vectors(getattr(loaded, "wv", loaded))
