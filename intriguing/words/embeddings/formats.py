"""Read existing word vectors: word2vec text and binary, GloVe text, gensim KeyedVectors.

Text and binary files are read line by line, so that an error can name the line. Repeated words and vectors that are not
finite are skipped and counted in the result's `notes`; these also tell of a last line without an end, whose last number
may have been cut.
Vectors of unequal length and files that are too short or too long are errors, because the rest of such a file may be
wrong, too.
"""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from intriguing.errors import DataError, InputError, MissingExtraError, unknown_name
from intriguing.stats.findings import counted
from intriguing.words.embeddings.parsing import VectorTable, fits_a_line, is_wide, lines_of, read_binary, read_text
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.text.sources import DAMAGED, encoding_of, locate, marked, open_binary

FORMATS = ("auto", "word2vec", "word2vec-binary", "glove", "gensim")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive: unpack it and give the file inside",
    b"\xba\x16\x4f\x2f": "a fastText model: give its .vec file",
    b"\x93NUMPY": "an array without words: write a line of word and numbers for each row",
    b"\x89HDF": "an HDF5 file: write its vectors as text, a line of word and numbers each",
    b"PAR1": "a Parquet file: write its vectors as text, a line of word and numbers each",
}
_START = 1 << 16
_SMALL, _SMALL_COMPRESSED = 1 << 24, 1 << 22
_EARLY = 1000


def read_vectors(
    source: str, *, form: str = "auto", encoding: str = "utf-8", trust_pickle: bool = False, limit: int | None = None
) -> WordVectors:
    """The vectors in the file behind `source` (a path, plain or compressed, or ``gensim:NAME`` of gensim.downloader).

    form: one of `FORMATS`; ``auto`` recognises a KeyedVectors file by its first bytes, a word2vec file by its header
    line (two whole numbers), a binary one by bytes after it that are not text; any other file is GloVe. Fields are
    separated by spaces or tabs. A byte order mark takes precedence over `encoding`. limit: read only the first `limit`
    vectors. trust_pickle: must be True for KeyedVectors, which are pickles, so that reading one can run code. `counts`
    are -1 except for KeyedVectors with counts (`WordVectors.counted_in` sets them).

    Raises: `DataError` with the line or word, for unequal lengths, a wrong header, other separators or encodings, and
    files that are too short or too long.
    """
    if form not in FORMATS:
        raise unknown_name("vector format", form, FORMATS)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit}: read at least 1 vector, or None for all.")
    return _located(locate(source, "vector"), form, encoding, trust_pickle, limit, limit)


def _located(
    path: Path, form: str, encoding: str, trust_pickle: bool, limit: int | None, wanted: int | None
) -> WordVectors:
    """The first `limit` vectors of `path`, where the first `wanted` will be read."""
    try:
        return _read(path, form, encoding, trust_pickle, limit, wanted)
    except DAMAGED as error:
        if isinstance(error, (PermissionError, FileNotFoundError)):
            raise DataError(f"{path} cannot be read: {error}") from None
        raise DataError(
            f"{path.name} cannot be decompressed: it ends early or is damaged ({error}). Fetch it again."
        ) from None


def check_vectors(
    source: str,
    *,
    form: str = "auto",
    encoding: str = "utf-8",
    trust_pickle: bool = False,
    limit: int | None = None,
    least: int = 1,
) -> None:
    """Raise the errors of `read_vectors` that a small file, or the beginning and the size of a large one, show.

    Also refused are fewer words than `least`, or than the vectors have numbers (varimax, a control, has no answer
    then), and vectors of one number.
    """
    if form not in FORMATS:
        raise unknown_name("vector format", form, FORMATS)
    path = locate(source, "vector")
    small = path.stat().st_size < (_SMALL if _is_plain(path) else _SMALL_COMPRESSED)
    looked_at = limit if small else min(limit or _EARLY, _EARLY)
    vectors = _located(path, form, encoding, trust_pickle, looked_at, limit)
    if vectors.dim < 2:
        raise DataError(f"{path.name} has one number for each word: a single axis has no rotations to compare it with.")
    words, needed = len(vectors.words), max(least, vectors.dim)
    if looked_at == limit and words < needed:
        raise DataError(
            f"{path.name} gives {counted(words, 'word')} a vector, of {vectors.dim} numbers; judging their axes takes "
            f"at least {needed} words. Give more words, or the whole file."
        )


def _is_plain(path: Path) -> bool:
    """Whether a file is not compressed."""
    with open_binary(path) as file:
        return isinstance(file, io.BufferedReader)


