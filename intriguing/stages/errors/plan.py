"""The errors of loaded models; those of trained ones come from their training task."""

from collections.abc import Iterator

from intriguing.engine.task import Output, Task
from intriguing.stages.common.parameters import Compute
from intriguing.stages.common.planned import PlannedPredictions, predictions_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.errors import functions


def plan(section: object, sweep: Sweep) -> Iterator[Task]:
    """A task per loaded model, which feeds it those inputs whose predictions no task has made before."""
    compute = Compute(sweep.compute.threads, sweep.compute.slots)
    for model in sweep.models:
        if not model.is_loaded:
            continue
        task = functions.ERRORS.task(
            model.row.task,
            functions.ErrorsParameters(model.key, compute),
            inputs={"weights": model.weights, "predictions": predictions_of(sweep, model.key)},
            resources={"dataset": model.dataset.resource, "model": model.resource},
            publish={"models": "models"},
            affinity=model.task_part,
            amount=sum(model.dataset.sizes.values()),
            noun="fed images",
            rows={"models": 1},
        )
        sweep.add(PlannedPredictions(model.key, (Output(task.name, "predictions"),)))
        yield task
