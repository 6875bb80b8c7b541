"""The size of stored activations, for a dry run: it is known once the model has been built."""

from collections.abc import Mapping

from intriguing.engine.task import Task
from intriguing.stages.common.parameters import parse
from intriguing.stages.units.functions import ACTIVATIONS


def stored_bytes(task: Task, layer_units: Mapping[str, int]) -> int:
    """Bytes of the activations that `task` stores; `layer_units` are the units of each layer of its model."""
    if task.function != ACTIVATIONS.function:
        return 0
    parameters = parse(ACTIVATIONS.parameters, task.parameters)
    number_bytes = 2 if parameters.reading.dtype == "float16" else 4
    return sum(layer_units.get(layer, 0) for layer in parameters.layers) * number_bytes * task.amount
