"""Verify a run: hash everything that its plan has stored and published, and name what is not what was written.

Nothing is mended here. What is damaged is forgotten by the run's index of whole files, so that the next run looks at
it, names it and computes it anew, also where a failing disk left size and time as they were.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing.basics.folders import seal
from intriguing.basics.folders.files import is_table_file
from intriguing.basics.folders.folder import Place, folder_at
from intriguing.engine.storage.lock import locked
from intriguing.engine.storage.ownership import PLAN, owned_plan
from intriguing.engine.storage.publish import Shard, file_name, files_of, rows_of, shards_of, table_folders
from intriguing.engine.storage.store import Record
from intriguing.engine.storage.verified import Verified, stored_name
from intriguing.engine.worker import store_of
from intriguing.errors import StoreError


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    `files` and `bytes` were hashed; `damaged` are sentences, one for each file that is not what was written; `missing`
    tasks are not computed yet; of the files `unknown`, nothing says what was written; `noted` tells whether the next
    run was made to look at what is damaged.
    """

    files: int
    bytes: int
    damaged: tuple[str, ...]
    missing: int
    unknown: tuple[str, ...]
    noted: bool

    def summary(self) -> str:
        """What was found, and how to mend it."""
        lines = [f"{self.files:,} files, {self.bytes / 1e6:,.1f} MB: {len(self.damaged)} damaged"]
        if self.missing:
            lines.append(f"{self.missing:,} tasks are not computed yet")
        if self.unknown:
            lines.append(
                f"{len(self.unknown):,} files of tables, such as {self.unknown[0]}, cannot be checked: nothing"
            )
            lines[-1] += " says what was written. The run's own command, given again, writes them anew"
        if self.damaged and not self.noted:
            lines.append("A run is at work there, or the folder cannot be written: verify again where that is not so")
        if self.damaged:
            lines.append("Give the run's own command again: what is damaged is computed anew")
        return ". ".join(lines) + "."


def verify(run: Place) -> Verification:
    """Hash every stored output of the plan of `run`, every published table file, the plan and the page.

    Raises:
        StoreError: the folder holds no run.
    """
    plan = owned_plan(run)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(run))
            noted = True
        except StoreError:  # another driver is at work, or the folder is read-only
            noted = False
        check = _Check(run, plan, alone=noted)
        with check.run.glance():
            check.everything()
        if noted:
            noted = check.verified.save()
            if check.damaged:
                check.verified.records.drop()
    return Verification(check.files, check.bytes, tuple(check.damaged), check.missing, tuple(check.unknown), noted)


def _publish_of(plan: Mapping[str, Any]) -> dict[str, dict[str, str]] | None:
    """Into which folder each task's outputs go; None where the plan does not say it in the form of a run."""
    publish = plan.get("publish")
    shaped = isinstance(publish, dict) and all(
        task in plan["fingerprints"] and isinstance(outputs, dict) and all(isinstance(f, str) for f in outputs.values())
        for task, outputs in publish.items()
    )
    return publish if shaped else None


