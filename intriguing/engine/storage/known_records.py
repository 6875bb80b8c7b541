"""Which records of a run were read, and how they looked: one that did not change is not opened again.

It is kept in live/records.json: a cache, without which a run opens every record once. `heads` lists what many records
share; `rows` has by fingerprint the record's look, the number of its head, the rest as the ledger packs it, and a
digest of what its task read.
"""

import hashlib
import json
import logging
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from intriguing.basics.folders.folder import Folder, Look
from intriguing.engine.storage.ledger import Head, Row, fits, is_head
from intriguing.engine.storage.store import RECORD, Record
from intriguing.errors import StoreError

log = logging.getLogger(__name__)

INDEX = "live/records.json"
_LOOK = struct.Struct("<qqQ16s")


def digest_of(inputs: Mapping[str, str]) -> bytes:
    """16 bytes that stand for what a task read: SHA-256 by fingerprint/output."""
    text = "\n".join(f"{name} {sha256}" for name, sha256 in sorted(inputs.items()))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class KnownRecords:
    """How the records of a run looked, by fingerprint, in some 150 bytes each."""

    def __init__(self, run: Folder) -> None:
        self._run = run
        self._looks: dict[str, bytes] = {}
        self._noted: dict[str, bytes] = {}
        self._changed = False

    def unchanged(self) -> Iterator[tuple[str, Row, bytes]]:
        """Fingerprint, row of the ledger and digest of the inputs of every record that is as it was."""
        heads, rows = self._read()
        for fingerprint, row in rows.items():
            with suppress(OSError, ValueError, TypeError, IndexError, AttributeError, struct.error):
                *look, number, packed, inputs = row
                known = (heads[number], bytes.fromhex(packed))
                if fits(known) and self._run.look(f"store/{fingerprint}/{RECORD}") == look:
                    digest = bytes.fromhex(inputs)
                    self._looks[fingerprint] = _LOOK.pack(*look, digest)
                    yield fingerprint, known, digest

    def note(self, fingerprint: str, record: Record) -> None:
        """Remember a record that was just written, or read."""
        digest = digest_of(record.inputs)
        if record.shrunk:
            return  # seldom, and not packed
        self._changed = True
        if self._run.is_far:
            self._noted[fingerprint] = digest
        else:
            self._look(fingerprint, digest)

    def forget(self, fingerprint: str) -> None:
        """Forget what is known of a record: the next run opens it."""
        self._noted.pop(fingerprint, None)
        self._changed |= self._looks.pop(fingerprint, None) is not None

    def save(self, finished: Iterable[tuple[str, Row]]) -> None:
        """Write what is known of the `finished` tasks, if it changed: fingerprints, and rows of the ledger."""
        if self._noted:
            noted, self._noted = self._noted, {}
            with self._run.glance():
                for fingerprint, digest in noted.items():
                    self._look(fingerprint, digest)
        if self._changed:
            numbers: dict[Head, int] = {}
            rows = []
            for fingerprint, (head, packed) in finished:
                if fingerprint in self._looks:
                    size, changed, inode, digest = _LOOK.unpack(self._looks[fingerprint])
                    number = numbers.setdefault(head, len(numbers))
                    # Nothing in a row needs to be escaped: put together here, it takes a third of json's time.
                    rows.append(
                        f'"{fingerprint}":[{size},{changed},{inode},{number},"{packed.hex()}","{digest.hex()}"]'
                    )
            heads = json.dumps(list(numbers), separators=(",", ":"))
            self._write(f'{{"heads":{heads},"rows":{{{",".join(rows)}}}}}')

    def drop(self) -> None:
        """Forget everything: the next run opens every record."""
        self._looks.clear()
        self._write(json.dumps({"heads": [], "rows": {}}))

    def _write(self, content: str) -> None:
        try:
            self._run.write(INDEX, content.encode())
            self._changed = False
        except StoreError as error:  # which stops nothing
            log.debug("%s", error)

    def _read(self) -> tuple[list[Head], dict[str, list]]:
        with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError):
            content = json.loads(self._run.read(INDEX))
            heads = [(f, w, d, tuple((n, file) for n, file in layout)) for f, w, d, layout in content["heads"]]
            if all(map(is_head, heads)):
                return heads, dict(content["rows"])
        return [], {}

    def _look(self, fingerprint: str, digest: bytes) -> None:
        with suppress(OSError):
            look: Look = self._run.look(f"store/{fingerprint}/{RECORD}")
            self._looks[fingerprint] = _LOOK.pack(*look, digest)
