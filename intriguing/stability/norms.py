"""Operator norms of layers, and the Lipschitz bound of a whole network.

    norm = ig.operator_norm(torch.nn.Conv2d(3, 8, 3, padding=1), (3, 32, 32))
    norm.norm, norm.upper_bound          # what the layer reaches, what it never exceeds

The paper multiplies the norms of the layers to bound how far a change of the input can carry (section 4.3 and table 5
of arXiv:1312.6199).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from intriguing.basics.torch_modes import without_autocast
from intriguing.errors import InputError, unknown_name
from intriguing.stability.lipschitz.gains import Gain, gain, lanczos
from intriguing.stability.tracing.graph import Graph, Node, UntracedError, is_passive, linear_function, trace
from intriguing.stability.tracing.ops import Affine, Concat, Convolution, Elementwise, Shape, Smooth, Sum, Unknown

METHODS = ("exact", "paper")
_TELLING = math.log(2)
"""Least logarithm of the product of all bounds, up or down, of which a share tells something."""
_HOME = torch.zeros(0, dtype=torch.float64)
"""Norms are computed on the CPU, in float64, wherever the model is."""


@dataclass(frozen=True)
class OperatorNorm:
    """The L2 gain of one layer; for a layer that is not linear, its Lipschitz constant."""

    norm: float
    """The norm, up to rounding: by a Lanczos iteration on the layer itself if there is no closed form. NaN if it is
    unknown (a stack of nonlinear layers, a layer norm)."""
    upper_bound: float
    """A proven upper bound of the norm; infinite for an unknown layer."""
    residual: float
    """An estimate of the error of `norm` (0 for closed forms); not a bound."""
    steps: int
    """Lanczos steps (0 for closed forms)."""
    kind: str
    """What the layer is: convolution, linear, max_pool, ...; for several operations their kinds joined by " + "."""
    method: str = "exact"
    """exact, or paper: the formula as printed, only for comparison (`upper_bound` is then infinite)."""


@dataclass(frozen=True)
class LayerNorm:
    """One layer of a network: its gain, and its share of the logarithm of the product of all."""

    layer: str
    """The layer's name, as `model.named_modules()` has it; of a function the operation's."""
    kind: str
    """What the layer is: convolution, linear, max_pool, ..."""
    stride: tuple[int, ...]
    """The stride of a convolution; empty for any other layer."""
    input_shape: Shape
    """The shape of the layer's input for one sample."""
    norm: float
    """The norm, as in `OperatorNorm`; NaN if it is unknown or was not asked for."""
    upper_bound: float
    """A proven upper bound of the norm; infinite for an unknown layer."""
    residual: float
    """An estimate of the error of `norm`."""
    steps: int
    """Lanczos steps (0 for closed forms)."""
    share: float
    """log(upper_bound) / log(product of all upper bounds); NaN where that product is near 1 (0.5 to 2) or infinite."""
    product_bound: float
    """No change of the network's input of L2 norm d moves this layer's output by more than d times this."""
    printed: float = math.nan
    """The value of the formula printed in the paper; NaN if it was not asked for, or the paper has none."""


@dataclass(frozen=True)
class NetworkNorms:
    """The layers of a network in order, and the Lipschitz bound that follows."""

    layers: tuple[LayerNorm, ...]
    """The layers in the order in which the network computes them."""
    product_bound: float
    """No change of the input of L2 norm d moves the output by more than d times this (inf where a layer is unknown). In
    a chain it is the product of the layers; branches that meet in a sum add up."""
    unknown: tuple[str, ...]
    """Layers that could not be bounded, each with its unknown operation."""


