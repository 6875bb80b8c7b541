"""Which tensor of a model a layer's name means.

A name is `model.named_modules()`'s, with shell wildcards (`features.*`), and with two optional endings in this order:
`:in` for the layer's input instead of its output, and `#2` for the second of several calls in one forward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from intriguing.errors import InputError, unknown_name


@dataclass(frozen=True)
class Layer:
    """One tensor of one forward pass."""

    name: str
    """The name as it appears in results: path, `:in`, `#call`."""
    path: str
    """The module's name in `model.named_modules()`."""
    is_input: bool = False
    """Whether the module's input is meant."""
    call: int | None = None
    """Which call of the module in one forward, from 1; None where it must be the only one."""


def parse_layer(name: str) -> Layer:
    """The parts of one `name`; raises `InputError` for a call number that is none."""
    path, _, number = name.partition("#")
    if "#" in name and (not number.isdecimal() or int(number) < 1):
        raise InputError(f"Layer {name!r}: '#' is followed by the number of the call, from 1.")
    is_input = path.endswith(":in")
    return Layer(name, path.removesuffix(":in"), is_input, int(number) if number else None)


def resolve_layers(model: nn.Module, names: str | Sequence[str]) -> list[Layer]:
    """The layers that `names` mean in `model`, wildcards spelled out, in the order of the names.

    A wildcard means modules without children. Raises `UnknownNameError` with the nearest names where nothing answers.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise InputError("Give at least one layer's name.")
    paths = {path: module for path, module in model.named_modules() if path}
    found: dict[str, Layer] = {}
    for name in wanted:
        layer = parse_layer(name)
        if layer.path in paths:
            found[layer.name] = layer
            continue
        ending = name[len(layer.path) :]
        matching = [p for p, m in paths.items() if fnmatchcase(p, layer.path) and not any(m.children())]
        if not matching:
            raise unknown_name("layer", layer.path, paths)
        for path in matching:
            found[path + ending] = Layer(path + ending, path, layer.is_input, layer.call)
    return list(found.values())
