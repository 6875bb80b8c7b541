"""The structure of a network, read from what its forward does: traced operations, never module types.

    graph = trace(model, (1, 28, 28))
    for node in graph.nodes: print(node.name, node.op.kind, node.shape)

So a normalisation in front, functional ReLUs, residual additions, views and hooks are all seen. A forward that depends
on the values of its input cannot be traced; one that is misread is caught, for the graph is checked against the model.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

from intriguing.basics.torch_modes import evaluating, one_at_a_time, without_compiler
from intriguing.errors import ModelError
from intriguing.stability.tracing.aliases import stale_read
from intriguing.stability.tracing.convert import Converter
from intriguing.stability.tracing.ops import Affine, Concat, Op, Shape, Sum, Unknown

_ROWS = 3
"""Rows of the example that is traced; an odd number that is unlikely to be a number of channels."""


class UntracedError(ModelError):
    """A model that runs, but whose structure cannot be read."""


@dataclass(frozen=True)
class Node:
    """One operation of a network."""

    name: str
    """The module that it belongs to, as `named_modules` has it, or what it does; unique in the graph."""
    op: Op | None
    """None for the input."""
    inputs: tuple[int, ...]
    """Indices of the nodes that it reads."""
    shape: Shape
    """Of one sample of its output; () where an operation before it is unknown."""


@dataclass(frozen=True)
class Graph:
    """A network as operations in the order of their evaluation; node 0 is the input, the last one the output."""

    nodes: tuple[Node, ...]
    dtype: torch.dtype = torch.float32
    """The narrowest floating-point dtype of the model's weights and of what its operations give."""

    @property
    def unknown(self) -> list[str]:
        """The names of operations that cannot be bounded, with what they are."""
        return [f"{n.name} ({n.op.kind})" for n in self.nodes if isinstance(n.op, Unknown) and not n.op.follows]

    @property
    def is_affine(self) -> bool:
        """Whether the output is an affine map of the input."""
        return all(n.op is None or isinstance(n.op, Affine | Sum | Concat) for n in self.nodes)

    def to(self, like: Tensor) -> "Graph":
        """The graph with its constants on the device and of the dtype of `like`."""
        nodes = (n if n.op is None else Node(n.name, n.op.to(like), n.inputs, n.shape) for n in self.nodes)
        return Graph(tuple(nodes), self.dtype)

    def values(self, x: Tensor) -> list[Tensor]:
        """The value (R, *shape) of every node for inputs `x` (R, *shape)."""
        values = [x]
        for node in self.nodes[1:]:
            assert node.op is not None
            values.append(node.op.apply(*(values[i] for i in node.inputs)))
        return values


@one_at_a_time()
def trace(model: nn.Module, shape: Shape) -> Graph:
    """The graph of `model` in eval mode, for samples of `shape` (without the batch axis), constants in float64.

    Operations that nothing here can bound stay in it as `Unknown`. Raises `UntracedError`, a `ModelError`, where the
    model cannot be traced (its forward depends on values of its input) or where graph and model disagree; `ModelError`
    where the model fails on this shape.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"A {type(model).__name__} cannot be traced: give a torch.nn.Module.")
    parameter = next(iter(model.parameters()), None)
    parameter = parameter if parameter is not None else next(iter(model.buffers()), None)
    like = parameter if parameter is not None and parameter.is_floating_point() else torch.zeros(())
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(_ROWS, *shape, generator=generator).to(device=like.device, dtype=like.dtype)
    owners: dict[str, str] = {}
    with evaluating(model), torch.no_grad(), warnings.catch_warnings(), _named(model, owners):
        warnings.simplefilter("ignore")
        try:
            expected = model(x.clone())
        except Exception as e:
            raise ModelError(
                f"{type(model).__name__} fails on inputs of {tuple(shape)}: {type(e).__name__}: {_line(e)}. "
                "Give the shape of one sample without the batch axis."
            ) from e
        if not isinstance(expected, Tensor) or expected.shape[:1] != x.shape[:1]:
            raise UntracedError(f"{type(model).__name__} gives no tensor with a row for every input.")
        if not expected.numel():
            raise ModelError(f"{type(model).__name__} gives no values for inputs of {tuple(shape)}.")
        try:
            traced = make_fx(model, pre_dispatch=True)(x.clone())
        except Exception as e:
            raise UntracedError(
                f"{type(model).__name__} cannot be traced on inputs of {tuple(shape)}: {type(e).__name__}: {_line(e)}. "
                "A forward whose steps depend on values of the input has no fixed structure to bound."
            ) from e
    stale = stale_read(traced.graph)
    if stale is not None:
        raise UntracedError(
            f"{type(model).__name__} changes a tensor in place ({stale}) and reads another view of it afterwards, "
            "which the trace does not follow: write the change as a new tensor."
        )
    try:
        graph = _build(traced, x, owners, _dtype(model, x))
    except Exception as e:
        raise UntracedError(
            f"{type(model).__name__} has a trace that cannot be read: {type(e).__name__}: {_line(e)}."
        ) from e
    return graph if graph.unknown else replace(graph, dtype=_checked(graph, model, x, expected))


def _dtype(model: nn.Module, x: Tensor) -> torch.dtype:
    """The narrowest dtype of the weights: what the network as a whole is evaluated in, at worst."""
    kinds = {w.dtype for w in (*model.parameters(), *model.buffers()) if w.is_floating_point()} | {x.dtype}
    return min(kinds, key=lambda kind: kind.itemsize)


def _line(e: Exception) -> str:
    return str(e).splitlines()[0][:300] if str(e) else ""


def _build(traced: torch.fx.GraphModule, x: Tensor, owners: dict[str, str], dtype: torch.dtype) -> Graph:
    """The traced operations that the output needs, as nodes; chains that the converter knows as one are one node."""
    converter = Converter(traced, x.double())
    nodes = [Node("input", None, (), tuple(x.shape[1:]))]
    index: dict[Any, int] = {converter.placeholder: 0}
    seen: dict[str, int] = {}
    for step in converter.steps():
        name = owners.get(step.origin.name) or step.op.kind
        seen[name] = seen.get(name, 0) + 1
        name = name if seen[name] == 1 else f"{name}:{seen[name]}"
        index[step.origin] = len(nodes)
        nodes.append(Node(name, step.op, tuple(index[i] for i in step.inputs), step.shape))
    return Graph(tuple(nodes), dtype)


@without_compiler
class _Widths(TorchDispatchMode):
    """Inside, `narrowest` is the narrowest floating-point dtype of all results; autocast shows in them."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.narrowest = dtype

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor) and one.is_floating_point() and one.dtype.itemsize < self.narrowest.itemsize:
                self.narrowest = one.dtype
        return result


