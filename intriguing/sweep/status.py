"""How far a run is, from its folder alone: no cluster, no data set, no torch."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from intriguing.engine.lock import is_locked
from intriguing.engine.ownership import read_plan
from intriguing.engine.store import Store
from intriguing.errors import StoreError
from intriguing.files import read_file


def status_of(run: Path) -> dict[str, Any]:
    """Tasks done, failed and in all, amounts by noun, whether a driver is at work, and the command that continues.

    Raises:
        StoreError: the folder holds no run.
    """
    plan = read_plan(run)
    if not plan:
        raise StoreError(f"{run} holds no run: there is no plan.json that can be read.")
    store = Store(run / "store")
    there = store.fingerprints()
    finished = [t for t, f in plan["fingerprints"].items() if f in there and store.find(f)[0] is not None]
    done, total = Counter[str](), Counter[str]()
    for amount, noun in plan["amounts"].values():
        total[noun] += amount
    for task in finished:
        amount, noun = plan["amounts"][task]
        done[noun] += amount
    try:
        live = json.loads(read_file(run / "live" / "status.json"))
    except (OSError, ValueError):
        live = {}
    running = is_locked(run)
    return {
        "name": plan.get("name", run.name),
        "tasks": plan["tasks"],
        "done": len(finished),
        "failed": live.get("failed", 0),
        "running": running,
        "line": live.get("line", "") if running else "",
        "amounts": {noun: [done[noun], amount] for noun, amount in total.items()},
        "command": plan.get("command", ""),
    }
