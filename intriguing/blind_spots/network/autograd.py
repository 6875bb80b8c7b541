"""The functions of autograd of which a network's output was made."""

from collections.abc import Iterator

from torch import Tensor
from torch.autograd.graph import Node


def functions_behind(out: Tensor) -> Iterator[Node]:
    """The nodes of the graph behind `out`, each once, the last one first; none for an output without a gradient."""
    waiting, seen = [out.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]
