"""Which files of a run were found whole, so that a run hashes a file only when it changed since.

Damage that leaves size, time and inode as they were (a failing disk) is for `intriguing.engine.verify`.
"""

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from intriguing.basics.folders.files import open_file
from intriguing.basics.folders.folder import LocalFolder, Look, Place, folder_at
from intriguing.engine.storage.known_records import KnownRecords
from intriguing.engine.storage.ledger import Row
from intriguing.engine.storage.store import Record, Stored
from intriguing.errors import StoreError

log = logging.getLogger(__name__)

INDEX = "live/verified.json"
_WORTH_A_LINE = 1 << 30


class Verified:
    """Which files of the run folder `run` were whole, and how they looked and their SHA-256 then.

    It is kept in live/verified.json: a cache, without which a run hashes everything once. Names are relative to `run`.
    """

    def __init__(self, run: Place) -> None:
        self._run = folder_at(run)
        self._changed = False
        self._noted: dict[str, str] = {}
        self.records = KnownRecords(self._run)
        self._files: dict[str, list[Any]] = {}
        with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
            content = json.loads(self._run.read(INDEX))
            self._files = {k: v for k, v in content["files"].items() if isinstance(v, list) and len(v) == 4}

    def sha256(self, name: str) -> str:
        """The hash that the file `name` had when it was last whole; "" if unknown."""
        if name in self._noted:
            return self._noted[name]
        return str(self._files[name][3]) if name in self._files else ""

    def holds(self, name: str, sha256: str) -> bool:
        """Whether the file `name` has this hash: as remembered, if it did not change since, or hashed now."""
        try:
            if self.unchanged(name, sha256):
                return True
            actual, look = self.hash(name)
        except OSError:
            return False
        if actual == sha256:
            self._note(name, look, sha256)
        return actual == sha256

    def unchanged(self, name: str, sha256: str) -> bool:
        """Whether the file `name` had this hash and did not change since; raises `OSError` where it is gone."""
        if name in self._noted:
            return self._noted[name] == sha256
        remembered = self._files.get(name)
        return remembered is not None and remembered[3] == sha256 and remembered[:3] == self._run.look(name)

    def note(self, name: str, sha256: str) -> None:
        """Remember that the file `name` has this hash: it was just written.

        How it looks is seen at once, or, where that is a request for each file, for all of them in `save`.
        """
        if self._run.is_far:
            self._noted[name] = sha256
            return
        with suppress(OSError):
            self._note(name, self._run.look(name), sha256)

    def moved(self, old: str, new: str) -> None:
        """The file `old` is called `new` now."""
        if self._run.is_far:  # a copy, which has a time of its own
            self._noted[new] = self.sha256(old)
            self.forget(old)
        elif old in self._files:
            self._files[new] = self._files.pop(old)
            self._changed = True

    def forget(self, name: str) -> None:
        """Forget what is known of the file `name`."""
        self._noted.pop(name, None)
        if self._files.pop(name, None) is not None:
            self._changed = True

    def note_outputs(self, fingerprint: str, record: Record) -> None:
        """Remember a task's record and the hashes of its outputs, which were just written."""
        self.records.note(fingerprint, record)
        for stored in record.outputs.values():
            self.note(stored_name(fingerprint, stored), stored.sha256)

    def forget_record(self, fingerprint: str, record: Record) -> None:
        """Forget what is known of the outputs of a task: they are hashed when they are next asked for."""
        self.records.forget(fingerprint)
        for stored in record.outputs.values():
            self.forget(stored_name(fingerprint, stored))

    def forget_outputs(self, fingerprints: Collection[str]) -> None:
        """Forget what is known of the outputs of `fingerprints`."""
        for name in [
            k for k in (*self._files, *self._noted) if k.startswith("store/") and k.split("/")[1] in fingerprints
        ]:
            self.forget(name)

    def wrong_output(self, fingerprint: str, record: Record) -> str:
        """What is wrong with the outputs of a task; "" where they are what was written."""
        for stored in record.outputs.values():
            name = stored_name(fingerprint, stored)
            if not self.holds(name, stored.sha256):
                return f"{self._run}/{name} was changed after it was written"
        return ""

    def wrong_outputs(self, records: Mapping[str, Record]) -> dict[str, str]:
        """What is wrong with the outputs of tasks, by fingerprint; hashes what changed since it was found whole."""
        changed = {f: r for f, r in records.items() if not self.is_unchanged(f, r.outputs)}
        size = sum(stored.bytes for record in changed.values() for stored in record.outputs.values())
        if size > _WORTH_A_LINE:
            log.info("checking %.1f GB of outputs that changed since they were last found whole", size / 1e9)
        return {f: wrong for f, r in changed.items() if (wrong := self.wrong_output(f, r))}

    def is_unchanged(self, fingerprint: str, outputs: Mapping[str, Stored]) -> bool:
        """Whether all `outputs` of a task are there as they were found whole."""
        try:
            return all(self.unchanged(stored_name(fingerprint, s), s.sha256) for s in outputs.values())
        except OSError:
            return False

    def save(self, finished: Iterable[tuple[str, Row]] | None = None) -> bool:
        """Write what is remembered, if it changed; False where it cannot be written, which stops nothing.

        Of records, where a driver says which tasks are `finished` (see `KnownRecords.save`).
        """
        if finished is not None:
            self.records.save(finished)
        if self._noted:
            noted, self._noted = self._noted, {}
            with self._run.glance():
                for name, sha256 in noted.items():
                    with suppress(OSError):
                        self._note(name, self._run.look(name), sha256)
        if self._changed:
            try:
                self._run.write(INDEX, json.dumps({"files": self._files}, separators=(",", ":")).encode())
            except StoreError as error:
                log.debug("%s", error)
                return False
            self._changed = False
        return True

    def hash(self, name: str) -> tuple[str, Look]:
        """The SHA-256 of a file now, and how it looked before it was read; raises `OSError` if it cannot be."""
        if isinstance(self._run, LocalFolder):
            return hash_file(self._run.path / name)
        look = self._run.look(name)
        return hashlib.sha256(self._run.read(name)).hexdigest(), look

    def _note(self, name: str, look: Look, sha256: str) -> None:
        if self._files.get(name) != [*look, sha256]:
            self._files[name] = [*look, sha256]
            self._changed = True


def stored_name(fingerprint: str, stored: Stored) -> str:
    """The name of an output below the run folder."""
    return f"store/{fingerprint}/{stored.file}"


def _look(status: os.stat_result) -> Look:
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def hash_file(path: Path) -> tuple[str, Look]:
    """The SHA-256 of a regular file, and how it looked before it was read; raises `OSError` if it cannot be."""
    with os.fdopen(open_file(path), "rb") as file:
        look = _look(os.fstat(file.fileno()))
        return hashlib.file_digest(file, "sha256").hexdigest(), look
