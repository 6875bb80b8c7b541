"""Track the layouts of tensors through a forward pass, by the rules of torch's functions.

The units of a convolution are its second axis, those of a linear map its last. permute moves axes, a reshape groups
them differently, and elementwise functions keep them. A function without a rule loses the layout, unless the shape is
the same.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from intriguing.activations.layout import (
    BATCH,
    OPEN,
    PLACES,
    UNITS,
    Axis,
    Layout,
    axis,
    broadcast,
    demoted,
    kind_of,
    of_input,
    reshaped,
    resized,
    size_of,
    with_units,
)

Rule = Callable[["Call"], Layout | None]


class Tracker(TorchFunctionMode):
    """Inside this mode the layouts of all tensors that known functions compute from a batch are stored."""

    def __init__(self, batch: torch.Tensor) -> None:
        super().__init__()
        self._layouts = WeakTensorKeyDictionary()
        self._layouts[batch] = of_input(batch)

    def layout_of(self, tensor: torch.Tensor) -> Layout | None:
        """The layout of `tensor`; None if it is not known."""
        layout = self._layouts.get(tensor)
        return layout if layout is not None and _fits(layout, tensor.shape) else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, and store the layouts of its outputs."""
        result = func(*args, **(kwargs or {}))
        name = _name(func)
        outputs = [result] if isinstance(result, torch.Tensor) else result if isinstance(result, (tuple, list)) else []
        for number, out in enumerate(outputs):
            if isinstance(out, torch.Tensor):
                if number and name in _FIRST_ALONE:
                    break
                self._note(Call(name, args, kwargs or {}, out, self._layouts), out)
        return result

    def _note(self, call: "Call", out: torch.Tensor) -> None:
        try:
            layout = RULES.get(call.name, _elementwise)(call)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):  # an unknown order of arguments
            layout = None
        if layout is not None and _fits(layout, out.shape):
            self._layouts[out] = layout
        else:
            self._layouts.pop(out, None)


class Call:
    """One call of a function: its arguments, and the layouts of those that are tensors."""

    def __init__(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: torch.Tensor,
        layouts: WeakTensorKeyDictionary,
    ) -> None:
        self.name, self.args, self.kwargs, self.out = name, args, kwargs, out
        self._layouts = layouts

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by its position or its name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def layout(self, position: int = 0, name: str = "input") -> Layout | None:
        """The layout of an argument."""
        value = self.get(position, name)
        return self._layouts.get(value) if isinstance(value, torch.Tensor) else None

    def numbers(self, position: int, name: str) -> list[int]:
        """An argument that is several whole numbers, passed separately or as one sequence."""
        value = self.get(position, name, ())
        if isinstance(value, int):
            return [v for v in self.args[position:] if isinstance(v, int)] or [value]
        return [int(v) for v in value]

    def layouts(self) -> list[Layout]:
        """The layouts of all tensors among the arguments."""
        return [self._layouts[t] for t in _tensors((*self.args, *self.kwargs.values())) if t in self._layouts]

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's shape."""
        return tuple(self.out.shape)


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _name(func: Any) -> str:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", "")
    return name if name.startswith("__") or not name.endswith("_") else name[:-1]


def _fits(layout: Layout, shape: Sequence[int]) -> bool:
    return len(layout) == len(shape) and all(size_of(one) == size for one, size in zip(layout, shape, strict=True))


def _open(shape: Sequence[int]) -> Layout:
    return tuple(axis(OPEN, size) for size in shape)


def _elementwise(call: Call) -> Layout | None:
    return broadcast(call.layouts(), call.shape)


def _lost(_: Call) -> None:
    return None


def _reshaped(call: Call) -> Layout | None:
    layout = call.layout(0, "input")
    return None if layout is None else reshaped(layout, call.shape)


def _ordered(order: Callable[[Call, int], Sequence[int]]) -> Rule:
    def rule(call: Call) -> Layout | None:
        layout = call.layout()
        return None if layout is None else tuple(layout[i] for i in order(call, len(layout)))

    return rule


def _swapped(call: Call, ndim: int) -> list[int]:
    first = call.get(1, "dim0", call.kwargs.get("axis0"))
    second = call.get(2, "dim1", call.kwargs.get("axis1"))
    order = list(range(ndim))
    order[first], order[second] = order[second], order[first]
    return order


