"""The paper's claims: one task per data set holds all that was found and fed together."""

import json
from collections.abc import Iterator

from intriguing.engine.task import Output, Task
from intriguing.stages.common.planned import PlannedDataset, PlannedModel, PlannedRows, PlannedSearch, part_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.paper import functions
from intriguing.stages.paper.spec import PaperSpec


def plan(section: PaperSpec, sweep: Sweep) -> Iterator[Task]:
    """A comparison for each data set that has models."""
    for dataset in sweep.datasets.values():
        models = [model for model in sweep.models if model.dataset.name == dataset.name]
        if models:
            yield _compare(section, sweep, dataset, models)


def _compare(section: PaperSpec, sweep: Sweep, dataset: PlannedDataset, models: list[PlannedModel]) -> Task:
    searches = [search for search in sweep.all(PlannedSearch) if search.model.dataset.name == dataset.name]
    rows = [planned for planned in sweep.all(PlannedRows) if planned.dataset == dataset.name]
    return functions.COMPARE.task(
        f"paper/{part_of(dataset.name)}",
        functions.CompareParameters(
            dataset=dataset.name,
            source=dataset.source,
            models=tuple(_described(model) for model in models),
            sizes=dict(dataset.sizes),
            beside=dataset.name in section.beside,
            amplified_rms=max((planned.amplified_rms for planned in rows), default=0.0),
            seed=sweep.seed,
            draws=section.draws,
        ),
        inputs={
            "models": [model.row for model in models],
            "distortions": [search.distortions for search in searches],
            "clean": _of(rows, "transfer", "clean"),
            "changed": _of(rows, "transfer", "minimal", "amplified", "gaussian"),
            "noise": _of(rows, "transfer", "noise"),
            "noise_rays": _of(rows, "rays", "gaussian"),
        },
        publish={"paper_comparison": "paper_comparison", "paper_claims": "paper_claims"},
        noun="comparisons",
        rows={"paper_comparison": len(models) ** 2, "paper_claims": 8},
    )


def _of(rows: list[PlannedRows], table: str, *kinds: str) -> list[Output]:
    """The outputs with rows of a table about images of one of these kinds."""
    return [planned.output for planned in rows if planned.table == table and set(planned.kinds) & set(kinds)]


def _described(model: PlannedModel) -> tuple[str, int, str, str, str]:
    """Name, seed, family, recipe and training part. Models of one recipe differ by seed and training part alone."""
    built = model.architecture
    recipe = [built.architecture, built.options, built.source_hash, dict(model.training), model.weights_path]
    return model.name, model.seed, built.architecture, json.dumps(recipe, sort_keys=True), model.train_part
