"""A dry run: what a sweep would do, and how much of it is there already. Writes nothing."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from intriguing.data.factories import IMPORTED
from intriguing.engine.examination import examine
from intriguing.stages import STAGES
from intriguing.sweep.runner import Prepared


@dataclass(frozen=True)
class Estimate:
    """Tasks, rows and bytes of a plan; `bytes` before compression, of what is still to run."""

    folder: str
    tasks: int
    to_run: int
    reused: int
    dropped: int
    rows: int
    bytes: int
    device: str
    stages: list[dict[str, Any]]
    imported: dict[str, str]
    """The user's modules that were imported for this, and their files."""


def estimate(prepared: Prepared) -> Estimate:
    """What running `prepared` would do; its models are built to learn their layers' sizes.

    Raises:
        ModelError, UnknownNameError, WeightsError: as `intriguing.sweep.preflight.check_models`.
    """
    from intriguing.stages.common.resources import device_name
    from intriguing.sweep.preflight import check_models

    pairs = {(model.dataset.name, model.name) for model in prepared.sweep.models}
    units = check_models(prepared.spec, prepared.sweep, pairs)
    examination = examine(prepared.plan, prepared.out)
    storing = [(stage.stored_bytes.load(), stage.functions) for stage in STAGES if stage.stored_bytes]
    sizes = {f.function.name: size for size, functions in storing for f in functions}
    stages: dict[str, dict[str, Any]] = defaultdict(lambda: {"tasks": 0, "to_run": 0, "rows": 0, "bytes": 0})
    for task in prepared.plan:
        stage = stages[(task.function.path or task.function.name).rpartition(":")[2]]
        stage["tasks"] += 1
        if task.name in examination.records:
            continue
        stage["to_run"] += 1
        stage["rows"] += sum(task.rows.values())
        stage["bytes"] += task.size
        if task.function.name in sizes:
            model = str(task.parameters.get("dataset")), str(task.parameters.get("model"))
            stage["bytes"] += sizes[task.function.name](task, units.get(model, {}))
    return Estimate(
        folder=str(prepared.out),
        tasks=len(prepared.plan),
        to_run=len(prepared.plan) - len(examination.records),
        reused=len(examination.records),
        dropped=examination.dropped,
        rows=sum(s["rows"] for s in stages.values()),
        bytes=sum(s["bytes"] for s in stages.values()),
        device=f"this machine's device: {device_name()}, {prepared.spec.compute.threads} thread(s) a task",
        stages=[{"stage": name, **stage} for name, stage in stages.items()],
        imported=dict(sorted(IMPORTED.items())),
    )
