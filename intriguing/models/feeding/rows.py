"""What a row of a batch costs a network, and from that in how large batches the network is fed.

A batch that is always padded to one size gives each row the same bits, whatever its company: matrix products of other
sizes add in another order. The padding is worth its price where rows are cheap. Where they are dear a batch holds what
there is. The cost is counted, not timed, so that every machine, and every run that goes on, decides alike.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from intriguing.basics.torch_modes import without_compiler

MIDDLE, DEAR = 1e7, 1e8
"""Operations per row from which its cost is middling, or dear. A core makes about 2e10 in a second, so a dear row takes
5 ms or more: longer than everything that a search does for the row outside of the network."""
_REUSE = 4
"""A row uses the weights fewer times than this on average: then rows share the cost of reading them."""


@dataclass(frozen=True)
class Blocks:
    """How many rows a network is fed at once."""

    most: int
    least: int
    """A smaller number of rows is padded to it."""
    step: int = 1
    """Every number of rows is padded to a multiple of it."""
    fine: int = 0
    """A number below `step` is padded to a multiple of this; 0: to `step`."""
    apart: int = 0
    """So many rows beyond a multiple of `step`, and fewer, are a batch of their own."""

    def size(self, remaining: int) -> int:
        """The number of rows of the next batch, padding included, when so many rows remain."""
        whole = remaining // self.step * self.step
        if whole and 0 < remaining - whole <= self.apart:
            return min(self.most, whole)
        step = self.step if whole or not self.fine else self.fine
        return min(self.most, max(self.least, -(-remaining // step) * step))

    def padded(self, count: int) -> int:
        """The number of rows that the network sees when `count` rows are fed."""
        full, rest = divmod(count, self.most)
        seen = full * self.most
        while rest > 0:
            seen, rest = seen + self.size(rest), rest - self.size(rest)
        return seen

    def finer(self, rows: int, operations: float) -> "Blocks":
        """These blocks for a network that rounds multiples of so many rows alike, and takes so many operations a row.

        Where a row is so cheap that calling the network is the cost, few rows do not make a batch of their own.
        """
        return replace(self, least=rows, fine=rows, apart=2 * FINE if operations >= _APART else 0)


PADDED = Blocks(128, 32, 32)
"""For cheap rows."""
FINE = 8
"""Rows to whose multiples fewer than 32 are padded in networks that round them alike; in some it is twice as many."""
_APART = 3e5
"""Operations per row from which at most twice as many rows make a batch of their own beside a multiple of 32."""
SMALL = Blocks(8, 4)
"""For rows of middling cost: 4 to 8 rows are rounded alike, fewer are not (seen for residual and plain convolutional
networks and vision transformers, by torch with oneDNN and MKL)."""
SINGLE = Blocks(1, 1)
"""For dear rows, which gain little by company: a row alone, so that no other row can change it."""


def blocks_of(operations: float, least: float = 0.0) -> Blocks:
    """The batches for a network whose forward pass of one row takes so many operations; least: `least_operations`.

    Where a row uses a weight once or twice only, as in a large dense network, reading the weights is what takes time,
    and rows in one batch share it. Such a network's batches are those of the next lower cost.
    """
    kinds = [PADDED, SMALL, SINGLE]
    cost = (operations >= MIDDLE) + (operations >= DEAR)
    return kinds[max(0, cost - (operations < _REUSE * least))]


@dataclass
class Passes:
    """Rows that a model saw, forward and backward, padding included."""

    forward: int = 0
    backward: int = 0

    def __sub__(self, other: "Passes") -> "Passes":
        return Passes(self.forward - other.forward, self.backward - other.backward)

    def add(self, other: "Passes", times: int = 1) -> None:
        """Count so many times the rows of `other` as well."""
        self.forward += times * other.forward
        self.backward += times * other.backward


class Counted(nn.Module):
    """A model that counts the rows that it sees in `passes`."""

    def __init__(self, model: nn.Module, passes: Passes) -> None:
        super().__init__()
        self.model = model
        self.passes = passes

    def forward(self, x: Tensor) -> Any:
        """The model's output, as it is."""
        out = self.model(x)
        self.passes.forward += len(x)
        if isinstance(out, Tensor) and out.requires_grad:
            out.register_hook(self._seen)
        return out

    def _seen(self, gradient: Tensor) -> None:
        self.passes.backward += len(gradient)


@without_compiler
class Operations(TorchDispatchMode):
    """Inside, the floating-point operations of matrix products, convolutions and attention are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operator, and add what torch's formula for it gives."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            self.count += flop_registry[func.overloadpacket](*args, **kwargs, out_val=out)
        return out


def operations_of_row(model: nn.Module, batch: Tensor) -> float:
    """Floating-point operations (multiplications and additions) of the model's forward pass, per row of `batch`.

    batch: (b, *shape), of the dtype and device that the model takes; the model is called once, with a graph, since
    without one torch may fuse whole layers into operators that have no formula. Each weight counts as one
    multiplication and one addition at least, for what still has none.
    """
    with torch.inference_mode(False), torch.enable_grad(), Operations() as operations:
        leaf = batch.detach().clone().requires_grad_(batch.is_floating_point())
        model(leaf * 1)  # a model may change its input, which a leaf does not allow
    return max(least_operations(model), operations.count / len(batch))


def least_operations(model: nn.Module) -> float:
    """A multiplication and an addition per weight: what a row costs at least."""
    return 2.0 * sum(weight.numel() for weight in model.parameters())
