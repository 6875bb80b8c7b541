"""A model's predictions of unchanged inputs: read where an earlier task has made them, else made now."""

import numpy as np

from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.models import classes_of, predict
from intriguing.stages.common.resources import device


def clean_predictions(work: Work, split: Split, positions: np.ndarray, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """The readable ones of the `positions` of a split, in their order, and the model's classes for them, int64 (n,).

    The input `predictions` has tables with the columns `example_id` and `prediction`, or none. The resource `model` is
    fed what is not among them. A class is -1 where the model answers NaN.
    """
    classes = _known(work, split.ids[positions])
    seen = classes >= 0
    unknown = np.flatnonzero(~seen)
    for start in range(0, len(unknown), slots):
        part = unknown[start : start + slots]
        images, read, _ = split.readable(positions[part])
        if len(read):
            here = part[np.isin(positions[part], read)]
            classes[here] = classes_of(predict(work.resource("model"), images.to(device()), slots))
            seen[here] = True
    return np.asarray(positions)[seen], classes[seen]


def _known(work: Work, ids: np.ndarray) -> np.ndarray:
    """The classes of these inputs that earlier tasks have found; -1 where none has."""
    classes = np.full(len(ids), -1, np.int64)
    order = np.argsort(ids, kind="stable")
    for table in work.tables("predictions", ["example_id", "prediction"]):
        # Activations that earlier code stored have no predictions, nor have those of a model without logits.
        if not table.num_rows or "prediction" not in table.column_names or table["prediction"].null_count:
            continue
        inputs, first = np.unique(np.asarray(table["example_id"]), return_index=True)
        at = np.minimum(np.searchsorted(ids[order], inputs), max(0, len(ids) - 1))
        here = ids[order][at] == inputs if len(ids) else np.zeros(len(inputs), bool)
        classes[order[at[here]]] = np.asarray(table["prediction"])[first[here]]
    return classes