def _moved(call: Call, ndim: int) -> list[int]:
    source, target = call.get(1, "source"), call.get(2, "destination")
    sources = [s % ndim for s in ([source] if isinstance(source, int) else source)]
    targets = [t % ndim for t in ([target] if isinstance(target, int) else target)]
    rest = iter([i for i in range(ndim) if i not in sources])
    return [sources[targets.index(i)] if i in targets else next(rest) for i in range(ndim)]


def _last_two(_: Call, ndim: int) -> list[int]:
    return [*range(ndim - 2), ndim - 1, ndim - 2]


def _kept(call: Call) -> Layout | None:
    """The same axes in the same order; sizes may differ."""
    layout = call.layout()
    if layout is None or len(layout) != len(call.shape):
        return None
    return tuple(resized(one, size) for one, size in zip(layout, call.shape, strict=True))


def _stretched(call: Call) -> Layout | None:
    layout = call.layout()
    if layout is None:
        return None
    new = len(call.shape) - len(layout)
    axes: list[Axis] = [axis(PLACES, size) for size in call.shape[:new]]
    for one, size in zip(layout, call.shape[new:], strict=True):
        axes.append(axis(PLACES, size) if size_of(one) == 1 and size > 1 else resized(one, size))
    return tuple(axes)


def _joined(call: Call) -> Layout | None:
    """`cat`: the joined axis is of one kind, or open."""
    at = call.get(1, "dim", call.kwargs.get("axis", 0)) % len(call.shape)
    layouts = [layout for layout in call.layouts() if len(layout) == len(call.shape)]
    rest = [(*layout[:at], (), *layout[at + 1 :]) for layout in layouts]
    joined = broadcast(rest, [*call.shape[:at], 1, *call.shape[at + 1 :]])
    kinds = {kind_of(layout[at]) for layout in layouts}
    if joined is None:
        return None
    kind = kinds.pop() if len(kinds) == 1 else OPEN
    return (*joined[:at], axis(OPEN if kind in (BATCH, "mixed") else kind, call.shape[at]), *joined[at + 1 :])


def _stacked(call: Call) -> Layout | None:
    at = call.get(1, "dim", 0) % len(call.shape)
    inner = broadcast(call.layouts(), call.shape[:at] + call.shape[at + 1 :])
    return None if inner is None else (*inner[:at], axis(PLACES, call.shape[at]), *inner[at:])


def _without(call: Call) -> Layout | None:
    """`unbind` and `select`: one axis is removed."""
    layout = call.layout()
    if layout is None:
        return None
    at = call.get(1, "dim", 0) % len(layout)
    return layout[:at] + layout[at + 1 :]


def _indexed(call: Call) -> Layout | None:
    layout, index = call.layout(), call.args[1]
    if layout is None:
        return None
    parts = list(index) if isinstance(index, tuple) else [index]
    taking = sum(1 for p in parts if p is not None and p is not Ellipsis)
    if Ellipsis not in [p if p is Ellipsis else 0 for p in parts]:
        parts.append(Ellipsis)
    axes: list[Axis] = []
    remaining, lists = list(layout), 0
    for part in parts:
        if part is None:
            axes.append(())
        elif part is Ellipsis:
            many = len(remaining) - (taking - (len(layout) - len(remaining)))
            axes += remaining[:many]
            remaining = remaining[many:]
        elif isinstance(part, slice):
            one = remaining.pop(0)
            axes.append(resized(one, len(range(*part.indices(size_of(one))))))
        elif isinstance(part, int) and not isinstance(part, bool):
            remaining.pop(0)
        elif isinstance(part, torch.Tensor) and part.ndim == 1 and not lists:
            one, lists = remaining.pop(0), 1
            axes.append(resized(one, call.shape[len(axes)]))
        else:
            return None
    return tuple(axes)


