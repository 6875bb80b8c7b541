"""Transfer (section 4.2, tables 2 and 4): what was found for one model is fed to all of its data set."""

from collections.abc import Iterator
from typing import Any

from intriguing.engine.task import Task
from intriguing.stages.common.parameters import Compute
from intriguing.stages.common.planned import PlannedModel, PlannedSearch, part_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.transfer import functions
from intriguing.stages.transfer.spec import TransferSpec


def plan(section: TransferSpec, sweep: Sweep) -> Iterator[Task]:
    """Every model is fed the attacked inputs unchanged, and the images found for every model of its data set."""
    searches = [search for search in sweep.all(PlannedSearch) if search.target_rule != "each"]
    for target in sweep.models:
        of_target = [search for search in searches if search.model.key == target.key]
        for search in {search.number: search for search in of_target}.values():
            yield _unchanged(sweep, target, search)
        for search in searches:
            if search.model.dataset.name == target.dataset.name:
                yield _changed(section, sweep, search, target)


def _unchanged(sweep: Sweep, target: PlannedModel, search: PlannedSearch) -> Task:
    """The task that feeds a shard of the attacked inputs, unchanged, to `target`."""
    amount = search.shard.stop - search.shard.start
    return functions.PREDICT_UNCHANGED.task(
        f"clean/{target.task_part}/{search.number:05d}",
        functions.UnchangedParameters(target.key, search.attacked, search.shard, _compute(sweep)),
        **_fed(target, amount),
    )


def _changed(section: TransferSpec, sweep: Sweep, search: PlannedSearch, target: PlannedModel) -> Task:
    """The task that feeds to `target` the images that a shard of searches found."""
    source = search.model
    amount = (search.shard.stop - search.shard.start) * len(section.kinds)
    return functions.PREDICT_CHANGED.task(
        f"transfer/{search.task_part}/to/{part_of(target.name)}/{target.seed}",
        functions.ChangedParameters(
            key=target.key,
            compute=_compute(sweep),
            source_model=source.name,
            source_seed=source.seed,
            split=search.attacked.split,
            kinds=tuple(section.kinds),
            amplified_rms=section.amplified_rms,
            seed=sweep.seed,
        ),
        inputs={"distortions": search.distortions, "adversarial": search.adversarial},
        **_fed(target, amount),
    )


def _fed(target: PlannedModel, amount: int) -> dict[str, Any]:
    """What all tasks have in common that feed `amount` images to a model."""
    return {
        "resources": {"dataset": target.dataset.resource, "model": target.resource},
        "publish": {"transfer": "transfer"},
        "affinity": target.task_part,
        "amount": amount,
        "noun": "fed images",
        "rows": {"transfer": amount},
    }


def _compute(sweep: Sweep) -> Compute:
    return Compute(sweep.compute.threads, sweep.compute.slots)
