"""The size of stored activations, for a dry run: it is known once the model has been built."""

from collections.abc import Mapping

from intriguing.engine.task import Task
from intriguing.stages.common.parameters import parse
from intriguing.stages.units.functions import ACTIVATIONS, STREAM


def stored_bytes(task: Task, layer_units: Mapping[str, int]) -> int:
    """Bytes of the activations that `task` stores; `layer_units` are the units of each layer of its model."""
    if task.function == ACTIVATIONS.function:
        collected = parse(ACTIVATIONS.parameters, task.parameters)
        layers, dtype, share = collected.layers, collected.reading.dtype, 1.0
    elif task.function == STREAM.function:
        scanned = parse(STREAM.parameters, task.parameters)
        layers, dtype, share = scanned.scanned, scanned.reading.dtype, min(1.0, scanned.kept / scanned.draw.rows)
    else:
        return 0
    number_bytes = 2 if dtype == "float16" else 4
    return round(sum(layer_units.get(layer, 0) for layer in layers) * number_bytes * task.amount * share)
