"""Publishing: `tables/T/*.parquet` holds exactly the rows of the current plan.

Files are hard links into the store (copies where the file system has none), named after their task and fingerprint, so
that what is there can be compared with what should be by listing names. A table of more than 1,000 shards is compacted.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from intriguing.engine.store import Record, Store, explained, parquet, write_atomically
from intriguing.engine.task import Plan
from intriguing.tables import FAILURES, TASKS

log = logging.getLogger(__name__)

MOST_SHARDS = 1_000
_GROUP = 500
_OWN = {"tasks", "failures"}


@dataclass(frozen=True)
class Failure:
    """A task that gave up."""

    task: str
    function: str
    attempts: int
    error_type: str
    message: str
    traceback: str = ""
    """Where it was raised; of a lost worker, why it is gone. At most `LONGEST_TRACE` characters."""


LONGEST_TRACE = 16_000


def trimmed(trace: str) -> str:
    """`trace`, its middle left out where it is long: its beginning says where it started, its end what was raised."""
    text = trace.strip()
    if len(text) <= LONGEST_TRACE:
        return text
    first, last = LONGEST_TRACE // 4, 3 * LONGEST_TRACE // 4 - 100
    return f"{text[:first]}\n... {len(text) - first - last:,} characters are left out ...\n{text[-last:]}"


@dataclass(frozen=True)
class _Shard:
    name: str
    task: str
    output: str


class Publication:
    """The tables folder of a run: what of `plan` is finished goes in, everything else goes out."""

    def __init__(self, run: Path, plan: Plan, store: Store) -> None:
        self.folder = run / "tables"
        self._plan = plan
        self._store = store
        self._shards: dict[str, list[_Shard]] = {}
        for task in plan:
            for output, folder in task.publish.items():
                name = f"{slug(task.name)}-{plan.fingerprints[task.name][:16]}.parquet"
                self._shards.setdefault(folder, []).append(_Shard(name, task.name, output))

    def add(self, task: str, record: Record) -> None:
        """Publish what `task` just stored, so that a run can be read while it runs."""
        for output, folder in self._plan.tasks[task].publish.items():
            if output not in record.outputs:  # made by a version that did not tell it yet
                continue
            name = f"{slug(task)}-{self._plan.fingerprints[task][:16]}.parquet"
            self._link(_Shard(name, task, output), self.folder / folder / name, record)

    def settle(self, records: Mapping[str, Record]) -> None:
        """Make every folder hold the outputs of `records` and nothing else."""
        self._remove_strangers()
        for folder, shards in self._shards.items():
            there = [s for s in shards if s.task in records and s.output in records[s.task].outputs]
            if len(there) > MOST_SHARDS:
                self._settle_compacted(self.folder / folder, there, records)
            else:
                self._settle_links(self.folder / folder, there, records)

    def failures(self) -> list[Failure]:
        """What the table `failures` holds; nothing where it cannot be read."""
        wanted = pa.schema([f for f in FAILURES.schema if f.name != "rerun_command"])
        try:
            file = ds.dataset(self.folder / "failures" / "failures.parquet", schema=wanted, format="parquet")
            rows = file.to_table().to_pylist()
        except (OSError, pa.ArrowException):
            return []
        return [Failure(**row | {"traceback": row["traceback"] or ""}) for row in rows]

    def summarise(
        self, records: Mapping[str, Record], failures: Sequence[Failure], rerun: Callable[[str], str]
    ) -> None:
        """Write the tables `tasks` and `failures` anew, from the records."""
        names = [task.name for task in self._plan if task.name in records]
        kept = [records[name] for name in names]
        tasks = TASKS.build(
            {
                "task": names,
                "function": [r.function for r in kept],
                "fingerprint": [self._plan.fingerprints[name] for name in names],
                "attempts": [r.attempts for r in kept],
                "worker": [r.worker for r in kept],
                "device": [r.device for r in kept],
                "seconds": [r.seconds for r in kept],
                "peak_memory": [r.peak_memory for r in kept],
            }
        )
        failed = FAILURES.build(
            {
                "task": [f.task for f in failures],
                "function": [f.function for f in failures],
                "attempts": [f.attempts for f in failures],
                "error_type": [f.error_type for f in failures],
                "message": [f.message for f in failures],
                "rerun_command": [rerun(f.task) for f in failures],
                "traceback": [f.traceback or None for f in failures],
            }
        )
        for name, table in (("tasks", tasks), ("failures", failed)):
            write_atomically(self.folder / name / f"{name}.parquet", parquet(table))

    def _remove_strangers(self) -> None:
        wanted = {self.folder / f for f in self._shards} | {self.folder / f for f in _OWN}
        keep = wanted | {parent for folder in wanted for parent in folder.parents}
        for base, folders, _ in os.walk(self.folder):
            for folder in [f for f in folders if Path(base) / f not in keep]:
                shutil.rmtree(Path(base) / folder)
                folders.remove(folder)

    def _settle_links(self, folder: Path, shards: Sequence[_Shard], records: Mapping[str, Record]) -> None:
        there = _parquet_files(folder)
        for gone in there.keys() - {s.name for s in shards}:
            (folder / gone).unlink()
        for shard in shards:
            if there.get(shard.name) != records[shard.task].outputs[shard.output].bytes:
                self._link(shard, folder / shard.name, records[shard.task])

    def _settle_compacted(self, folder: Path, shards: Sequence[_Shard], records: Mapping[str, Record]) -> None:
        groups = [shards[i : i + _GROUP] for i in range(0, len(shards), _GROUP)]
        names = [f"part-{i:05d}-{_hash(s.name for s in group)}.parquet" for i, group in enumerate(groups)]
        there = _parquet_files(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, group in zip(names, groups, strict=True):
            if name not in there:
                tables = [self._table(shard) for shard in group]
                write_atomically(folder / name, parquet(pa.concat_tables(tables)))
        for gone in there.keys() - set(names):
            (folder / gone).unlink()

    def _table(self, shard: _Shard) -> pa.Table:
        found = self._store.read(self._plan.fingerprints[shard.task], shard.output)
        assert isinstance(found, pa.Table), f"{shard.task} publishes {shard.output!r}, which is no table"
        return found

    def _link(self, shard: _Shard, target: Path, record: Record) -> None:
        source = self._store.folder(self._plan.fingerprints[shard.task]) / record.outputs[shard.output].file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)
        except OSError as error:
            raise explained(error, target.parent) from error


def slug(name: str) -> str:
    """`name` as a file name: at most 80 letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", ".", name).strip(".")[:80] or "unnamed"


def _parquet_files(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    return {e.name: e.stat().st_size for e in os.scandir(folder) if e.name.endswith(".parquet")}


def _hash(names: object) -> str:
    return hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()  # type: ignore[arg-type]
