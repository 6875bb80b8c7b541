"""Count a loaded model's errors."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import DataError
from intriguing.models import is_classifier, parameter_count, weights_hash
from intriguing.stages.common.clean import clean_predictions
from intriguing.stages.common.resources import device_name
from intriguing.stages.errors import functions


@functions.ERRORS.implementation
def errors(work: Work, parameters: functions.ErrorsParameters) -> dict[str, Any]:
    """The model's row of the table `models`, and its class for each readable input of every split (`predictions`)."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    net, splits = work.resource("model"), work.resource("dataset").splits
    shares: dict[str, float | None] = dict.fromkeys(("train", "test"))
    ids, classes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for name, split in splits.items() if is_classifier(net) else ():
        at, predictions = clean_predictions(work, split, np.arange(len(split)), parameters.compute.slots)
        if not len(at):
            raise DataError(f"None of the images of the split {name!r} can be read.")
        shares[name] = float(np.mean(predictions != split.labels[at]))
        ids.append(split.ids[at])
        classes.append(predictions)
    [weights] = work.blobs("weights")
    row = tables.MODELS.build(
        {},
        **parameters.key.columns,
        weights_hash=weights_hash(weights),
        parameters=parameter_count(net),
        train_error=shares["train"],
        test_error=shares["test"],
        train_part=None,
        other_error=None,
    )
    found = pa.table({"example_id": np.concatenate(ids), "prediction": np.concatenate(classes)})
    return {"models": row, "predictions": found}