class _Check:
    """One pass over all files of a run; `alone` where no driver writes at the same time."""

    def __init__(self, run: Place, plan: Mapping[str, Any], alone: bool) -> None:
        self.run = folder_at(run)
        self.files = self.bytes = self.missing = 0
        self.damaged: list[str] = []
        self.unknown: list[str] = []
        self.verified = Verified(run)
        self._fingerprints: dict[str, str] = plan["fingerprints"]
        self._publish = _publish_of(plan)
        if self._publish is None and "publish" in plan:
            self.damaged.append(f"{run}/{PLAN} says of tables what no run writes there")
        self._alone = alone
        self._store = store_of(run)
        self._records: dict[str, Record] = {}
        self._hashes: dict[tuple[int, int, int | str], str] = {}

    def everything(self) -> None:
        self._check_seals()
        stored_fingerprints = self._store.fingerprints()
        for task, fingerprint in self._fingerprints.items():
            record, wrong = self._store.find(fingerprint) if fingerprint in stored_fingerprints else (None, "")
            if record is not None:
                self._records[task] = record
                for stored in record.outputs.values():
                    self._check(stored_name(fingerprint, stored), stored.sha256)
            elif wrong:
                self.damaged.append(wrong)
            else:
                self.missing += 1
        expected = dict(self._expected())
        published = set(self._published())
        for name in sorted(published):
            self._check_table(name, expected.get(name))
        # A run that was stopped publishes the rest of what it finished when it goes on.
        if self._alone and not self.missing and self._publish is not None:
            self.damaged += [f"{self.run}/{name} is missing" for name in sorted(expected.keys() - published)]

    def _check_seals(self) -> None:
        """The plan and the page: of those that a version before sealed nothing is known."""
        for name, kind in ((PLAN, seal.PLAN), ("report.html", seal.PAGE)):
            with suppress(FileNotFoundError):
                content = self.run.read(name)
                self.files += 1
                self.bytes += len(content)
                if kind.is_broken(content):
                    self.damaged.append(f"{self.run}/{name} was changed after it was written")

    def _expected(self) -> Iterator[tuple[str, list[Shard]]]:
        """The files of every table's folder by name, and the shards in each."""
        if self._publish is not None:
            for folder, shards in shards_of(self._publish, self._fingerprints).items():
                for name, group in files_of(shards, self._records).items():
                    yield f"tables/{folder}/{name}", group

    def _published(self) -> Iterator[str]:
        """The names of all files of ours in the folders of tables."""
        folders = [folder for publish in (self._publish or {}).values() for folder in publish.values()]
        for where in table_folders(self.run, folders):
            names = self.run.files(f"tables/{where}")
            yield from (f"tables/{where}/{name}" for name in names if is_table_file(name))

    def _check_table(self, name: str, group: list[Shard] | None) -> None:
        last = name.rpartition("/")[2]
        if group is not None and group[0].name == last:
            self._check(name, group[0].sha256(self._records))
        elif task := self._tasks_by_file.get(last):
            if task in self._records:
                self._check(name, *(stored.sha256 for stored in self._records[task].outputs.values()))
            else:
                self.unknown.append(name)  # its record is damaged, which is said already
        elif sha256 := self.verified.sha256(name):
            self._check(name, sha256)
        elif group is not None:
            self._check_rows(name, group)
        elif last.startswith("part-") or last in ("tasks.parquet", "failures.parquet"):
            self.unknown.append(name)
        elif self._alone and not self.missing:
            self.damaged.append(f"{self.run}/{name} is not of the run's plan")

    @cached_property
    def _tasks_by_file(self) -> dict[str, str]:
        return {file_name(task, fingerprint): task for task, fingerprint in self._fingerprints.items()}

    def _check(self, name: str, *accepted: str) -> None:
        """Hash the file `name`, which must have one of the hashes `accepted`."""
        try:
            sha256 = self._hash(name)
        except OSError as error:
            self.damaged.append(f"{self.run}/{name} cannot be read: {error}")
            return
        if sha256 in accepted:
            self.verified.note(name, sha256)
        else:
            self.damaged.append(f"{self.run}/{name} was changed after it was written")
            self.verified.forget(name)

    def _hash(self, name: str) -> str:
        """The hash of a file; one that has several names is read once."""
        size, changed, inode = self.run.look(name)
        file = (size, changed, inode or name)
        if file not in self._hashes:
            self._hashes[file] = self.verified.hash(name)[0]
            self.bytes += size
        self.files += 1
        return self._hashes[file]

    def _check_rows(self, name: str, group: list[Shard]) -> None:
        """Hold a part of which nothing says what was written against the rows in the store."""
        self.files += 1
        try:
            rows = rows_of(self._store, group, self._records)
        except StoreError:  # named already
            self.unknown.append(name)
            return
        try:
            whole = pq.read_table(pa.BufferReader(self.run.read(name))).equals(rows)
        except (OSError, pa.ArrowException):
            whole = False
        if not whole:
            self.damaged.append(f"{self.run}/{name} was changed after it was written")
