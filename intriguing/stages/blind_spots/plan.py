"""The blind spots (section 4.1): searches for the smallest change that makes a model wrong, in shards."""

from collections.abc import Iterator

from intriguing.engine.task import Output, Task
from intriguing.stages.blind_spots import functions
from intriguing.stages.blind_spots.spec import BlindSpotsSpec
from intriguing.stages.common.parameters import AttackedInputs, Compute
from intriguing.stages.common.planned import PlannedSearch, check_counts, shards_of
from intriguing.stages.common.stage import Sweep


def plan(section: BlindSpotsSpec, sweep: Sweep) -> Iterator[Task]:
    """Searches for every model, target rule and shard of attacked inputs.

    Raises:
        SpecError: a data set lacks the split, or has fewer inputs than are attacked.
    """
    for dataset in sweep.datasets.values():
        check_counts("blind_spots", dataset, section.split, {"images": section.images})
    attacked = AttackedInputs(section.split, section.images, sweep.seed)
    shards = shards_of(section.images, sweep.compute.searches_per_shard)
    for model in sweep.models:
        for rule in section.target_rules:
            for number, shard in enumerate(shards):
                name = f"search/{model.task_part}/{rule}/{number:05d}"
                outputs = Output(name, "distortions"), Output(name, "adversarial")
                search = PlannedSearch(model, rule, number, attacked, shard, *outputs)
                sweep.add(search)
                yield _search(section, sweep, search)


def _search(section: BlindSpotsSpec, sweep: Sweep, search: PlannedSearch) -> Task:
    model, amount = search.model, search.shard.stop - search.shard.start
    return functions.SEARCH.task(
        search.distortions.task,
        functions.SearchParameters(
            key=model.key,
            attacked=search.attacked,
            shard=search.shard,
            target_rule=search.target_rule,
            grade=section.grade,
            classes=model.dataset.classes,
            compute=Compute(sweep.compute.threads, sweep.compute.slots),
        ),
        resources={"dataset": model.dataset.resource, "model": model.resource},
        publish={"distortions": "distortions", "adversarial": "adversarial"},
        affinity=model.task_part,
        shrink="slots",
        amount=amount,
        noun="searches",
        rows={"distortions": amount, "adversarial": amount},
        size=amount * model.dataset.values * 4,
    )