def _read(
    path: Path, form: str, encoding: str, trust_pickle: bool, limit: int | None, wanted: int | None
) -> WordVectors:
    with open_binary(path) as file:
        start = file.read(_START)
    if form == "gensim" or (form == "auto" and start[:2] in _PICKLES):
        return _limited(_gensim_file(path, trust_pickle), limit)
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise DataError(f"{path.name} is {what}.")
    if form == "auto":
        form = _recognised(start, encoding)
    if form == "word2vec-binary":
        return _binary(path, encoding, limit, wanted)
    encoding = encoding_of(start, encoding, path.name)
    with open_binary(path) as file:
        lines = lines_of(file, path.name, encoding)
        count = dim = None
        if form == "word2vec":
            number, line = next(((n, t) for n, t in lines if t.strip()), (1, ""))
            count, dim = _header(line, number, path.name)
            if limit != wanted:
                _check_size(path, count, dim, _least(count, wanted), 2)
        table = VectorTable(path.name, form, _least(count, limit), dim, count)
        read_text(lines, table, ends=limit is None)
    return table.finish()


def _binary(path: Path, encoding: str, limit: int | None, wanted: int | None) -> WordVectors:
    with open_binary(path) as file:
        line = file.readline(_START)
        count, dim = _header(line.decode("latin-1").removeprefix("\u00ef\u00bb\u00bf"), 1, path.name)
        if is_wide(encoding):
            raise DataError(f"{path.name}: a binary file's words end at a space, which {encoding} does not allow.")
        if limit != wanted:
            _check_size(path, count, dim, _least(count, wanted), 4)
        table = VectorTable(path.name, "word2vec-binary", _least(count, limit), dim, count)
        read_binary(file, table, encoding, ends=limit is None)
    return table.finish()


def _check_size(path: Path, count: int, dim: int, wanted: int | None, bytes_each: int) -> None:
    """Raise `DataError` where a plain file has no room for the vectors `wanted`, of `bytes_each` for a number at least.

    For a large file, of which the beginning alone is looked at before the work.
    """
    size, needed = path.stat().st_size, (wanted or count) * (dim * bytes_each + 2)
    if _is_plain(path) and size < needed:
        raise DataError(
            f"{path.name} ends early: it has {size:,} bytes, and {wanted or count:,} vectors of {dim} numbers, as its "
            f"header promises {count:,}, take at least {needed:,}. Fetch the file again, or mend its first line."
        )


def _least(*numbers: int | None) -> int | None:
    return min((n for n in numbers if n is not None), default=None)


def _limited(vectors: WordVectors, limit: int | None) -> WordVectors:
    return vectors if limit is None else vectors.take(np.arange(min(limit, len(vectors.words))))


def from_keyed_vectors(vectors: Any) -> WordVectors:
    """The words, vectors and (where it holds them) counts of a gensim `KeyedVectors` in memory.

    Vectors that are not finite are left out and counted in `notes`.
    """
    words = tuple(str(word) for word in vectors.index_to_key)
    counts = vectors.expandos.get("count")
    word_counts = np.full(len(words), -1, np.int64) if counts is None else np.asarray(counts, np.int64)
    rows = np.array(vectors.vectors, np.float32).reshape(len(words), -1)
    good = np.flatnonzero(np.isfinite(rows).all(axis=1))
    if not len(good):
        raise DataError(f"These {type(vectors).__name__} hold no vectors that are finite ({len(words)} words).")
    notes = {"made_by": type(vectors).__name__}
    if len(good) < len(words):
        notes["vectors_not_finite"] = str(len(words) - len(good))
    return WordVectors(tuple(words[i] for i in good.tolist()), rows[good], word_counts[good], notes)


def _recognised(start: bytes, encoding: str) -> str:
    text = start.decode(marked(start, encoding), "replace").removeprefix("\ufeff").lstrip(" \t\r\n")
    header, rest = [*re.split(r"\r\n|\r|\n", text, maxsplit=1), ""][:2]
    if not _is_header(header):
        return "glove"
    # Bytes of float32 numbers hold control characters, which a text seldom does.
    if not any(ord(c) < 9 or 13 < ord(c) < 32 or c == "\ufffd" for c in rest[: 1 << 12]):
        return "word2vec"
    return "word2vec" if fits_a_line(rest.partition("\n")[0], int(header.split()[1])) else "word2vec-binary"


def _is_header(line: str) -> bool:
    """Whether a line is two whole numbers of a sensible length (Python cannot read one of 5,000 digits)."""
    fields = line.split()
    return len(fields) == 2 and all(f.isascii() and f.isdigit() and len(f) <= 15 for f in fields)


def _header(line: str, number: int, name: str) -> tuple[int, int]:
    if not _is_header(line) or int(line.split()[1]) < 1:
        raise DataError(
            f"{name}, line {number}: the first line of a word2vec file is 'COUNT DIMENSION', not {line.strip()[:60]!r}."
            " Is it GloVe?"
        )
    count, dim = line.split()
    return int(count), int(dim)


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
