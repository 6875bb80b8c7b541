"""In what batches a network is fed where only its forward pass is needed: collection, predictions, crops, transfer.

Where rows are cheap, every batch is padded to the `slots` of the sweep, and an input's numbers have the same bits in any
company. Where they are dear (`intriguing.models.rows`), padding would cost many times the work: a batch holds what there
is, and numbers agree to 1e-5 relative. What a row costs is counted, never timed, so that every executor, shard and
resumed run decides alike.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn

from intriguing.basics.torch_modes import evaluating
from intriguing.models.rows import MIDDLE, SMALL, Operations, least_operations

log = logging.getLogger(__name__)

_MEASURED: "WeakKeyDictionary[nn.Module, dict[tuple[object, ...], tuple[float, int]]]" = WeakKeyDictionary()
"""By network and kind of input: the operations of a row, and the smallest batch that the network accepts (0: only
full ones)."""


@dataclass(frozen=True)
class Batches:
    """How `count` inputs are divided into batches."""

    most: int
    """The largest number of rows of a batch."""
    least: int
    """A shorter batch is padded to it."""

    @property
    def is_padded(self) -> bool:
        """Whether every batch has the same size."""
        return self.least == self.most

    def parts(self, count: int) -> Iterator[slice]:
        """The batches of `count` inputs: full ones where batches are padded, else as even as can be."""
        if self.is_padded:
            yield from (slice(start, min(start + self.most, count)) for start in range(0, count, self.most))
            return
        pieces = -(-count // self.most)
        for i in range(pieces):
            yield slice(i * count // pieces, (i + 1) * count // pieces)

    def padding(self, rows: int) -> int:
        """The number of rows to add to a batch of `rows`."""
        return max(0, self.least - rows)


def batches_of(model: nn.Module, batch: torch.Tensor, slots: int) -> Batches:
    """The batches for `model`, whose inputs look like the rows of `batch` (n, ...), where a sweep asks for `slots` rows.

    The first time it sees such inputs, the model is called with one row (with two, if it does not accept one).
    """
    if not len(batch):
        return Batches(slots, slots)
    known = _MEASURED.setdefault(model, {})
    kind = (tuple(batch.shape[1:]), batch.dtype, batch.device.type)
    if kind not in known:
        known[kind] = _measured(model, batch)
        log.info("%s", _sentence(*known[kind]))
    operations, least = known[kind]
    if operations < MIDDLE or not least:
        return Batches(slots, slots)
    most = SMALL.most if batch.device.type == "cpu" else slots
    return Batches(min(most, slots), min(least, most, slots))


def _measured(model: nn.Module, batch: torch.Tensor) -> tuple[float, int]:
    """The operations of a row, and the smallest number of rows that the model accepts: 1, 2, or 0 for neither."""
    for rows in (1, 2):
        inputs = batch[torch.arange(rows, device=batch.device) % len(batch)]  # a copy: the model may change it
        try:
            with torch.inference_mode(False), torch.no_grad(), evaluating(model), Operations() as operations:
                out = model(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whoever feeds it says what is wrong
            log.debug("The model does not take %d rows: %s", rows, error)
            continue
        if not isinstance(out, torch.Tensor) or (out.ndim > 0 and len(out) == rows):
            return max(least_operations(model), operations.count / rows), rows
    return 0.0, 0


def _sentence(operations: float, least: int) -> str:
    if not least:
        return "The model takes full batches only: every batch is padded to `slots` rows."
    cost = f"A row costs the model {operations:.3g} operations"
    if operations < MIDDLE:
        return f"{cost}: every batch is padded to `slots` rows, and results do not depend on company to the bit."
    return f"{cost}: batches hold what there is, and results do not depend on company to 1e-5."