@without_autocast()
def operator_norm(layer: nn.Module, input_shape: Shape, *, method: str = "exact", tight: bool = False) -> OperatorNorm:
    """The operator norm of `layer` in eval mode for samples of `input_shape` (without the batch axis), in float64.

        import torch, intriguing as ig
        ig.operator_norm(torch.nn.Conv2d(3, 8, 3, stride=2), (3, 16, 16)).norm

    Strides, dilation, groups, every padding mode, transposed convolutions, pooling with overlap, batch norm in eval and
    elementwise functions are covered. For several linear operations in a row (a module of your own, a Sequential)
    `norm` is that of their composition, and `upper_bound` the product of their bounds. An unknown layer has an infinite
    bound, and `kind` names it.

    tight: prove a bound within 1e-6 of the norm if the layer is small enough (minutes for a layer of AlexNet).
    method: "paper" evaluates the formula printed in section 4.3 for convolutions: the largest norm of the stride-1
    blocks of the kernel's transform, times stride^-2. It is neither the norm nor a bound, and serves for comparison
    with table 5.

    Raises `InputError` for an invalid shape, `UnknownNameError` for an unknown method, `ModelError` if the layer cannot
    run on the shape. Source: arXiv:1312.6199, section 4.3.
    """
    if method not in METHODS:
        raise unknown_name("method of operator_norm", str(method), METHODS)
    try:
        graph = trace(layer, checked_shape(input_shape)).to(_HOME)
    except UntracedError as e:
        return OperatorNorm(math.nan, math.inf, math.nan, 0, f"unknown: {e}", method)
    nodes = [n for n in graph.nodes[1:] if not is_passive(n.op)]
    kind = " + ".join(n.op.kind for n in nodes if n.op is not None) or "identity"
    if method == "paper":
        return _printed(nodes, kind)
    if len(nodes) == 1 and nodes[0].op is not None:
        one = gain(nodes[0].op, _shapes(graph, nodes[0]), nodes[0].shape, tight=tight)
        return OperatorNorm(one.norm, one.upper, one.residual, one.steps, kind)
    upper = _bounds(graph, {id(n): _gain(graph, n, tight=tight, norm=False) for n in graph.nodes[1:]})[-1]
    if not nodes:
        return OperatorNorm(1.0, 1.0, 0.0, 0, kind)
    if not graph.is_affine:
        return OperatorNorm(math.nan, upper, math.nan, 0, kind)
    whole = lanczos(_Whole(graph), graph.nodes[0].shape, graph.nodes[-1].shape)
    return OperatorNorm(whole.norm, upper, whole.residual, whole.steps, kind)


@without_autocast()
def layer_norms(
    model: nn.Module,
    input_shape: Shape,
    *,
    tight: bool = False,
    norm: bool = True,
    printed: bool = False,
    graph: Graph | None = None,
) -> NetworkNorms:
    """The gain of every layer of `model` in order, for inputs of `input_shape`, and the network's Lipschitz bound.

    input_shape: that of one sample, without the batch axis. tight: as in `operator_norm`. norm: False leaves the norms
    out, which saves the Lanczos steps, and gives bounds alone. printed: add what the formula in section 4.3 gives.
    graph: that of `trace(model, input_shape)`, if it is there already. Layers that only move values (views, dropout in
    eval mode) are left out.

    Raises: `InputError` for a shape that is none, `UntracedError` (a `ModelError`) for a model that cannot be traced.

    Source: arXiv:1312.6199, section 4.3.
    """
    graph = (trace(model, checked_shape(input_shape)) if graph is None else graph).to(_HOME)
    gains = {id(n): _gain(graph, n, tight=tight, norm=norm) for n in graph.nodes[1:]}
    bounds = _bounds(graph, gains)
    rows = []
    known = [math.log(g.upper) for g in gains.values() if 0 < g.upper < math.inf]
    total = sum(known) if len(known) == len(gains) else math.nan
    for node, bound in zip(graph.nodes[1:], bounds[1:], strict=True):
        one = gains[id(node)]
        if is_passive(node.op) or node.op is None:
            continue
        share = math.log(one.upper) / total if abs(total) > _TELLING and 0 < one.upper < math.inf else math.nan
        stride = node.op.stride if isinstance(node.op, Convolution) else ()
        shape = _shapes(graph, node)[0]
        figures = one.norm, one.upper, one.residual, one.steps
        formula = _printed([node], node.op.kind).norm if printed else math.nan
        rows.append(LayerNorm(node.name, node.op.kind, stride, shape, *figures, share, bound, formula))
    return NetworkNorms(tuple(rows), bounds[-1], tuple(graph.unknown))