def _reduced(position: int) -> Rule:
    def rule(call: Call) -> Layout | None:
        layout = call.layout()
        if layout is None:
            return None
        if len(call.shape) == len(layout):  # keepdim, or the larger of two tensors
            if any(size not in (1, size_of(one)) for one, size in zip(layout, call.shape, strict=True)):
                return None
            if call.layout(1, "other") is not None:
                return _elementwise(call)
            return tuple(one if size_of(one) == size else () for one, size in zip(layout, call.shape, strict=True))
        dims = call.get(position, "dim", call.kwargs.get("axis"))
        gone = {d % len(layout) for d in ([dims] if isinstance(dims, int) else dims)}
        return tuple(one for i, one in enumerate(layout) if i not in gone)

    return rule


def _product(first: int, names: tuple[str, str] = ("input", "other")) -> Rule:
    def rule(call: Call) -> Layout | None:
        a, b = call.get(first, names[0]), call.get(first + 1, names[1])
        if a.ndim < 2 or b.ndim < 2:
            return None
        left, right = call.layout(first, names[0]), call.layout(first + 1, names[1])
        lead = broadcast([one[:-2] for one in (left, right) if one is not None], call.shape[:-2])
        rows = axis(OPEN, call.shape[-2]) if left is None else left[-2]
        # A product with a matrix of weights has units as its last axis, as a linear map has.
        columns = axis(UNITS if b.ndim == 2 else OPEN, call.shape[-1]) if right is None else right[-1]
        if lead is None or (left is None and right is None):
            return None
        if right is None:
            lead, rows = tuple(demoted(one) for one in lead), demoted(rows)
        return (*lead, rows, columns)

    return rule


def _last(call: Call) -> Layout | None:
    """A linear map, and other functions with units as the last axis."""
    layout = call.layout()
    if layout is None or len(layout) != len(call.shape):
        layout = _open(call.shape)
    return with_units(layout, -1, call.shape[-1])


def _added_last(call: Call) -> Layout | None:
    layout = call.layout()
    return None if layout is None else (*(demoted(one) for one in layout), axis(UNITS, call.shape[-1]))


def _normed_last(call: Call) -> Layout | None:
    return _last(call) if len(call.get(1, "normalized_shape")) == 1 else call.layout()


def _second(call: Call) -> Layout | None:
    layout = call.layout()
    if layout is None or len(layout) != len(call.shape):
        layout = _open(call.shape)
    return with_units([resized(one, size) for one, size in zip(layout, call.shape, strict=True)], 1, call.shape[1])


def _convolved(dims: int) -> Rule:
    def rule(call: Call) -> Layout | None:
        if len(call.shape) != dims + 2:
            return None
        layout = call.layout()
        first = axis(OPEN, call.shape[0]) if layout is None else layout[0]
        return (first, axis(UNITS, call.shape[1]), *(axis(PLACES, size) for size in call.shape[2:]))

    return rule


def _pooled(dims: int) -> Rule:
    def rule(call: Call) -> Layout | None:
        layout = call.layout()
        if len(call.shape) != dims + 2:
            return _kept(call)
        if layout is not None and UNITS in [kind_of(one) for one in layout[2:]]:
            # It pools over the units, so the result is not known.
            return (layout[0], *(axis(OPEN, size) for size in call.shape[1:]))
        return _second(call)

    return rule


def _patches(call: Call) -> Layout | None:
    """F.unfold: (n, channels x kernel, places); Tensor.unfold, of the same name, adds an axis."""
    layout = call.layout()
    if layout is None or len(call.shape) != 3 or len(layout) != 4:
        return None
    return (layout[0], axis(UNITS, call.shape[1]), axis(PLACES, call.shape[2]))


def _folded(call: Call) -> Layout | None:
    layout = call.layout()
    first = axis(OPEN, call.shape[0]) if layout is None else layout[0]
    return (first, axis(UNITS, call.shape[1]), *(axis(PLACES, size) for size in call.shape[2:]))


def _attended(call: Call) -> Layout | None:
    query, value = call.layout(0, "query"), call.layout(2, "value")
    if query is None:
        return None
    return (*query[:-1], axis(UNITS, call.shape[-1]) if value is None else value[-1])


def _attention(call: Call) -> Layout | None:
    query = call.layout(0, "query") or _open(call.shape)
    return with_units(query, -1, call.shape[-1])


def _packed(call: Call) -> Layout | None:
    return (axis(OPEN, call.shape[0]), *(axis(PLACES, size) for size in call.shape[1:-1]), axis(UNITS, call.shape[-1]))


