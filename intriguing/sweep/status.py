"""How far a run is, from its folder alone: no cluster, no data set, no torch, and nothing that it names is executed."""

from collections import Counter
from typing import Any

from intriguing.basics.folders.folder import Place
from intriguing.basics.folders.saved_plan import LIVE_LISTS, command_at, read_saved_plan, read_status
from intriguing.basics.process.garbage import collected_later
from intriguing.engine.storage.lock import is_locked
from intriguing.engine.worker import store_of


@collected_later()
def status_of(run: Place) -> dict[str, Any]:
    """Tasks done, failed, blocked and in all, amounts by noun, whether a driver is at work, and how to continue.

    A task counts as done when the store has its folder, which comes into being whole; `intriguing verify` looks into
    it. Where a driver is at work, `live` has what `read_status` gives of it.

    Raises:
        StoreError: the folder holds no run.
        CorruptError: its plan.json is not what a run writes.
    """
    plan = read_saved_plan(run)
    stored = store_of(run).fingerprints()
    finished = [t for t, f in plan.fingerprints.items() if f in stored]
    done, total = Counter[str](), Counter[str]()
    for amount, noun in plan.amounts.values():
        total[noun] += amount
    for task in finished:
        amount, noun = plan.amounts.get(task, (0, ""))
        done[noun] += amount
    live = read_status(run)
    running = is_locked(run)
    return {
        "name": plan.name or run.name,
        "version": plan.version,
        "tasks": plan.tasks,
        "done": len(finished),
        "failed": live["failed"],
        "blocked": live["blocked"],
        "running": running,
        "line": live["line"] if running else "",
        "amounts": {noun: [done[noun], amount] for noun, amount in total.items()},
        "live": {key: live[key] for key in ("workers", "queued", *LIVE_LISTS)} if running else {},
        "command": command_at(plan.command, run),
    }
