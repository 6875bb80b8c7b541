"""The plan: every stage's tasks, in the paper's order.

Plain functions build the graph of tasks from a spec and what is known of its files; nothing is computed here, and
neither torch nor a data set's pixels are needed. Dependencies are per shard: a task
starts as soon as the shard that it reads is there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from intriguing.engine.task import Plan, Task
from intriguing.errors import SpecError
from intriguing.stages import STAGES
from intriguing.stages.common.stage import Sweep
from intriguing.sweep.limits import MOST_TASKS
from intriguing.sweep.spec import Spec, section_of


def build_plan(spec: Spec, files: Mapping[str, Any]) -> tuple[Plan, Sweep]:
    """All tasks of `spec`, each after the ones it needs, and what the stages planned.

    files: what each stage's `inspect` learnt, by the stage's name.

    Raises:
        SpecError: the spec asks for more than its data sets hold; the message names the key.
    """
    sweep = Sweep(spec.seed, spec.compute)
    return Plan(_tasks(spec, files, sweep)), sweep


def _tasks(spec: Spec, files: Mapping[str, Any], sweep: Sweep) -> Iterator[Task]:
    """The tasks of all stages; raises `SpecError` where there are more than fit in memory."""
    count = 0
    for stage in STAGES:
        section = section_of(spec, stage)
        if stage.section is not None and section is None:
            continue
        sweep.files = files.get(stage.name)
        for task in stage.tasks(section, sweep):
            count += 1
            if count > MOST_TASKS:
                raise SpecError(
                    f"The spec asks for more than {MOST_TASKS:,} tasks. Raise rows_per_shard, rotations_per_shard or "
                    "searches_per_shard in [compute], or cut the spec into several."
                )
            yield task
