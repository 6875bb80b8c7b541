"""The store of a run on an object store.

    store/FP/NAME-HASH.parquet | .bin   the outputs; HASH is the beginning of their SHA-256
    store/FP/record.json                put there last

Nothing can be renamed there. So a fingerprint counts once its record is there, and the record is the first to go.
Outputs are named by content: where two drivers compute the same task, each record names outputs of its own driver. An
output that no record names (of a worker that was killed, of a second driver) is never read.

Where the store takes conditions, the first record stays, if it is whole and was made from the same inputs: the driver
that comes second takes it for its own, so that both go on from one output and publish one table.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path

from intriguing.basics.folders.bucket_conditions import Conditions, UnknownConditionError
from intriguing.basics.folders.files import temporary_name
from intriguing.basics.folders.folder import Folder
from intriguing.engine.storage.store import PROBE, RECORD, STORE_FILE, UNREADABLE, A, B, Record, Store, parse_record
from intriguing.errors import CorruptError, StoreError

log = logging.getLogger(__name__)

_TRIES = 4
"""How often a record is put there on a condition, while others change what stands there."""
_LEFT = re.compile(r"[^./\0][^/\0]*-[0-9a-f]{16}\.(parquet|bin)")


class FarStore(Store):
    """The finished outputs of the run in `run`.

    Raises:
        StoreError: the store cannot be reached, or refuses.
    """

    by_content = True

    def __init__(self, run: Folder) -> None:
        super().__init__(Path("store"))
        self._run = run

    def prepare(self) -> None:
        """Try that the folder can be written, and that files can be removed from it."""
        self._try(b"")

    def probe(self) -> None:
        """Write a megabyte and remove it."""
        self._try(bytes(PROBE))

    def check_free(self, fingerprints: Iterable[str]) -> None:
        """Nothing can stand in the way of a file."""

    def place(self, fingerprint: str) -> str:
        """Where the outputs are, as people are told."""
        return f"{self._run}/store/{fingerprint}"

    def fingerprints(self) -> set[str]:
        """Every fingerprint that has a record."""
        return {name.split("/")[1] for name in self._run.tree("store") if name.endswith(f"/{RECORD}")}

    def begun(self) -> set[str]:
        """Every fingerprint under which anything is stored."""
        return {name.split("/")[1] for name in self._run.tree("store") if name.count("/") == 2}

    def side_by_side(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """`function` of every item, in order, several at once."""
        return self._run.side_by_side(function, items)

    def find(self, fingerprint: str) -> tuple[Record | None, str]:
        """The record of `fingerprint`, or None and what is wrong.

        Inside of a glance at the folder the files are held against their recorded sizes.
        """
        where = self.place(fingerprint)
        try:
            record = parse_record(self._content(fingerprint, RECORD))
        except FileNotFoundError:
            return None, ""
        except UNREADABLE:
            return None, f"{where}/{RECORD} cannot be read"
        for stored in record.outputs.values() if self._run.is_glancing else ():
            try:
                size = self._run.look(f"store/{fingerprint}/{stored.file}")[0]
            except FileNotFoundError:
                return None, f"{where}/{stored.file} is missing"
            if size != stored.bytes:
                return None, f"{where}/{stored.file} has {size} bytes where {stored.bytes} were written"
        return record, ""

    def adopt(self, fingerprint: str, files: Mapping[str, bytes]) -> Record | None:
        """Store `files`, the record last; returns the record of another driver that came first and stays."""
        odd = [name for name in files if not STORE_FILE.fullmatch(name)]
        if odd:
            raise StoreError(f"{odd[0]!r} is no name for a file of the store.")
        for name in files.keys() - {RECORD}:
            self._run.write(f"store/{fingerprint}/{name}", files[name])
        return self._conclude(fingerprint, files[RECORD]) if RECORD in files else None

    def _conclude(self, fingerprint: str, content: bytes) -> Record | None:
        """Put the record there, unless one stays that came first."""
        name = f"store/{fingerprint}/{RECORD}"
        if (conditions := self._conditions) is not None:
            try:
                mark = ""
                for _ in range(_TRIES):
                    if conditions.write(name, content, mark):
                        return None
                    there, mark = conditions.read(name)
                    if (first := self._whole(fingerprint, there, parse_record(content).inputs)) is not None:
                        return first
            except UnknownConditionError as error:
                log.debug("%s is written without a condition: %s", name, error)
        self._run.write(name, content)
        return None

    @cached_property
    def _conditions(self) -> Conditions | None:
        return Conditions.of(self._run)

    def _whole(self, fingerprint: str, content: bytes, inputs: Mapping[str, str]) -> Record | None:
        """The record in `content`, if it was made from these `inputs` and all that it names is there, unchanged."""
        try:
            record = parse_record(content)
            for stored in record.outputs.values() if record.inputs == inputs else ():
                with self._reading(fingerprint, stored.file) as file:
                    self._check(fingerprint, stored, hashlib.file_digest(file, "sha256").hexdigest())
        except (CorruptError, *UNREADABLE):
            return None
        return record if record.inputs == inputs else None

    def discard(self, fingerprint: str) -> int:
        """Remove the record, then what it names and what was left by others; what is not ours stays."""
        where = f"store/{fingerprint}"
        sizes = {name.rpartition("/")[2]: look[0] for name, look in self._run.tree(where).items()}
        try:
            named = {stored.file for stored in parse_record(self._content(fingerprint, RECORD)).outputs.values()}
        except (OSError, *UNREADABLE):
            named = set()
        ours = {name for name in sizes if name in named or _LEFT.fullmatch(name)}
        self._run.remove(where, {RECORD} & sizes.keys())
        self._run.remove(where, ours)
        self._run.drop(where)
        return sum(size for name, size in sizes.items() if name in ours or name == RECORD)

    def _try(self, content: bytes) -> None:
        name = temporary_name()
        self._run.write(f"store/{name}", content)
        self._run.remove("store", [name])

    def _content(self, fingerprint: str, file: str) -> bytes:
        return self._run.read(f"store/{fingerprint}/{file}")

    def _source(self, fingerprint: str, file: str) -> BytesIO:
        return BytesIO(self._content(fingerprint, file))
