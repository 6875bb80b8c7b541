"""Plans without files: data sets that are described, not read."""

from collections.abc import Mapping
from typing import Any

from intriguing.engine.task import Plan
from intriguing.stages.common.planned import PlannedDataset
from intriguing.stages.models.inspection import DataAndModelFiles, ModelFiles
from intriguing.sweep.plan import build_plan
from intriguing.sweep.spec import Spec

SIZES = {"train": 8000, "test": 2000}


def digits(name: str = "mnist-sample", sizes: Mapping[str, int] = SIZES, content_hash: str = "abc") -> PlannedDataset:
    return PlannedDataset(name, "mnist-sample", None, content_hash, sizes, (1, 28, 28), 10)


def plan_of(
    spec: Spec, *datasets: PlannedDataset, models: Mapping[str, ModelFiles] | None = None, texts: Any = None
) -> Plan:
    """The plan of `spec`; data sets that are not given are digits."""
    given = {dataset.name: dataset for dataset in datasets}
    planned = {name: given.get(name, digits(name)) for name in spec.datasets}
    known = {name: ModelFiles() for name in spec.models} | dict(models or {})
    plan, _ = build_plan(spec, {"models": DataAndModelFiles(planned, known), "words": texts})
    return plan
