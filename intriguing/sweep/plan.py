"""The plan: reading this page is reading what a sweep does, in the paper's order.

Plain functions build the graph of tasks from a spec and the facts of its data sets; nothing is computed here, and
neither torch nor a data set's pixels are needed. Dependencies are per shard: a transfer cell starts when its first
shard of adversarial images is there.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType

from intriguing.engine.task import Plan, Task
from intriguing.errors import SpecError, unknown_name
from intriguing.naming import MOST_TASKS
from intriguing.sweep.facts import DatasetFacts, ModelFacts, TextFacts
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.blind_spots import blind_spots
from intriguing.sweep.stages.models import examples, models
from intriguing.sweep.stages.transfer import transfer
from intriguing.sweep.stages.units import units
from intriguing.sweep.stages.words import words


def build_plan(
    spec: Spec,
    datasets: Mapping[str, DatasetFacts],
    facts: Mapping[str, ModelFacts],
    texts: Mapping[str, TextFacts] = MappingProxyType({}),
) -> Plan:
    """All tasks of `spec`, each after the ones it needs.

    Raises:
        SpecError: the spec asks for more than its data sets hold; the message names the key.
    """
    _check(spec, datasets)
    made = list(models(spec, datasets, facts))
    trained = [model for model, _ in made]
    return Plan(
        _limited(
            chain(
                (examples(found) for found in datasets.values()),
                (task for _, task in made),
                units(spec, trained),  # section 3: do single units mean more than random directions?
                blind_spots(spec, trained),  # section 4.1: how small a change makes a model wrong?
                transfer(spec, trained),  # section 4.2: does it fool the others too?
                words(spec, texts),  # the follow-up: section 3's question, asked of word vectors
            )
        )
    )


def _limited(tasks: Iterable[Task]) -> Iterator[Task]:
    """`tasks`, as long as they fit in memory; raises `SpecError` beyond that."""
    for count, task in enumerate(tasks):
        if count == MOST_TASKS:
            raise SpecError(
                f"The spec asks for more than {MOST_TASKS:,} tasks. Raise rows_per_shard, rotations_per_shard or "
                "searches_per_shard in [compute], or cut the spec into several."
            )
        yield task


def _check(spec: Spec, datasets: Mapping[str, DatasetFacts]) -> None:
    for name, model in spec.models.items():
        for dataset in model.datasets or datasets:
            if model.is_trained and "train" not in datasets[dataset].sizes:
                raise SpecError(
                    f"models.{name}: data set {dataset!r} has no train split to train it on. Give the data set one, "
                    "name a file of `weights`, or write `train = false`."
                )
    sections = {"units": spec.units, "blind_spots": spec.blind_spots}
    for facts in datasets.values():
        for name, section in sections.items():
            if section is None:
                continue
            if section.split not in facts.sizes:
                raise SpecError(f"{name}.split: {unknown_name(f'split of {facts.name!r}', section.split, facts.sizes)}")
            size = facts.sizes[section.split]
            asked = {"rows": spec.units.rows or 0, "k": spec.units.k} if name == "units" and spec.units else {}
            if name == "blind_spots" and spec.blind_spots:
                asked = {"images": spec.blind_spots.images}
            limit = min(size, spec.units.rows or size) if name == "units" and spec.units else size
            for key, value in asked.items():
                most = limit if key == "k" else size
                if value > most:
                    raise SpecError(
                        f"{name}.{key} is {value}, and only {most} inputs of {facts.name!r} ({section.split} split) "
                        f"are there to choose from. Write at most {most}."
                    )
