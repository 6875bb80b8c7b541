"""The blind spots (section 4.1): searches for the smallest change that makes a model wrong, in shards."""

from collections.abc import Iterator

from intriguing.engine.task import Task
from intriguing.sweep import functions
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.common import Trained, dataset_resource, shards_of


def blind_spots(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    """Searches for every model, target rule and shard of attacked inputs."""
    attack = spec.blind_spots
    if attack is None:
        return
    for model in models:
        for rule in attack.target_rules:
            for i, (start, stop) in enumerate(searches(spec)):
                yield Task(
                    search_name(model, rule, i),
                    functions.SEARCH,
                    {**model.keys, **attacked(spec, start, stop), "target_rule": rule, "grade": attack.grade}
                    | {"classes": model.dataset.classes, "threads": spec.compute.threads, "slots": spec.compute.slots},
                    resources={"dataset": dataset_resource(model.dataset), "model": model.resource},
                    publish={"distortions": "distortions", "adversarial": "adversarial"},
                    affinity=model.place,
                    shrink="slots",
                    amount=stop - start,
                    noun="searches",
                    rows={"distortions": stop - start, "adversarial": stop - start},
                    size=(stop - start) * model.dataset.values * 4,
                )


def search_name(model: Trained, rule: str, shard: int) -> str:
    """The name of the task that searches a shard."""
    return f"search/{model.place}/{rule}/{shard:05d}"


def searches(spec: Spec) -> list[tuple[int, int]]:
    """The shards of attacked inputs, as (start, stop)."""
    assert spec.blind_spots is not None
    return shards_of(spec.blind_spots.images, spec.compute.searches_per_shard)


def attacked(spec: Spec, start: int, stop: int) -> dict[str, str | int]:
    """The parameters by which a task draws its attacked inputs."""
    attack = spec.blind_spots
    assert attack is not None
    return {"split": attack.split, "images": attack.images, "seed": spec.seed, "start": start, "stop": stop}
