"""Publishing: `tables/T/*.parquet` holds exactly the rows of the current plan.

Files are hard links into the store (copies where the file system has none), named after their task and fingerprint. A
table of more than 1,000 shards is compacted into parts, named after what is in them. Where one part ends and the next
begins is decided by the fingerprints at that place, so that a task more or less changes the part that it is in, and no
other. Only files with such names, in the folders of tables, are replaced or removed: what the user puts beside them
stays, and is not read as part of a table.
"""

import hashlib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing.basics.folders.files import explaining, is_table_file, names_in, obstacle, opened, regular_files
from intriguing.basics.folders.folder import Folder, LocalFolder, Place, folder_at
from intriguing.basics.process.garbage import collected_later
from intriguing.engine.storage.ledger import Ledger
from intriguing.engine.storage.store import Record, Store, Stored, parquet
from intriguing.engine.storage.verified import Verified, stored_name
from intriguing.engine.task import Plan
from intriguing.errors import CorruptError, StoreError
from intriguing.tables import FAILURES, TABLES, TASKS

log = logging.getLogger(__name__)

MOST_SHARDS = 1_000
"""More are made parts of. Readers open fewer files then, and take more memory: at 200 the page took twice as much."""
_PART = 400
"""How many shards make a part, on average; at least a quarter and at most thrice as many do."""
LARGE = 256 << 10
"""Bytes of a shard that keeps a file of its own: to compact such gains nothing, and takes memory."""
_AT_ONCE = 32
_LONG = 5.0
"""How many tables wait at most to be shown in a folder that is far, and how many seconds about."""
_OWN = ("tasks", "failures")
_HOW = ("function", "attempts", "worker", "device", "seconds", "peak_memory")
_NESTED = {"activations"}
"""Tables whose files lie in folders of their own."""


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


@dataclass(frozen=True, slots=True)
class Shard:
    """An output that a table's folder shows: which task's."""

    task: str
    fingerprint: str
    output: str

    @property
    def name(self) -> str:
        """The name of its file there."""
        return file_name(self.task, self.fingerprint)

    def stored(self, records: Mapping[str, Record]) -> Stored | None:
        """What `records` tell of it; None where it is not computed, or was by a version that did not make it yet."""
        if isinstance(records, Ledger):
            return records.output(self.task, self.output)
        return records[self.task].outputs.get(self.output) if self.task in records else None

    def sha256(self, records: Mapping[str, Record]) -> str:
        """The hash of its content."""
        return records[self.task].outputs[self.output].sha256


def shards_of(publish: Mapping[str, Mapping[str, str]], fingerprints: Mapping[str, str]) -> dict[str, list[Shard]]:
    """The shards of each folder below tables/; `publish` says into which folder each task's outputs go."""
    shards: dict[str, list[Shard]] = {}
    for task, outputs in publish.items():
        for output, folder in outputs.items():
            shards.setdefault(folder, []).append(Shard(task, fingerprints[task], output))
    return shards


def file_name(task: str, fingerprint: str) -> str:
    """The name of a task's file in the folder of a table."""
    return f"{slug(task)}-{fingerprint[:16]}.parquet"


def table_folders(run: Folder, folders: Iterable[str]) -> list[str]:
    """The folders below tables/ that this plan, which publishes into `folders`, or an earlier one can have made.

    Inner ones come first. Any other folder there is the user's, as a copy of a table is.
    """
    tops = {folder.partition("/")[0] for folder in folders} | TABLES.keys()
    nested = {folder.partition("/")[0] for folder in folders if "/" in folder} | _NESTED
    waiting, found = [""], []
    while waiting:
        where = waiting.pop()
        inner = [f"{where}/{name}".lstrip("/") for name in run.folders(f"tables/{where}")]
        inner = [folder for folder in inner if folder.partition("/")[0] in (nested if where else tops)]
        waiting += inner
        found += inner
    return found[::-1]


def files_of(shards: Sequence[Shard], records: Mapping[str, Record]) -> dict[str, list[Shard]]:
    """The files that a table's folder has of its `shards`, and the shards in each: those that `records` tell of."""
    if len(shards) <= MOST_SHARDS:
        return {shard.name: [shard] for shard in shards if shard.stored(records) is not None}
    files: dict[str, list[Shard]] = {}
    for i, cut in enumerate(_cut(shards)):
        files |= _files_of_cut(i, cut, records)
    return files


