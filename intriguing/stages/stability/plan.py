"""Stability (section 4.3): the norms of every model's layers, and what is proven of every search."""

from collections.abc import Iterator

from intriguing.engine.task import Task
from intriguing.stages.common.parameters import Compute
from intriguing.stages.common.planned import PlannedModel, PlannedSearch
from intriguing.stages.common.stage import Sweep
from intriguing.stages.stability import functions
from intriguing.stages.stability.spec import StabilitySpec

_ANY_CLASS = ("untargeted", "every")
"""Rules whose searches look for the same distance: that of the nearest wrong class."""


def plan(section: StabilitySpec, sweep: Sweep) -> Iterator[Task]:
    """A task of norms per model, and one of certificates per shard of its searches.

    Certificates are tasks of their own, not part of a search: they cost more than it, and a search that was made
    without them keeps its fingerprint.
    """
    for model in sweep.models:
        if section.norms:
            yield _norms(sweep, model)
        if section.certificates != "off":
            searches = [search for search in sweep.all(PlannedSearch) if search.model.key == model.key]
            for together in _together(searches):
                yield _certify(section, sweep, model, together)


def _together(searches: list[PlannedSearch]) -> list[list[PlannedSearch]]:
    """The searches that have one answer, of all grades: one proof serves them all."""
    groups: dict[tuple[str, int], list[PlannedSearch]] = {}
    for search in searches:
        rule = "any" if search.target_rule in _ANY_CLASS else search.target_rule
        groups.setdefault((rule, search.number), []).append(search)
    return list(groups.values())


def _norms(sweep: Sweep, model: PlannedModel) -> Task:
    return functions.NORMS.task(
        f"norms/{model.task_part}",
        functions.NormsParameters(model.key, model.dataset.shape, _compute(sweep)),
        resources={"model": model.resource},
        publish={"operator_norms": "operator_norms"},
        affinity=model.task_part,
        noun="models",
        rows={"operator_norms": 8},
    )


def _certify(section: StabilitySpec, sweep: Sweep, model: PlannedModel, together: list[PlannedSearch]) -> Task:
    first = together[0]
    images = first.shard.stop - first.shard.start
    amount = images * (model.dataset.classes - 1 if first.target_rule == "each" else 1)
    return functions.CERTIFY.task(
        f"certificates/{first.task_part}",
        functions.CertifyParameters(
            model.key, first.attacked.split, section.certificates, section.gigaflops, _compute(sweep)
        ),
        inputs={"distortions": tuple(search.distortions for search in together)},
        resources={"dataset": model.dataset.resource, "model": model.resource},
        publish={"certificates": "certificates"},
        affinity=model.task_part,
        amount=amount,
        noun="certificates",
        rows={"certificates": amount * len(together)},
    )


def _compute(sweep: Sweep) -> Compute:
    return Compute(sweep.compute.threads, sweep.compute.slots)
