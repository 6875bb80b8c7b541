"""Plans without files: data sets that are described, not read."""

from intriguing.stages.common.planned import PlannedDataset
from intriguing.stages.models.inspection import DataAndModelFiles, ModelFiles
from intriguing.sweep.plan import build_plan

SIZES = {"train": 8000, "test": 2000}


def digits(name="mnist-sample", sizes=SIZES, content_hash="abc"):
    return PlannedDataset(name, "mnist-sample", None, content_hash, sizes, (1, 28, 28), 10)


def plan_of(spec, *datasets, models=None, texts=None):
    """The plan of `spec`; data sets that are not given are digits."""
    given = {dataset.name: dataset for dataset in datasets}
    planned = {name: given.get(name, digits(name)) for name in spec.datasets}
    known = {name: ModelFiles() for name in spec.models} | dict(models or {})
    plan, _ = build_plan(spec, {"models": DataAndModelFiles(planned, known), "words": texts})
    return plan