def _files_of_cut(i: int, cut: Sequence[Shard], records: Mapping[str, Record]) -> dict[str, list[Shard]]:
    """The part that holds what is finished of a cut, and the files of its large shards."""
    files: dict[str, list[Shard]] = {}
    small = []
    for shard in cut:
        stored = shard.stored(records)
        if stored is not None and stored.bytes > LARGE:
            files[shard.name] = [shard]
        elif stored is not None:
            small.append((shard, stored.sha256))
    if small:
        files[f"part-{i:05d}-{_hash(small)}.parquet"] = [shard for shard, _ in small]
    return files


def _cut(shards: Iterable[Shard]) -> Iterator[list[Shard]]:
    """`shards` in the groups that make parts: cut after fingerprints of a certain form, as long as that fits."""
    group: list[Shard] = []
    for shard in shards:
        group.append(shard)
        is_end = len(group) >= _PART // 4 and int(shard.fingerprint[:8], 16) % _PART == 0
        if is_end or len(group) >= 3 * _PART:
            yield group
            group = []
    if group:
        yield group


def check_free(run: Folder, plan: Plan) -> None:
    """Raise `StoreError` where something that is not ours stands in the place of a file or folder of a table."""
    if not isinstance(run, LocalFolder):
        return  # an object store has nothing but files
    for folder in {folder for task in plan for folder in task.publish.values()}.union(_OWN):
        path = run.path / "tables" / folder
        with suppress(FileNotFoundError), opened(run.path, f"tables/{folder}") as handle:
            odd = set(filter(is_table_file, names_in(handle))) - regular_files(handle)
            if odd:
                names = {file_name(t.name, plan.fingerprints[t.name]) for t in plan if folder in t.publish.values()}
                for name in sorted(odd & (names | {f"{own}.parquet" for own in _OWN})):
                    raise obstacle(path / name, "a file")


