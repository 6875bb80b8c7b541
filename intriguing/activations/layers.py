"""Names of layers, and the tensors that they mean.

A name is one of `model.named_modules()`, or has shell wildcards (`features.*`). Optional endings, in any order: `:in`
for the layer's input instead of its output, `#2` for the second of several calls in one forward pass, and `@-1` for the
axis of the units, if that cannot be determined (counted as in torch: the first is 0).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from intriguing.errors import InputError, UnknownNameError, did_you_mean

_LISTED = 40
"""Names of layers that an error lists."""

_ENDING = re.compile(r":in$|#[^#:@]*$|@[^#:@]*$")


@dataclass(frozen=True)
class Layer:
    """One tensor of one forward pass."""

    name: str
    """The name as it appears in results: path and endings."""
    path: str
    """The module's name in `model.named_modules()`."""
    is_input: bool = False
    """Whether the module's input is meant."""
    call: int | None = None
    """Which call of the module in one forward pass, from 1; None: there must be only one."""
    axis: int | None = None
    """The axis of the units; None: it is determined from the model."""


def parse_layer(name: str, paths: Sequence[str] | frozenset[str] = ()) -> Layer:
    """The parts of one `name`. Endings are removed until the rest is one of `paths`, so that a module's own name may
    contain `@`, `#` or `:in`. Raises: `InputError` for an unknown ending.
    """
    path = name
    ends: dict[str, str] = {}
    while path not in paths and (ending := _ENDING.search(path)):
        mark, value = ending[0][0], ending[0][1:]
        if mark in ends:
            raise InputError(f"Layer {name!r} has two endings that begin with {mark!r}: write one.")
        ends[mark], path = value, path[: ending.start()]
    number, axis = ends.get("#"), ends.get("@")
    if number is not None and (not number.isdecimal() or int(number) < 1):
        raise InputError(f"Layer {name!r}: '#' is followed by the number of the call, from 1.")
    if axis is not None and not re.fullmatch(r"-?\d{1,3}", axis, re.ASCII):
        raise InputError(f"Layer {name!r}: '@' is followed by the number of the axis that is its units, such as @-1.")
    call = None if number is None else int(number)
    return Layer(name, path, ":" in ends, call, None if axis is None else int(axis))


def resolve_layers(model: nn.Module, names: str | Sequence[str]) -> list[Layer]:
    """The layers of `model` with these `names`, in their order; wildcards are expanded.

    A wildcard matches only modules without children. Raises: `UnknownNameError` with the nearest names if none matches.
    """
    patterns = [names] if isinstance(names, str) else list(names)
    if not patterns:
        raise InputError("Give at least one layer's name.")
    paths = {path: module for path, module in model.named_modules() if path}
    layers: dict[str, Layer] = {}
    for name in patterns:
        layer = parse_layer(name, frozenset(paths))
        if layer.path in paths:
            layers[layer.name] = layer
            continue
        ending = name[len(layer.path) :]
        matching = [p for p, m in paths.items() if fnmatchcase(p, layer.path) and not any(m.children())]
        if not matching:
            raise unknown_layer(layer.path, types_of(paths))
        for path in matching:
            layers[path + ending] = Layer(path + ending, path, layer.is_input, layer.call, layer.axis)
    return list(layers.values())


def types_of(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """The type of each of the `modules` by path, in their order; the model itself, whose path is empty, is left out."""
    return {path: type(module).__name__ for path, module in modules.items() if path}


def unknown_layer(name: str, types: Mapping[str, str]) -> UnknownNameError:
    """The error for a `name` that is none of the paths in `types`: the nearest, then all with their types, in order."""
    listed = ", ".join(f"{path} ({kind})" for path, kind in list(types.items())[:_LISTED])
    more = f" and {len(types) - _LISTED:,} more" if len(types) > _LISTED else ""
    hint = did_you_mean(name, types)
    return UnknownNameError(f"There is no layer named {name!r}.{hint} The model's layers: {listed or 'none'}{more}.")
