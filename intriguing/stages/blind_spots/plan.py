"""The blind spots (section 4.1): searches for the smallest change that makes a model wrong, in shards."""

from collections.abc import Iterator
from dataclasses import replace

from intriguing.engine.task import Output, Task
from intriguing.stages.blind_spots import functions
from intriguing.stages.blind_spots.spec import BlindSpotsSpec
from intriguing.stages.common.parameters import AttackedInputs, Compute, Shard
from intriguing.stages.common.planned import PlannedModel, PlannedSearch, check_counts, shards_of
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
        for grade in section.grades:
            for rule in section.target_rules:
                for number, shard in enumerate(shards):
                    search = _planned(model, rule, number, attacked, shard, "" if grade == section.grade else grade)
                    sweep.add(search)
                    yield _search(sweep, search, grade)


def _planned(
    model: PlannedModel, rule: str, number: int, attacked: AttackedInputs, shard: Shard, further_grade: str
) -> PlannedSearch:
    """The search as later stages see it."""
    unnamed = PlannedSearch(model, rule, number, attacked, shard, Output("", ""), Output("", ""), further_grade)
    name = f"search/{unnamed.task_part}"
    return replace(unnamed, distortions=Output(name, "distortions"), adversarial=Output(name, "adversarial"))


def _search(sweep: Sweep, search: PlannedSearch, grade: str) -> Task:
    model, amount = search.model, search.shard.stop - search.shard.start
    keeps = search.target_rule != "each"
    amount *= 1 if keeps else model.dataset.classes - 1
    return functions.SEARCH.task(
        search.distortions.task,
        functions.SearchParameters(
            key=model.key,
            attacked=search.attacked,
            shard=search.shard,
            target_rule=search.target_rule,
            grade=grade,
            classes=model.dataset.classes,
            compute=Compute(sweep.compute.threads, sweep.compute.slots),
        ),
        resources={"dataset": model.dataset.resource, "model": model.resource},
        publish={"distortions": "distortions", "adversarial": "adversarial"},
        affinity=model.task_part,
        shrink="slots",
        amount=amount,
        noun="searches",
        rows={"distortions": amount} | ({"adversarial": amount} if keeps else {}),
        size=amount * model.dataset.values * 4 if keeps else 0,
    )
