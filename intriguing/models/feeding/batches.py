"""In what batches a network is fed where only its forward pass is needed: collection, predictions, crops, transfer.

Where rows are cheap, a batch has up to `slots` rows (fewer where so many inputs are large) and is padded to a multiple
of 32: batches of such sizes round alike, so an input's numbers have the same bits in any company. Where they are dear
(`intriguing.models.feeding.rows`), padding would cost many times the work: a batch holds what there is, and numbers
agree to 1e-5 relative. What a row costs is counted, never timed, so that every executor,
shard and resumed run decides alike.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from weakref import WeakKeyDictionary

import torch
from torch import nn

from intriguing.basics.process.memory import is_out_of_memory
from intriguing.basics.torch_modes import evaluating
from intriguing.models.examination import precisions
from intriguing.models.feeding.rows import PADDED, SMALL, Operations, blocks_of, least_operations

log = logging.getLogger(__name__)

FEW = 32
"""Inputs to hold at a time where they are large, or their rows dear: memory that is not given back in between. Of cheap
rows a batch is padded to a multiple of it."""
ROOM = 32 << 20
"""Bytes of the inputs of a padded batch at most, unless `FEW` of them take more."""
_SAID: set[str] = set()
_MEASURED: "WeakKeyDictionary[nn.Module, dict[tuple[object, ...], tuple[bool, int, torch.dtype]]]"
_MEASURED = WeakKeyDictionary()
"""By network and kind of input: what `_measured` found."""
_SENTENCES = {
    True: "The network is small ({:,.3g} million operations per image): batches are filled up to a multiple of 32, so "
    "that figures do not depend on which images go together, to the bit.",
    False: "The network is large ({:,.3g} million operations per image): images go through it a few at a time, and "
    "figures depend on which of them go together by rounding alone (1e-5).",
}


@dataclass(frozen=True)
class Batches:
    """How `count` inputs are divided into batches."""

    most: int
    """The largest number of rows of a batch."""
    least: int
    """A shorter batch is padded to it."""
    step: int = 1
    """A batch is padded to a multiple of it."""
    dtype: torch.dtype | None = None
    """The type that inputs are converted to, that of the model's weights; None: the model takes them as they are."""

    @property
    def is_padded(self) -> bool:
        """Whether batches are padded to sizes that round alike."""
        return self.step > 1 or self.least == self.most

    @property
    def together(self) -> int:
        """How many inputs to hold at a time: few where rows are dear, so that their memory is used again and again."""
        return self.most if self.is_padded else max(self.most, FEW)

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
        return min(self.most, max(self.least, -(-rows // self.step) * self.step)) - rows


def batches_of(model: nn.Module, batch: torch.Tensor, slots: int) -> Batches:
    """The batches for `model`, whose inputs are like the rows of `batch` (n, ...), where a sweep asks for `slots` rows.

    The first time it sees such inputs, the model is called with one row (with two, if it does not accept one).
    """
    if not len(batch):
        return Batches(slots, slots, slots)
    known = _MEASURED.setdefault(model, {})
    kind = (tuple(batch.shape[1:]), batch.dtype, batch.device.type)
    if kind not in known:
        known[kind] = _measured(model, batch)
    cheap, least, dtype = known[kind]
    other = None if dtype == batch.dtype else dtype
    on_host = batch.device.type == "cpu"
    if cheap:
        room = ROOM // max(1, batch[0].nbytes) // FEW * FEW
        rows = min(slots, max(FEW, room)) if least and on_host else slots
        step = FEW if least and on_host and rows % FEW == 0 else rows
        return Batches(rows, step, step, other)
    most = SMALL.most if on_host else slots
    return Batches(min(most, slots), min(least, most, slots), dtype=other)


def input_type(model: nn.Module, batch: torch.Tensor) -> torch.dtype:
    """The type of inputs that `model` takes: that of the `batch` (n, ...), or that of its weights.

    The model is called only where its weights have another type.
    """
    if len(precisions(model, batch.dtype)) == 1:
        return batch.dtype
    return batches_of(model, batch, len(batch)).dtype or batch.dtype


def _measured(model: nn.Module, batch: torch.Tensor) -> tuple[bool, int, torch.dtype]:
    """Whether rows are cheap, the smallest number of rows that the model accepts (1, 2, or 0 for neither), and the type
    of inputs that it takes.
    """
    # With a graph torch does not fuse layers into operators whose work nothing tells; not every model allows one.
    types = precisions(model, batch.dtype)
    for rows, dtype, graph in product((1, 2), types, (True, False)):
        # A copy, for the model may change it.
        inputs = batch[torch.arange(rows, device=batch.device) % len(batch)].to(dtype)
        try:
            with evaluating(model), torch.inference_mode(False), torch.set_grad_enabled(graph):
                inputs = inputs.clone().requires_grad_(graph and inputs.is_floating_point())
                with Operations() as operations:
                    out = model(inputs * 1)
        except Exception as error:  # whoever feeds it says what is wrong
            if is_out_of_memory(error):
                raise
            log.debug("The model does not take %d rows of %s: %s", rows, dtype, error)
            continue
        if not isinstance(out, torch.Tensor) or (out.ndim > 0 and len(out) == rows):
            least = least_operations(model)
            count = max(least, operations.count / rows)
            cheap = blocks_of(count, least) is PADDED
            _say(
                _SENTENCES[cheap].format(count / 1e6),
                logging.DEBUG if cheap else logging.INFO,
            )
            return cheap, rows, dtype
    _say("The model takes neither one image nor two: it gets full batches of compute.slots images.", logging.INFO)
    return True, 0, types[-1]


def _say(sentence: str, level: int) -> None:
    """Log a sentence once in a process: every task of a sweep builds its model anew."""
    if sentence not in _SAID:
        _SAID.add(sentence)
        log.log(level, sentence)
