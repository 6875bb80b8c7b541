"""What of a plan is finished in a run folder: listed, and opened only where it changed since a run last looked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from intriguing.basics.folders.folder import Place, folder_at
from intriguing.basics.process.garbage import collected_later
from intriguing.engine.storage.known_records import digest_of
from intriguing.engine.storage.ledger import Ledger, Row, outputs_of
from intriguing.engine.storage.ownership import PLAN, read_plan
from intriguing.engine.storage.publish import check_free
from intriguing.engine.storage.store import Record, Store
from intriguing.engine.storage.verified import Verified
from intriguing.engine.task import Plan, Task
from intriguing.engine.worker import store_of


@dataclass(frozen=True)
class Examination:
    """What of a plan is finished: records by task, what was found damaged, and what is stored but not current.

    verified: which files were found whole, as `examine` left it; None: what the run folder has of that.
    """

    records: Ledger = field(default_factory=Ledger)
    damaged: tuple[str, ...] = ()
    stale: frozenset[str] = frozenset()
    dropped: int = 0
    verified: Verified | None = None

    def summary(self, plan: Plan) -> str:
        """What is to run, what is finished, and what the plan asks for no more, in a line."""
        finished = len(self.records)
        dropped = f"; {self.dropped:,} that an earlier spec asked for stay in the store" if self.dropped else ""
        return f"{len(plan):,} tasks: {len(plan) - finished:,} to run, {finished:,} reused{dropped}"


@collected_later()
def examine(plan: Plan, run: Place, verified: Verified | None = None) -> Examination:
    """Which tasks of `plan` are finished in `run`: stored, whole, and made from what is stored now.

    With `verified`, outputs that changed since they were last checked are hashed, and records that did not are not
    opened; without it, all records are opened, and sizes alone are compared.

    Raises:
        StoreError: something that is not ours stands in the place of what the plan writes.
    """
    store = store_of(run)
    with folder_at(run).glance():
        stored = store.fingerprints()
        known = _unchanged(stored, verified) if verified is not None else {}
        opened, damaged = _opened(plan, store, stored - known.keys())
        wrong = verified.wrong_outputs(opened) if verified is not None else {}
    records = Ledger()
    stale = set()
    for task in plan:
        fingerprint = plan.fingerprints[task.name]
        if fingerprint in wrong:
            damaged[task.name] = wrong[fingerprint]
        elif fingerprint in known and known[fingerprint][1] == _inputs_now(task, plan, records):
            records.adopt(task.name, known[fingerprint][0])
        elif fingerprint in opened and is_current(opened[fingerprint], task, plan, records):
            records[task.name] = opened[fingerprint]
            if verified is not None:
                verified.records.note(fingerprint, opened[fingerprint])
        elif fingerprint in known or fingerprint in opened:
            stale.add(task.name)
    store.check_free(f for name, f in plan.fingerprints.items() if name not in records)
    check_free(folder_at(run), plan)
    said = tuple(f"{what}: {name!r} is computed again" for name, what in damaged.items())
    before = read_plan(run)
    if len(records) and not before:
        said = (f"{run}/{PLAN} went, or is damaged: it is written anew, and what is finished is reused", *said)
    old = set(before.get("fingerprints", {}).values())
    dropped = len(old - set(plan.fingerprints.values()))
    return Examination(records, said, frozenset(stale), dropped, verified)


def _unchanged(stored: set[str], verified: Verified) -> dict[str, tuple[Row, bytes]]:
    """What is known of records that did not change since, nor their outputs: as a ledger has it, and their inputs."""
    return {
        fingerprint: (row, inputs)
        for fingerprint, row, inputs in verified.records.unchanged()
        if fingerprint in stored and verified.is_unchanged(fingerprint, outputs_of(row))
    }


def _opened(plan: Plan, store: Store, stored: set[str]) -> tuple[dict[str, Record], dict[str, str]]:
    """The stored records of `plan` by fingerprint, and what is wrong with the others by task."""
    names = {fingerprint: name for name, fingerprint in plan.fingerprints.items() if fingerprint in stored}
    records: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for (fingerprint, name), (record, wrong) in zip(names.items(), store.find_all(names), strict=True):
        if record is None:
            damaged[name] = wrong
        else:
            records[fingerprint] = record
    return records, damaged


def is_current(record: Record, task: Task, plan: Plan, records: Mapping[str, Record]) -> bool:
    """Whether `record` was made from what `records` tell of the task's inputs."""
    for need in task.needs:
        producer = records.get(need.task)
        if producer is None or need.name not in producer.outputs:
            return False
        if record.inputs.get(f"{plan.fingerprints[need.task]}/{need.name}") != producer.outputs[need.name].sha256:
            return False
    return True


def _inputs_now(task: Task, plan: Plan, records: Ledger) -> bytes | None:
    """The digest of what `task` would read; None where something of that is not there."""
    inputs = {}
    for need in task.needs:
        stored = records.output(need.task, need.name)
        if stored is None:
            return None
        inputs[f"{plan.fingerprints[need.task]}/{need.name}"] = stored.sha256
    return digest_of(inputs)
