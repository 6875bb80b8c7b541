"""How the projections of the inputs on each direction are spread: counts in bins, for a look at single directions."""

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.stages.common.resources import device_name
from intriguing.stages.units import functions
from intriguing.stages.units.names import RAW
from intriguing.stages.units.tasks.scans import directions_of, moments_of
from intriguing.stages.units.tasks.tested_inputs import one_place, rows_of
from intriguing.units.spread import spread


@functions.HISTOGRAMS.implementation
def histograms(work: Work, parameters: functions.HistogramParameters) -> dict[str, pa.Table]:
    """The table `unit_histograms` of a layer: every direction of every basis; no rows where no input was read."""
    inputs = functions.TestedLayer(
        parameters.key.layer, parameters.draw, parameters.compute, parameters.reading, judge_layer=""
    )
    torch.set_num_threads(inputs.compute.threads)
    work.device = device_name()
    rows = rows_of(work, "activations", inputs.layer, inputs)
    ids, vectors = one_place(rows, inputs.draw.seed)
    values = np.ascontiguousarray(vectors[np.argsort(ids, kind="stable")], np.float32)
    keys = {**parameters.key.columns, "condition": RAW, "rotation_seed": 0, "n": len(values)}
    made = []
    for basis in parameters.bases if len(values) else ():
        directions = directions_of(basis, values.shape[1], inputs.draw.seed, moments_of(work))
        counted = spread(values, None if basis == "natural" else directions.columns)
        columns = {
            "direction": np.arange(len(counted.low), dtype=np.int32),
            "low": counted.low,
            "high": counted.high,
            "counts": pa.array(list(counted.counts), pa.list_(pa.int32())),
            "zeros": counted.zeros,
        }
        made.append(tables.UNIT_HISTOGRAMS.build(columns, basis=basis, **keys))
    return {"unit_histograms": pa.concat_tables(made) if made else tables.UNIT_HISTOGRAMS.schema.empty_table()}
