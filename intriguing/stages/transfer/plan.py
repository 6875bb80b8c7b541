"""Transfer (section 4.2, tables 2 and 4): what was found for one model is fed to all of its data set."""

from collections.abc import Iterator
from typing import Any

from intriguing.engine.task import Output, Task
from intriguing.stages.common.parameters import Compute
from intriguing.stages.common.planned import (
    PlannedDataset,
    PlannedModel,
    PlannedRows,
    PlannedSearch,
    part_of,
    predictions_of,
)
from intriguing.stages.common.stage import Sweep
from intriguing.stages.transfer import functions
from intriguing.stages.transfer.spec import TransferSpec


def plan(section: TransferSpec, sweep: Sweep) -> Iterator[Task]:
    """Every model is fed the attacked inputs unchanged, and the images found for every model of its data set.

    A shard of images goes to all models in turn, and the next shard to them in the opposite order: a worker keeps the
    images from one model to the next, and the models that it had last.
    """
    searches = [search for search in sweep.all(PlannedSearch) if search.target_rule != "each"]
    for dataset in sweep.datasets.values():
        models = [model for model in sweep.models if model.dataset.name == dataset.name]
        here = [search for search in searches if search.model.dataset.name == dataset.name]
        yield from _controls(section, sweep, dataset, models, here)
        for i, search in enumerate(here):
            for target in reversed(models) if i % 2 else models:
                yield _changed(section, sweep, search, target)
                if section.sizes and len(models) > 1:
                    yield _rays(section, sweep, search, target)


def _controls(
    section: TransferSpec,
    sweep: Sweep,
    dataset: PlannedDataset,
    models: list[PlannedModel],
    searches: list[PlannedSearch],
) -> Iterator[Task]:
    """Each model is fed the attacked inputs unchanged and with noise, which has nothing to do with the searches."""
    shards = {search.number: search for search in searches}
    for target in models:
        for search in shards.values():
            yield _unchanged(sweep, target, search)
    if len(models) > 1 and (section.noise or section.sizes):
        for search in shards.values():
            for target in models:
                yield _noise(section, sweep, target, search)


def _unchanged(sweep: Sweep, target: PlannedModel, search: PlannedSearch) -> Task:
    """The task that feeds a shard of the attacked inputs, unchanged, to `target`."""
    task = functions.PREDICT_UNCHANGED.task(
        _clean(target, search).task,
        functions.UnchangedParameters(target.key, search.attacked, search.shard, _compute(sweep)),
        inputs={"predictions": predictions_of(sweep, target.key)},
        affinity=target.task_part,
        **_fed(target, _count(search), {"transfer": _count(search)}),
    )
    _add(sweep, task, target, "transfer", ("clean",))
    return task


def _noise(section: TransferSpec, sweep: Sweep, target: PlannedModel, search: PlannedSearch) -> Task:
    """The task that feeds a shard of the attacked inputs plus Gaussian noise to `target`."""
    parameters = functions.NoiseParameters(
        target.key, search.attacked, search.shard, _compute(sweep), tuple(section.noise), tuple(section.sizes)
    )
    tables = {"transfer": _count(search) * len(section.noise)}
    tables |= {"rays": _count(search)} if section.sizes else {}
    task = functions.FEED_NOISE.task(
        f"noise/{target.task_part}/{search.number:05d}",
        parameters,
        inputs={"clean": _clean(target, search)},
        affinity=f"{target.dataset.content_hash}/{search.number}",
        **_fed(target, _count(search) * (len(section.noise) + _fed_along(section)), tables),
    )
    for table, kind in (("transfer", "noise"), ("rays", "gaussian")):
        if tables.get(table):
            _add(sweep, task, target, table, (kind,))
    return task


def _changed(section: TransferSpec, sweep: Sweep, search: PlannedSearch, target: PlannedModel) -> Task:
    """The task that feeds to `target` the images that a shard of searches found."""
    source, amount = search.model, _count(search) * len(section.kinds)
    task = functions.PREDICT_CHANGED.task(
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
        affinity=search.distortions.task,
        **_fed(target, amount, {"transfer": amount}),
    )
    _add(sweep, task, target, "transfer", tuple(section.kinds), section.amplified_rms)
    return task


def _rays(section: TransferSpec, sweep: Sweep, search: PlannedSearch, target: PlannedModel) -> Task:
    """The task that follows the rays through the images that a shard of searches found, for `target`."""
    source = search.model
    task = functions.FOLLOW_RAYS.task(
        f"rays/{search.task_part}/to/{part_of(target.name)}/{target.seed}",
        functions.RaysParameters(
            target.key, _compute(sweep), source.name, source.seed, search.attacked.split, tuple(section.sizes)
        ),
        inputs={
            "distortions": search.distortions,
            "adversarial": search.adversarial,
            "clean": _clean(target, search),
        },
        affinity=search.distortions.task,
        **_fed(target, _count(search) * _fed_along(section), {"rays": _count(search)}),
    )
    _add(sweep, task, target, "rays", ("adversarial",))
    return task


def _add(
    sweep: Sweep, task: Task, target: PlannedModel, table: str, kinds: tuple[str, ...], amplified_rms: float = 0.0
) -> None:
    """Make the rows of a table that `task` publishes known to later stages."""
    sweep.add(PlannedRows(table, target.dataset.name, kinds, Output(task.name, table), amplified_rms))


def _clean(target: PlannedModel, search: PlannedSearch) -> Output:
    """The clean row of `target` on the inputs of a shard."""
    return Output(f"clean/{target.task_part}/{search.number:05d}", "transfer")


def _count(search: PlannedSearch) -> int:
    return search.shard.stop - search.shard.start


def _fed_along(section: TransferSpec) -> int:
    """How often a ray is fed, about: at each size, and some seven bisections."""
    return len(section.sizes) + 7 if section.sizes else 0


def _fed(target: PlannedModel, amount: int, tables: dict[str, int]) -> dict[str, Any]:
    """What all tasks have in common that feed `amount` images to a model, with the rows of the tables they publish."""
    return {
        "resources": {"dataset": target.dataset.resource, "model": target.resource},
        "publish": {name: name for name in tables},
        "amount": amount,
        "noun": "fed images",
        "rows": tables,
    }


def _compute(sweep: Sweep) -> Compute:
    return Compute(sweep.compute.threads, sweep.compute.slots)
