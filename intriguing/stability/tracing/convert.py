"""From traced ATen operations to `ops`, in order, with the shapes that they give."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx import Node as FxNode
from torch.fx.node import map_arg

from intriguing.stability.tracing import composed, smooth
from intriguing.stability.tracing.conversions import CONVERTERS, name_of
from intriguing.stability.tracing.ops import Convolution, Linear, Op, Pad, Reshape, Several, Shape, Unknown

_SAME = ("detach", "clone", "contiguous", "alias", "lift_fresh_copy", "_to_copy", "to", "positive", "dropout_eval")
_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "_reshape_alias")
_MOVES = ("permute", "transpose", "select", "slice", "narrow", "flip", "roll", "pixel_shuffle", "pixel_unshuffle",
          "channel_shuffle", "movedim", "swapaxes", "mT")  # fmt: skip
_GATHERS = ("expand", "repeat", "repeat_interleave", "tile", "index", "index_select", "unfold", "im2col", "diagonal",
            "rot90", "tril", "triu")  # fmt: skip
"""What copies values, one of them to several places or to none, or writes zeros."""
_PARTS = ("chunk", "split", "split_with_sizes", "tensor_split", "unbind")
"""What gives several tensors, each a part of its input."""
_ODD = (KeyError, TypeError, IndexError, AttributeError, ValueError, RuntimeError)
"""What arguments that no converter expects raise."""
_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")


@dataclass(frozen=True, eq=False)
class Within:
    """The place of an operation that is one of several in place of an fx node of this `name`."""

    name: str


Origin = FxNode | Within


@dataclass(frozen=True)
class Step:
    """One converted operation: its fx node, those of its inputs, the operation, the shape of a sample."""

    origin: Origin
    inputs: tuple[Origin, ...]
    op: Op
    shape: Shape


class Converter:
    """Converts the operations of a traced module in order; `x` (R, *shape) is an example, float64."""

    def __init__(self, traced: GraphModule, x: Tensor) -> None:
        self.traced = traced
        self.placeholder = next(n for n in traced.graph.nodes if n.op == "placeholder")
        self.values: dict[Origin, Any] = {self.placeholder: x}
        self.moving = {self.placeholder}
        """The fx nodes that depend on the input; all others are constants."""
        self.same: dict[FxNode, FxNode] = {}
        """Nodes that are another one unchanged."""
        self.parts: dict[FxNode, Callable[[Tensor], Any]] = {}
        """Nodes that cut a tensor into parts, as functions of it."""
        self.made: dict[Origin, Step] = {}
        """What was converted, in order."""

    def steps(self) -> Iterator[Step]:
        """Every operation that the output needs, in order."""
        for node in self.traced.graph.nodes:
            if node.op == "get_attr":
                self.values[node] = _attribute(self.traced, node.target)
            elif node.op == "call_function":
                if any(a in self.moving for a in node.all_input_nodes):
                    self.moving.add(node)
                    step = self._step(node)
                    if step is not None:
                        self.made[node] = step
                else:
                    args, kwargs = self._constants(node)
                    self.values[node] = node.target(*args, **kwargs)
            elif node.op == "output":
                yield from self._needed(node)

    def _needed(self, node: FxNode) -> Iterator[Step]:
        made = self.made
        result = node.args[0]
        result = result[0] if isinstance(result, tuple | list) else result
        last = self.same.get(result, result)  # type: ignore[arg-type]
        if last is not self.placeholder and last not in made:
            made[last] = Step(last, (), Unknown("an output that does not depend on the input"), ())  # type: ignore[arg-type]
        needed: set[Origin] = set()
        todo: list[Origin] = [last]  # type: ignore[list-item]
        while todo:
            one = todo.pop()
            if one in made and one not in needed:
                needed.add(one)
                todo.extend(made[one].inputs)
        fused = _fused([s for n, s in made.items() if n in needed])
        yield from fused

    def _constants(self, node: FxNode) -> tuple[Any, Any]:
        def swap(n: FxNode) -> Any:
            return self.values[n]

        return map_arg(node.args, swap), map_arg(node.kwargs, swap)

    def _step(self, node: FxNode) -> Step | None:
        """The converted operation, or None where `node` is another one unchanged."""
        inputs = tuple(self.same.get(n, n) for n in node.all_input_nodes if n in self.moving)
        name = name_of(node)
        if name in _PARTS:
            self.parts[node] = _rows_free(node, self._value)
            return None
        if node.args and node.args[0] in self.parts:
            return self._part(node, node.args[0])  # type: ignore[arg-type]
        if name == "getitem" and node.args[1] == 0:
            self.same[node] = inputs[0]
            self.values[node] = self.values.get(inputs[0])
            return None
        whole = smooth.local_response(node, self) or composed.softsign(node) or smooth.lp_pool(node)
        if whole is not None:
            op, source = whole
            inputs = (self.same.get(source, source),)
        elif any(self.values.get(n) is None for n in inputs):
            return self._unknown(node, inputs, f"{name}, after what is not known", follows=True)
        else:
            op = self._operation(node, name, inputs)
        if op is None:
            self.same[node] = inputs[0]
            self.values[node] = self.values[inputs[0]]
            return None
        if isinstance(op, Unknown):
            return self._unknown(node, inputs, op.kind)
        if isinstance(op, Several):
            return self._several(node, inputs, op, name)
        return self._known(node, inputs, op, name)

    def _several(self, node: FxNode, inputs: tuple[FxNode, ...], op: Several, name: str) -> Step:
        """The last of several operations; those before it are kept as steps of their own."""
        read: list[Origin] = list(inputs)
        for place, (one, places) in enumerate(op.steps, start=1):
            origin = node if place == len(op.steps) else Within(node.name)
            step = self._known(origin, tuple(read[i] for i in places), one, name)
            if isinstance(step.op, Unknown):
                return self._unknown(node, inputs, step.op.kind)
            if place == len(op.steps):
                return step
            self.made[origin] = step
            read.append(origin)
        raise AssertionError("no operations")

    def _part(self, node: FxNode, source: FxNode) -> Step:
        """The part of a tensor that `node` takes out of what `source` cuts it into."""
        inputs = tuple(self.same.get(n, n) for n in source.all_input_nodes if n in self.moving)
        name, cut, place = name_of(source), self.parts[source], node.args[1]
        x = self.values.get(inputs[0])

        def call(t: Tensor) -> Tensor:
            return cut(t)[place]  # type: ignore[index]

        if x is None:
            return self._unknown(node, inputs, f"{name}, after what is not known", follows=True)
        if len(inputs) != 1 or name_of(node) != "getitem" or not _keeps_rows(call, x):
            return self._unknown(node, inputs, f"{name} across the batch")
        return self._known(node, inputs, Linear(call, name, copies=True), name)

    def _known(self, node: Origin, inputs: tuple[Origin, ...], op: Op, name: str) -> Step:
        try:
            with torch.no_grad():
                value = op.apply(*(self.values[n] for n in inputs))
        except _ODD as e:
            return self._unknown(node, inputs, f"{name}: {type(e).__name__}")
        if not isinstance(value, Tensor) or value.shape[:1] != self.values[self.placeholder].shape[:1]:
            return self._unknown(node, inputs, f"{name} across the batch")
        self.values[node] = value
        return Step(node, inputs, op, tuple(value.shape[1:]))

    def _unknown(self, node: Origin, inputs: tuple[Origin, ...], kind: str, *, follows: bool = False) -> Step:
        """An unknown operation. Those after it are still converted, for which a stand-in of its shape is enough."""
        traced = node.meta.get("val") if isinstance(node, FxNode) else None
        like = self.values[self.placeholder]
        known = isinstance(traced, Tensor) and traced.shape[:1] == like.shape[:1]
        random = torch.Generator().manual_seed(0)  # of its own: the caller's random state stays as it is
        self.values[node] = (
            torch.rand(traced.shape, device="cpu", generator=random, dtype=like.dtype).to(like) if known else None  # type: ignore[union-attr]
        )
        return Step(node, inputs, Unknown(kind, follows), tuple(traced.shape[1:]) if known else ())  # type: ignore[union-attr]

    def _operation(self, node: FxNode, name: str, inputs: tuple[FxNode, ...]) -> Op | None:
        """The operation of `node`, None where it changes nothing."""
        args, kwargs = list(node.args), dict(node.kwargs)
        schema = getattr(node.target, "_schema", None)
        named: dict[str, Any] = {}
        if schema is not None:
            for place, argument in enumerate(schema.arguments):
                given = args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
                named[argument.name] = given
        named = {k: self._value(v) for k, v in named.items()}
        try:
            found = CONVERTERS.get(name)
            if found is not None:
                return found(named, [self.values[n] for n in inputs], node)
            return self._moved(node, name, named, inputs)
        except _ODD as e:
            return Unknown(f"{name}: {e if type(e) is ValueError else type(e).__name__}")

    def _value(self, given: Any) -> Any:
        """Constants for fx nodes that are constant; the fx node itself for those that move."""
        return map_arg(given, lambda n: n if n in self.moving else self.values[n])

    def _moved(self, node: FxNode, name: str, named: dict[str, Any], inputs: tuple[FxNode, ...]) -> Op | None:
        """Operations that only move values."""
        x = self.values[inputs[0]]
        if name in _SAME:
            kind = named.get("dtype")
            narrow = kind is not None and kind not in (torch.float32, torch.float64)
            # Half precision rounds more than the bounds count in, and whole numbers cut values off.
            return Unknown(f"{name} {kind}".replace("torch.", "")) if narrow else None
        if name in _DROPOUTS:
            return None if not named["train"] else Unknown(f"{name} while training")
        if name not in (*_RESHAPES, *_MOVES, *_GATHERS):
            return Unknown(name)
        call = _rows_free(node, self._value)
        value = call(x)
        if len(inputs) != 1 or value.shape[:1] != x.shape[:1] or not _keeps_rows(call, x):
            return Unknown(f"{name} across the batch")
        if name in _RESHAPES:
            return Reshape(tuple(value.shape[1:]))
        return Linear(call, name, copies=True, times=_times(call, x) if name in _GATHERS else 1)


def _attribute(module: Any, target: Any) -> Any:
    for part in str(target).split("."):
        module = getattr(module, part)
    return module.detach() if isinstance(module, Tensor) else module


def _rows_free(node: FxNode, value: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    """`node` as a function of its first argument, for any number of rows; `value` puts constants for fx nodes."""
    target: Any = node.target
    traced = node.args[0].meta["val"].shape[0]  # type: ignore[union-attr]
    rest, kwargs, name = value(list(node.args[1:])), value(dict(node.kwargs)), name_of(node)

    def call(x: Tensor) -> Tensor:
        given = list(rest)
        if name in ("view", "reshape", "_unsafe_view", "_reshape_alias"):
            shape = list(given[0])  # type: ignore[call-overload]
            if shape[0] in (traced, -1):
                shape[0] = len(x)
            return x.reshape(shape)
        if name == "expand" and given[0][0] == traced:
            given[0] = [-1, *given[0][1:]]
        return target(x, *given, **kwargs)

    return call


def _keeps_rows(call: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether each row of the result comes from the row of the input alone, or is 0, for any number of rows; in each
    place of the batch from the same values.
    """
    # More rows than were traced: rows that an operation names by number are others then.
    numbers = torch.arange(1, 2 * len(x) + 1, dtype=x.dtype, device=x.device)
    out = call(numbers.reshape(-1, *[1] * (x.ndim - 1)).expand(-1, *x.shape[1:]).contiguous())
    rows = numbers.reshape(-1, *[1] * (out.ndim - 1))
    if out.shape[:1] != numbers.shape or not bool(((out == rows) | (out == 0)).all()):
        return False
    # The triangle or the diagonal of a batch of vectors takes other values of each row.
    one = torch.arange(1, x[:1].numel() + 1, dtype=x.dtype, device=x.device).reshape(1, *x.shape[1:])
    out = call(one.expand(len(numbers), *x.shape[1:]).contiguous())
    return bool((out == out[:1]).all())


def _times(call: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """How many values of the result read one value of the input, at most."""
    with torch.enable_grad():
        one = torch.zeros_like(x[:1], requires_grad=True)
        (counts,) = torch.autograd.grad(call(one).sum(), one)
    return int(counts.amax())


def _fused(steps: list[Step]) -> list[Step]:
    """A pad and the convolution that alone reads it as one operation."""
    readers: dict[Origin, int] = {}
    for step in steps:
        for n in step.inputs:
            readers[n] = readers.get(n, 0) + 1
    by = {s.origin: s for s in steps}
    gone: set[Origin] = set()
    out = []
    for step in steps:
        op = step.op
        before = by.get(step.inputs[0]) if len(step.inputs) == 1 else None
        if (
            isinstance(op, Convolution)
            and before is not None
            and isinstance(before.op, Pad)
            and not op.transposed
            and not any(op.padding)
            and before.op.offset is None
            and min(before.op.pads) >= 0
            and len(before.op.pads) == 2 * len(op.stride)
            and readers[before.origin] == 1
            and before.origin is not steps[-1].origin
        ):
            gone.add(before.origin)
            step = replace(step, inputs=before.inputs, op=replace(op, pad=before.op))
        out.append(step)
    return [s for s in out if s.origin not in gone]