def checked_shape(shape: Shape) -> Shape:
    """`shape` as whole numbers of at least 1, or `InputError`."""
    try:
        found = tuple(int(n) for n in shape)
    except (TypeError, ValueError):
        found = ()
    if not found or min(found) < 1 or any(float(a) != b for a, b in zip(shape, found, strict=True)):
        raise InputError(
            f"input_shape = {shape!r}: give the shape of one sample without the batch, such as (3, 32, 32)."
        )
    return found


def _shapes(graph: Graph, node: Node) -> list[Shape]:
    return [graph.nodes[i].shape for i in node.inputs]


def _gain(graph: Graph, node: Node, *, tight: bool, norm: bool) -> Gain:
    op = node.op
    if op is None:
        return Gain(1.0, 1.0)
    if isinstance(op, Unknown):
        return Gain(math.nan, math.inf)
    return gain(op, _shapes(graph, node), node.shape, tight=tight, norm=norm)


def _bounds(graph: Graph, gains: dict[int, Gain]) -> list[float]:
    """For every node a bound on its Lipschitz constant in the network's input."""
    bounds = [1.0]
    for node in graph.nodes[1:]:
        before = [bounds[i] for i in node.inputs]
        if isinstance(node.op, Sum):
            bounds.append(sum(abs(c) * b for c, b in zip(node.op.coefficients, before, strict=True)))
        elif isinstance(node.op, Concat):
            bounds.append(math.sqrt(sum(b * b for b in before)))
        else:
            factor = gains[id(node)].upper
            bounds.append(math.inf if math.isinf(factor) else factor * max(before, default=math.inf))
    return bounds


class _Whole(Affine):
    """An affine graph as one operator."""

    def __init__(self, graph: Graph) -> None:
        self.forward, self.transposed = linear_function(graph)

    def linear(self, x: Tensor) -> Tensor:
        return self.forward(x)

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:
        return self.transposed(y)


def _printed(nodes: list[Node], kind: str) -> OperatorNorm:
    """The formula of section 4.3 as it is printed, for one layer."""
    nan = math.nan
    op = nodes[0].op if len(nodes) == 1 else None
    if isinstance(op, Convolution):
        value = _printed_convolution(op, nodes[0])
    elif isinstance(op, Smooth) and op.kind == "local_response_norm":
        value = op.attained
    elif isinstance(op, Elementwise) or kind == "max_pool":
        value = 1.0
    elif isinstance(op, Affine):
        value = gain(op, [()], (), norm=False).upper if kind == "linear" else nan
    else:
        value = nan
    return OperatorNorm(value, math.inf, nan, 0, kind, "paper")


def _printed_convolution(op: Convolution, node: Node) -> float:
    """Sup over frequencies of |A(xi)|, the blocks of the transform of the kernel at stride 1, times stride^-2.

    The grid is that of the output times the stride, four times finer for small ones.
    """
    d = len(op.stride)
    grid = [max(4 * k, m * s) for k, m, s in zip(op.weight.shape[2:], node.shape[-d:], op.stride, strict=True)]
    spectrum = torch.fft.rfftn(op.weight.double(), s=grid, dim=tuple(range(2, 2 + d)))
    blocks = spectrum.flatten(2).permute(2, 0, 1)
    gram = blocks @ blocks.mH if blocks.shape[1] <= blocks.shape[2] else blocks.mH @ blocks
    top = math.sqrt(max(float(torch.linalg.eigvalsh(gram).amax()), 0.0))
    return top / math.prod(op.stride)