def _checked(graph: Graph, model: nn.Module, x: Tensor, expected: Tensor) -> torch.dtype:
    """The narrowest dtype that the model computes in; refuses a graph that does not compute what the model computes.

    It is tried on the traced inputs and on others.
    """
    generator = torch.Generator().manual_seed(1)
    others = torch.randn(x.shape, generator=generator).to(x)
    tolerance = max(1e-3, 8 * torch.finfo(x.dtype).eps)
    with evaluating(model), torch.no_grad():
        with _Widths(graph.dtype) as widths:
            again = model(others.clone())
        if widths.narrowest.itemsize < min(graph.dtype.itemsize, torch.float32.itemsize):
            raise UntracedError(f"{type(model).__name__} computes in {widths.narrowest}, by autocast or by itself: "
                                "bounds hold for networks that compute in float32.")  # fmt: skip
        pairs = [(x, expected), (others, again)]
        for inputs, outputs in pairs:
            # Row by row: what mixes the samples of a batch gives something else then.
            try:
                ours = torch.cat([graph.values(row.double())[-1] for row in inputs.split(1)])
            except (RuntimeError, IndexError, ValueError) as e:
                raise UntracedError(
                    f"{type(model).__name__} takes the samples of a batch together, or fails on one alone "
                    f"({_line(e)}). Give the shape of one sample without the batch axis, channels included."
                ) from e
            outputs = outputs.double()
            wrong = torch.tensor(torch.inf)
            if ours.shape == outputs.shape:
                # A logit of minus infinity, which masks a class, is the same in both.
                wrong = torch.where(ours == outputs, 0.0, (ours - outputs).abs()).amax()
            size = torch.where(outputs.isfinite(), outputs.abs(), 0.0).amax()
            if bool(outputs.isnan().any()):
                raise UntracedError(f"{type(model).__name__} gives NaN. Are all of its weights finite?")
            if not bool(wrong <= tolerance * (size + 1e-6)):
                raise UntracedError(
                    f"{type(model).__name__}: the traced operations do not give what the model gives (largest "
                    f"difference {float(wrong):.3g}). Does its forward draw random numbers or keep a state?"
                )
    return widths.narrowest


@contextmanager
def _named(model: nn.Module, owners: dict[str, str]) -> Iterator[None]:
    """Inside, `owners` learns for every traced operation the name of the innermost module that ran it."""
    names = {id(m): name for name, m in model.named_modules()}
    start: list[int] = []

    def placed() -> list[str]:
        mode = get_proxy_mode()
        return [] if mode is None else [n.name for n in mode.tracer.graph.nodes]  # type: ignore[union-attr]

    def before(module: nn.Module, inputs: Any) -> None:
        start.append(len(placed()))

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        first = start.pop()
        for node in placed()[first:]:
            owners.setdefault(node, names.get(id(module), ""))

    handles: list[Any] = [hooks.register_module_forward_pre_hook(before), hooks.register_module_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def linear_function(graph: Graph) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """A x and A^T y of an affine graph, for rows x (R, *input shape) and y (R, *output shape)."""

    def forward(x: Tensor) -> Tensor:
        values = [x]
        for node in graph.nodes[1:]:
            inputs = [values[i] for i in node.inputs]
            values.append(node.op.linear(inputs[0]) if isinstance(node.op, Affine) else node.op.apply(*inputs))  # type: ignore[union-attr]
        return values[-1]

    def adjoint(y: Tensor) -> Tensor:
        with torch.enable_grad():
            x = y.new_zeros(len(y), *graph.nodes[0].shape, requires_grad=True)
            (g,) = torch.autograd.grad(forward(x), x, y)
        return g

    return forward, adjoint


def is_passive(op: Op | None) -> bool:
    """Whether an operation only moves values or adds constants: its norm is 1 and it is no layer."""
    return op is None or op.kind in ("reshape", "shift")