class Publication:
    """The tables folder of a run: what of `plan` is finished goes in, everything else of ours goes out."""

    def __init__(self, run: Place, plan: Plan, store: Store, verified: Verified | None = None) -> None:
        self._run = folder_at(run)
        self._plan = plan
        self._store = store
        self._verified = verified or Verified(run)
        counts = Counter(folder for task in plan for folder in task.publish.values())
        self._folders = set(counts)
        self._compacted: set[tuple[str, int]] = set()
        self._files: dict[tuple[str, int], dict[str, list[Shard]]] = {}
        self._changed: dict[str, set[str]] = {folder: set() for folder in counts}
        self._waiting: list[tuple[str, Shard, Record]] = []
        self._linked = time.monotonic()
        self._large = {folder for folder, count in counts.items() if count > MOST_SHARDS}

    def add(self, task: str, record: Record) -> None:
        """Publish what `task` just stored, so that a run can be read while it runs."""
        for output, folder in self._plan.tasks[task].publish.items():
            self._changed[folder].add(task)
            if output in record.outputs:  # an older version did not make it yet
                self._waiting.append((folder, Shard(task, self._plan.fingerprints[task], output), record))
        # Each is a request where the folder is far: several go at once, none waits for long.
        if not self._run.is_far or len(self._waiting) >= _AT_ONCE or time.monotonic() - self._linked > _LONG:
            self._link_waiting()

    def withdraw(self, task: str) -> None:
        """What `task` stored is damaged: it is no longer to be published."""
        for folder in self._plan.tasks[task].publish.values():
            self._changed[folder].add(task)

    def _link_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _ in self._run.side_by_side(lambda link: self._link(*link), waiting):
            pass
        self._linked = time.monotonic()

    def compact(self, records: Mapping[str, Record]) -> None:
        """Make parts of what is finished in large tables, where nothing is missing: so little is left for the end."""
        with explaining(f"{self._run}/tables"):
            self._link_waiting()
            for folder in self._large:
                for i, cut in enumerate(self._cuts[folder]):
                    if (folder, i) not in self._compacted and all(shard.task in records for shard in cut):
                        files = self._files_of(folder, i, records)
                        self._write_files(folder, files, records)
                        self._take_out(folder, {shard.name for shard in cut} - set(files))
                        self._compacted.add((folder, i))

    @collected_later()
    def settle(self, records: Mapping[str, Record]) -> None:
        """Make every folder hold the outputs of `records`, whole, and nothing else of ours."""
        self._waiting.clear()
        with explaining(f"{self._run}/tables"), self._run.glance():
            self._take_out_strangers()
            for folder, cuts in self._cuts.items():
                if folder in self._large:
                    groups: dict[str, list[Shard]] = {}
                    for i in range(len(cuts)):
                        groups |= self._files_of(folder, i, records)
                    self._write_files(folder, groups, records)
                    self._clean(folder, set(groups))
                else:
                    self._settle_links(folder, [s for s in cuts[0] if s.stored(records) is not None], records)

    @cached_property
    def _cuts(self) -> dict[str, list[list[Shard]]]:
        """The shards of each folder: in the groups that make parts where the table is large, else in one."""
        shards = shards_of({t.name: t.publish for t in self._plan if t.publish}, self._plan.fingerprints)
        return {folder: list(_cut(every)) if folder in self._large else [every] for folder, every in shards.items()}

    def _files_of(self, folder: str, i: int, records: Mapping[str, Record]) -> dict[str, list[Shard]]:
        """The files of a cut, as found before where none of its tasks has ended or been damaged since."""
        tasks = {shard.task for shard in self._cuts[folder][i]}
        if (folder, i) not in self._files or not self._changed[folder].isdisjoint(tasks):
            self._files[folder, i] = _files_of_cut(i, self._cuts[folder][i], records)
            self._changed[folder] -= tasks
        return self._files[folder, i]

    def failures(self) -> list[Failure]:
        """What the table `failures` holds; nothing where it cannot be read."""
        schema = pa.schema([f for f in FAILURES.schema if f.name != "rerun_command"])
        try:
            content = self._run.read("tables/failures/failures.parquet")
            rows = pq.read_table(pa.BufferReader(content), schema=schema).to_pylist()
        except (OSError, StoreError, pa.ArrowException):
            return []
        return [Failure(**row | {"traceback": row["traceback"] or ""}) for row in rows]

    @collected_later()
    def summarise(self, records: Ledger, failures: Sequence[Failure], rerun: Callable[[str], str]) -> None:
        """Write the tables `tasks` and `failures` anew, from the records."""
        names = [task.name for task in self._plan if task.name in records]
        rows = [records.how(name) for name in names]
        how = {what: [row[i] for row in rows] for i, what in enumerate(_HOW)}
        fingerprints = [self._plan.fingerprints[name] for name in names]
        tasks = TASKS.build({"task": names, "fingerprint": fingerprints, **how})
        self._write("tables/tasks/tasks.parquet", parquet(tasks))
        self.list_failures(failures, rerun)

    def list_failures(self, failures: Sequence[Failure], rerun: Callable[[str], str]) -> None:
        """Write the table `failures` anew."""
        columns = {
            "task": [f.task for f in failures],
            "function": [f.function for f in failures],
            "attempts": [f.attempts for f in failures],
            "error_type": [f.error_type for f in failures],
            "message": [f.message for f in failures],
            "rerun_command": [rerun(f.task) for f in failures],
            "traceback": [f.traceback or None for f in failures],
        }
        self._write("tables/failures/failures.parquet", parquet(FAILURES.build(columns)))

    def _take_out_strangers(self) -> None:
        """Remove our files from the folders of tables that the plan does not have, and the folders that this empties.

        Temporary files of a killed driver go from every table.
        """
        emptied: set[str] = set()
        for where in table_folders(self._run, self._folders):
            self._run.clear(f"tables/{where}")
            if where in self._folders or where in _OWN:
                continue
            count = len(self._names(where))
            self._clean(where, set())
            if (count or where in emptied) and self._run.drop(f"tables/{where}"):
                emptied.add(where.rpartition("/")[0])

    def _settle_links(self, folder: str, shards: Sequence[Shard], records: Mapping[str, Record]) -> None:
        published = self._clean(folder, {s.name for s in shards})
        kept = {s.name for s in shards if s.name in published and self._is_whole(folder, s, records[s.task])}
        for shard in shards:
            if shard.name in published - kept:
                log.warning(
                    "%s/tables/%s/%s is not what was computed: it is put there anew", self._run, folder, shard.name
                )
        self._waiting += [(folder, s, records[s.task]) for s in shards if s.name not in kept]
        self._link_waiting()

    def _write_files(self, folder: str, groups: Mapping[str, list[Shard]], records: Mapping[str, Record]) -> None:
        """Write the files of a large table that are not there; a part that has another place now is given its name."""
        published = self._names(folder)
        by_content = {_content_of(name): name for name in published if name.startswith("part-")}
        for name, group in groups.items():
            if not name.startswith("part-"):
                if name not in published or not self._is_whole(folder, group[0], records[group[0].task]):
                    self._link(folder, group[0], records[group[0].task])
                continue
            there = name if name in published else by_content.get(_content_of(name), "")
            sha256 = self._verified.sha256(f"tables/{folder}/{there}") if there else ""
            if not sha256 or not self._verified.holds(f"tables/{folder}/{there}", sha256):
                self._write(f"tables/{folder}/{name}", parquet(self._rows(group, records)))
            elif there != name:
                self._rename(folder, there, name)

    def _rows(self, group: Sequence[Shard], records: Mapping[str, Record]) -> pa.Table:
        """The rows of shards. A damaged one is forgotten by the index of whole files: the next run computes it anew."""
        try:
            return rows_of(self._store, group, records)
        except CorruptError as error:
            for shard in group:
                self._verified.forget_record(shard.fingerprint, records[shard.task])
            self._verified.save()
            raise CorruptError(f"{error} Run the same command again: it is computed anew.") from error

    def _rename(self, folder: str, old: str, new: str) -> None:
        self._run.rename(f"tables/{folder}/{old}", f"tables/{folder}/{new}")
        self._verified.moved(f"tables/{folder}/{old}", f"tables/{folder}/{new}")

    def _names(self, folder: str) -> set[str]:
        return set(filter(is_table_file, self._run.files(f"tables/{folder}")))

    def _clean(self, folder: str, kept: set[str]) -> set[str]:
        """Remove every file of ours that is not `kept` from a table's folder; returns the others."""
        ours = self._names(folder)
        self._take_out(folder, ours - kept)
        return ours & kept

    def _take_out(self, folder: str, names: Collection[str]) -> None:
        """Remove the files `names` from a table's folder, where they are regular files."""
        self._run.remove(f"tables/{folder}", names)
        for name in names:
            self._verified.forget(f"tables/{folder}/{name}")

    def _is_whole(self, folder: str, shard: Shard, record: Record) -> bool:
        """Whether a published file is the store's own, or has the content of it."""
        stored = record.outputs[shard.output]
        name = f"tables/{folder}/{shard.name}"
        if self._run.is_one(name, stored_name(shard.fingerprint, stored)):
            return True
        try:
            return self._run.look(name)[0] == stored.bytes and self._verified.holds(name, stored.sha256)
        except FileNotFoundError:  # it went: a second driver may be at work where nothing is locked
            return False

    def _link(self, folder: str, shard: Shard, record: Record) -> None:
        source = stored_name(shard.fingerprint, record.outputs[shard.output])
        self._run.link(source, f"tables/{folder}/{shard.name}")

    def _write(self, name: str, content: bytes) -> None:
        self._run.write(name, content)
        self._verified.note(name, hashlib.sha256(content).hexdigest())


def rows_of(store: Store, shards: Iterable[Shard], records: Mapping[str, Record]) -> pa.Table:
    """The rows of shards one after the other, from the store; a column that one of them lacks yet is null there."""

    def rows_in(shard: Shard) -> pa.Table:
        rows = store.read(shard.fingerprint, shard.output, record=records[shard.task])
        assert isinstance(rows, pa.Table), f"{shard.task} publishes {shard.output!r}, which is no table"
        return rows

    return pa.concat_tables(store.side_by_side(rows_in, shards), promote_options="default")


def slug(name: str) -> str:
    """`name` as a file name: at most 80 letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", ".", name).strip(".")[:80] or "unnamed"


def _hash(contents: Iterable[tuple[Shard, str]]) -> str:
    """A hash of the names and contents of shards: a part of another content is another file."""
    lines = [f"{shard.name} {sha256}" for shard, sha256 in contents]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def _content_of(name: str) -> str:
    """The hash in the name of a part."""
    return name.rpartition("-")[2]
