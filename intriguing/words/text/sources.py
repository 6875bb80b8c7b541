"""Sources of text: a file, the sample inside gensim, or a data set of `gensim.downloader`.

A source is a string, as in a spec:

- ``embedded``: the shortened English Wikipedia dump inside the gensim wheel (needs no download);
- ``gensim:NAME``: a data set of `gensim.downloader`, from its cache, or downloaded;
- anything else: the path of a text file, plain or compressed with gzip, bzip2 or xz.
"""

import bz2
import codecs
import gzip
import hashlib
import importlib.util
import logging
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_file, no_such
from intriguing.data.files import near_files
from intriguing.errors import DataError, InputError, MissingExtraError, unknown_name

EMBEDDED = "embedded"
_GENSIM = "gensim:"
_SAMPLE = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_BLOCK = 1 << 22
_ENDINGS = (".txt", ".vec", ".bin", ".kv", ".model", ".gz", ".bz2", ".xz")
"""Of the files that are named where the one that was asked for is missing."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error)
"""The errors of decompressing a damaged file."""


def locate(source: str, what: str = "text") -> Path:
    """The file of `source`; it is downloaded only for a ``gensim:`` name that is not in gensim's cache.

    what: of what kind the file should be, "text" or "vector", for an error's words.

    Raises: `DataError` if there is no such file or the download fails; `UnknownNameError` for a name that
    gensim.downloader does not have; `MissingExtraError` without gensim.
    """
    if source == EMBEDDED:
        return _sample()
    if source.startswith(_GENSIM):
        return _downloaded(source.removeprefix(_GENSIM))
    path = expanded(source)
    if not is_file(path):
        sample = f"{EMBEDDED!r} for the sample inside gensim, " if what == "text" else ""
        raise DataError(
            f"{no_such('file', source)}{near_files(path, _ENDINGS)} Give the path of a {what} file, {sample}or "
            f"'{_GENSIM}NAME' for one of gensim.downloader."
        )
    return path


def content_hash(source: str) -> str:
    """SHA-256 of the bytes of the file behind `source`, in hexadecimal; read in blocks, and gensim is not imported
    unless a ``gensim:`` name has to be downloaded.
    """
    with locate(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_binary(path: Path) -> BinaryIO:
    """The bytes of `path`, decompressed if its first bytes (not its name) are those of gzip, bzip2 or xz."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if magic.startswith(b"BZh"):
        return cast("BinaryIO", bz2.open(path, "rb"))
    if magic == b"\xfd7zXZ\x00":
        return cast("BinaryIO", lzma.open(path, "rb"))
    return path.open("rb")


def decoded_blocks(path: Path, encoding: str = "utf-8", undecodable: str = "error") -> Iterator[str]:
    """The text of `path` in blocks of about 4 MiB.

    A byte order mark takes precedence over `encoding`. undecodable: ``error`` raises `DataError` with the position of a
    byte that cannot be decoded; ``replace`` turns it into U+FFFD, which the caller drops and counts.
    """
    if undecodable not in ("error", "replace"):
        raise InputError(f"undecodable={undecodable!r}: use 'error' or 'replace'.")
    done, block = 0, b""
    with open_binary(path) as file:
        try:
            block = file.read(_BLOCK)
            encoding = encoding_of(block, encoding, path.name)
            decoder = _decoder(encoding, "strict" if undecodable == "error" else "replace")
            while block:
                text = decoder.decode(block)
                yield text if done else text.removeprefix("\ufeff")
                done += len(block)
                block = file.read(_BLOCK)
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            # The decoder counts from the bytes of the previous block that it has kept.
            carried = len(error.object) - len(block)
            raise DataError(
                f"{path.name}: byte {done - carried + error.start} is not {encoding} ({error.reason}). "
                "Name the file's encoding (encoding='latin-1', ...), or drop such words with undecodable='replace'."
            ) from None
        except DAMAGED as error:
            raise DataError(
                f"{path.name}: cannot be decompressed after {done} bytes ({error}). Fetch it again."
            ) from None


def marked(start: bytes, encoding: str) -> str:
    """The encoding of a text that begins with `start`: that of its byte order mark, else `encoding`."""
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        return encoding
    return next((name for mark, name in _MARKS if start.startswith(mark)), encoding)


def encoding_of(start: bytes, encoding: str, name: str) -> str:
    """The encoding of a text that begins with `start`, as `marked` returns it.

    Raises: `DataError` for an encoding that Python does not know, and for text that is UTF-16 or UTF-32 without a mark
    although `encoding` is another: its characters would be read with NULs between them.
    """
    _decoder(encoding, "strict")
    encoding = marked(start, encoding)
    part = start[: 1 << 12]
    if not codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")) and part.count(0) * 8 > len(part):
        kind = "utf-32" if part.count(0) * 8 > 5 * len(part) else "utf-16"
        order = "be" if part[:1] == b"\0" else "le"
        raise DataError(
            f"{name}: line 1 holds NULs between its characters, as UTF-16 and UTF-32 without a byte order mark do. "
            f"Name its encoding (encoding='{kind}-{order}')."
        )
    return encoding


def _decoder(encoding: str, errors: str) -> codecs.IncrementalDecoder:
    try:
        return codecs.getincrementaldecoder(encoding)(errors)
    except LookupError:
        raise DataError(f"encoding={encoding!r} is unknown to Python. Use 'utf-8', 'latin-1', 'utf-16', ...") from None


def _sample() -> Path:
    spec = importlib.util.find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("The embedded corpus ships inside gensim, which is not installed: pip install gensim")
    path = Path(spec.submodule_search_locations[0]) / "test" / "test_data" / _SAMPLE
    if not is_file(path):
        raise DataError(
            f"This installation of gensim lacks its test data ({_SAMPLE}). Install gensim from its wheel "
            "(pip install --force-reinstall gensim), or give the path of a text file."
        )
    return path


def _downloaded(name: str) -> Path:
    base = Path(os.environ.get("GENSIM_DATA_DIR") or Path.home() / "gensim-data")
    cached = sorted((base / name).glob("*.gz"))
    if len(cached) == 1:
        return cached[0]
    try:
        import gensim.downloader as downloader
    except ImportError:
        raise MissingExtraError(f"'{_GENSIM}{name}' needs gensim: pip install gensim") from None
    # It prints its own traceback without a network.
    log = logging.getLogger(downloader.__name__)
    before, log.disabled = log.disabled, True
    try:
        catalogue = cast("dict[str, list[str]]", downloader.info(name_only=True))
        names = [*catalogue["corpora"], *catalogue["models"]]
        if name in names:
            return Path(cast("str", downloader.load(name, return_path=True)))
    except Exception as error:  # urllib, ssl and socket errors, and gensim's own assertions on a damaged download
        raise DataError(
            f"gensim.downloader could not fetch {name!r} ({type(error).__name__}: {error}). Without a network, put the "
            f"file into {base / name} by hand, give the path of a text file, or use {EMBEDDED!r}."
        ) from None
    finally:
        log.disabled = before
    raise unknown_name("data set of gensim.downloader", name, names)