def _unpacked(call: Call) -> Layout | None:
    if len(call.shape) != 3:
        return None
    kinds = (BATCH, PLACES, UNITS) if call.get(2, "batch_first") else (PLACES, BATCH, UNITS)
    return tuple(axis(kind, size) for kind, size in zip(kinds, call.shape, strict=True))


def _summed(call: Call) -> Layout | None:
    """`einsum`: an axis of the result is that of the first operand with its letter."""
    equation, operands = call.args[0], list(_tensors(call.args[1:]))
    terms, _, result = equation.replace(" ", "").partition("->")
    if "." in equation or not result:
        return None
    axes_by_letter: dict[str, Axis] = {}
    for term, tensor in zip(terms.split(","), operands, strict=True):
        layout = call._layouts.get(tensor)
        for letter, one in zip(term, layout or (), strict=False):
            axes_by_letter.setdefault(letter, one)
    if not axes_by_letter:
        return None
    new = [letter for letter in result if letter not in axes_by_letter]
    axes = [axes_by_letter.get(letter, axis(UNITS, size)) for letter, size in zip(result, call.shape, strict=True)]
    return tuple(demoted(a) if new and letter in axes_by_letter else a for letter, a in zip(result, axes, strict=True))


_FIRST_ALONE = {"lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward", "_pad_packed_sequence"}
_LOST = (
    "tensordot kron outer as_strided rot90 cdist cov corrcoef diag diagonal diag_embed cross block_diag meshgrid stft "
    "istft"
)

RULES: dict[str, Rule] = {}


def _rules(names: str, rule: Rule) -> None:
    RULES.update(dict.fromkeys(names.split(), rule))


_rules(_LOST, _lost)
_rules("view reshape flatten unflatten squeeze unsqueeze view_as reshape_as ravel _unsafe_view", _reshaped)
_rules("permute", _ordered(lambda call, ndim: call.numbers(1, "dims")))
_rules("transpose swapaxes swapdims", _ordered(_swapped))
_rules("t mT mH adjoint", _ordered(_last_two))
_rules("T H", _ordered(lambda call, ndim: range(ndim)[::-1]))
_rules("movedim moveaxis", _ordered(_moved))
_rules("expand expand_as repeat tile repeat_interleave broadcast_to", _stretched)
_rules("cat concat concatenate", _joined)
_rules("stack", _stacked)
_rules("unbind select", _without)
_rules("__getitem__", _indexed)
_rules(
    "split split_with_sizes chunk tensor_split narrow index_select pad constant_pad_nd interpolate upsample "
    "upsample_nearest upsample_bilinear pixel_shuffle pixel_unshuffle topk sort glu grid_sample gather take_along_dim",
    _kept,
)
_rules(
    "mean sum nansum nanmean max min amax amin std var prod logsumexp median mode argmax argmin any all", _reduced(1)
)
_rules("norm linalg_vector_norm vector_norm quantile", _reduced(2))
_rules("matmul __matmul__ bmm mm", _product(0))
_rules("addmm addbmm", _product(1, ("mat1", "mat2")))
_rules("baddbmm", _product(1, ("batch1", "batch2")))
_rules("linear", _last)
_rules("bilinear lstm gru rnn_tanh rnn_relu", _last)
_rules("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell embedding_bag", _last)
_rules("embedding one_hot", _added_last)
_rules("layer_norm rms_norm", _normed_last)
_rules("batch_norm instance_norm group_norm local_response_norm", _second)
_rules("unfold im2col", _patches)
_rules("fold col2im", _folded)
_rules("scaled_dot_product_attention", _attended)
_rules("multi_head_attention_forward", _attention)
_rules("_pack_padded_sequence", _packed)
_rules("_pad_packed_sequence", _unpacked)
_rules("einsum", _summed)
for _dims in (1, 2, 3):
    _rules(f"conv{_dims}d conv_transpose{_dims}d", _convolved(_dims))
    for _pool in ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool", "fractional_max_pool"):
        _rules(f"{_pool}{_dims}d {_pool}{_dims}d_with_indices", _pooled(_dims))
    _rules(f"max_unpool{_dims}d", _pooled(_dims))
