"""A network that is cut at a layer: the activations of the layer, and the rest of the network as a model of its own.

A plain sequence of modules is sliced. Any other network is cut with hooks: its upper half is the whole network, run on
a blank input, with the layer's output replaced. So it works for every module that runs, also where tracing fails, and
is exact as long as nothing passes by the layer; that is tested.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from intriguing.activations.layers import resolve_layers, types_of, unknown_layer
from intriguing.basics.torch_modes import evaluating
from intriguing.errors import InputError, ModelError
from intriguing.hardening.options import INPUT

_WIDER = 3.0
"""A layer without an upper bound is searched up to this multiple of its largest activation."""
_BOUNDED: dict[type[nn.Module], tuple[float, float]] = {
    nn.Sigmoid: (0.0, 1.0),
    nn.Hardsigmoid: (0.0, 1.0),
    nn.Softmax: (0.0, 1.0),
    nn.Tanh: (-1.0, 1.0),
    nn.Hardtanh: (-1.0, 1.0),
    nn.Softsign: (-1.0, 1.0),
    nn.ReLU6: (0.0, 6.0),
    nn.ReLU: (0.0, torch.inf),
    nn.Softplus: (0.0, torch.inf),
}
_PASSIVE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity, nn.Flatten, nn.Unflatten)

Change = Callable[[Tensor], Tensor]


class _Reached(Exception):
    """Raised to end a forward pass after the layer."""


class Cut:
    """The network `model` cut at the output of `layer`, looked at with a few images `probe` (B, *shape).

        cut = Cut(model, "hidden1", images[:16])
        activations = cut.activations(images)       # (B, *shape of the layer)
        cut.upper(activations)                      # the logits (B, C)

    `bounds` are the least and the largest value that an activation can take (inf where there is no bound): known from
    the layer's last module (a sigmoid, a ReLU, ...), else 0 and inf if no activation of `probe` is negative, else none.

    Raises: `UnknownNameError` for a layer that the model lacks; `ModelError` where it cannot be cut there: the layer
    does not run, or more than once, its output is not one tensor with a row per image, or something passes by it.
    """

    def __init__(self, model: nn.Module, layer: str, probe: Tensor) -> None:
        self.model, self.layer = model, layer
        modules = dict(model.named_modules())
        if layer == INPUT and INPUT in modules:
            raise ModelError(f"the model has a module called {INPUT!r}, which here means the image: rename the module")
        if layer != INPUT and (layer not in modules or not layer):
            raise unknown_layer(layer, {INPUT: "the image"} | types_of(modules))
        self.shape = tuple(probe.shape[1:])
        chain = None if layer == INPUT else _above(model, layer)
        if layer == INPUT:
            self.upper: nn.Module = model
        else:
            self.upper = nn.Sequential(*chain) if chain is not None else _Upper(model, layer, self.shape)
        with torch.no_grad(), evaluating(model):
            activations = probe if layer == INPUT else self._checked(probe, exact=chain is not None)
        self.bounds = (0.0, 1.0) if layer == INPUT else _bounds(modules[layer], activations)
        self.largest = float(activations.abs().amax()) if activations.numel() else 0.0

    @property
    def box(self) -> tuple[float, float]:
        """The bounds of a search: finite, as wide as 3 times the largest activation of `probe` where none is known."""
        wide = _WIDER * max(self.largest, 1e-3)
        low, high = self.bounds
        return max(low, -wide), min(high, wide)

    def activations(self, x: Tensor) -> Tensor:
        """The layer's output for images `x` (B, *shape), without gradients, as the network computes it now."""
        if self.layer == INPUT:
            return x
        seen: list[Tensor] = []

        def keep(output: Tensor) -> Tensor:
            seen.append(output.detach().clone())  # the next layer may work in place
            raise _Reached

        with torch.no_grad(), replacing(self.model, self.layer, keep), suppress(_Reached):
            self.model(x)
        return seen[0]

    def forward_changed(self, x: Tensor, changes: Tensor, *, fixed: bool) -> Any:
        """The network's output for images `x` (B, *shape) whose activations at the layer move by `changes`.

        Moved activations are clipped to the layer's bounds. fixed: no gradient reaches the layers below.
        """
        low, high = self.bounds

        def moved(output: Tensor) -> Tensor:
            output = output.detach() if fixed else output
            return (output + changes).clamp(low, high)

        if self.layer == INPUT:
            return self.model(moved(x))
        with replacing(self.model, self.layer, moved):
            return self.model(x)

    def _checked(self, probe: Tensor, exact: bool) -> Tensor:
        """The activations of `probe`, after the checks that the class's docstring names."""
        outputs, logits = _outputs(self.model, self.layer, probe)
        if len(outputs) > 1:
            raise ModelError(
                f"layer {self.layer!r} runs {len(outputs)} times in one forward: the model can be cut only at a layer "
                "that runs once"
            )
        activations = self.activations(probe.clone())
        if not exact:
            # If the layer's output decides the logits, they are the same whatever image is fed below it.
            with replacing(self.model, self.layer, lambda output: activations.clone()):
                other = self.model(probe.flip(0).clone())
            apart = (other - logits).abs().amax()
            if bool(apart > 1e-4 * logits.abs().amax().clamp(min=1e-6)):
                raise ModelError(
                    f"something passes by layer {self.layer!r} (a skip connection around it, or a second branch): the "
                    "logits do not follow from its output alone. Name a layer that everything passes through"
                )
        return activations


def _outputs(model: nn.Module, layer: str, probe: Tensor) -> tuple[list[Tensor], Tensor]:
    """What `layer` gives each time it runs in a forward of `probe`, and the logits; `ModelError` if not tensors."""
    outputs: list[Any] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        logits = model(probe.clone())
    finally:
        handle.remove()
    if not outputs:
        raise ModelError(f"layer {layer!r} does not run in the model's forward: name one that does")
    for output in outputs:
        if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != len(probe):
            raise ModelError(
                f"layer {layer!r} does not give one tensor of floats with a row per image: name a layer inside it"
            )
    return outputs, logits


class _Upper(nn.Module):
    """The network from the output of a layer to the logits: h (B, *shape of the layer) -> (B, C)."""

    def __init__(self, model: nn.Module, layer: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self._layer, self._shape = layer, shape

    def forward(self, h: Tensor) -> Tensor:
        with replacing(self.model, self._layer, lambda output: h):
            return self.model(h.new_zeros((len(h), *self._shape)))


@contextmanager
def replacing(model: nn.Module, layer: str, change: Change) -> Iterator[None]:
    """Inside, the output of `layer` is `change(output)`."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        return change(output)

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def dropping(model: nn.Module, layers: tuple[str, ...], shares: tuple[float, ...]) -> Iterator[None]:
    """Inside, values of the input and of the outputs of `layers` are dropped with these shares, and the rest scaled.

    shares: that of the input, then one per layer; the last one counts for all that follow. No shares: nothing happens.
    """
    handles = []
    if shares:
        given = (*shares, *[shares[-1]] * max(0, 1 + len(layers) - len(shares)))

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            image: Tensor = inputs[0]
            return (nn.functional.dropout(image, given[0]), *inputs[1:])

        handles.append(model.register_forward_pre_hook(before))
        for layer, share in zip(layers, given[1:], strict=False):
            hook = _dropper(share)
            handles.append(model.get_submodule(layer).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _dropper(share: float) -> Callable[..., Tensor]:
    return lambda module, inputs, output: nn.functional.dropout(output, share)


def _above(model: nn.Module, layer: str) -> list[nn.Module] | None:
    """The modules that run after `layer` where `model` is a plain sequence down to it; None where it is not."""
    above: list[nn.Module] = []
    here = model
    for name in layer.split("."):
        plain = isinstance(here, nn.Sequential) and type(here).forward is nn.Sequential.forward
        if not plain or here._forward_hooks or here._forward_pre_hooks or "forward" in vars(here):
            return None
        names = list(here._modules)
        children = [here._modules[n] for n in names[names.index(name) + 1 :]]
        above = [child for child in children if child is not None] + above
        here = here.get_submodule(name)
    return above


def _bounds(module: nn.Module, activations: Tensor) -> tuple[float, float]:
    """The least and the largest value of a layer's output."""
    last = _last(module)
    if type(last) in _BOUNDED:
        return _BOUNDED[type(last)]
    if not isinstance(last, nn.Linear) and activations.numel() and bool((activations >= 0).all()):
        return 0.0, torch.inf
    return -torch.inf, torch.inf


def _last(module: nn.Module) -> nn.Module:
    """The module that makes the output of a sequence, passive ones left aside."""
    while isinstance(module, nn.Sequential) and len(module):
        active = [child for child in module if not isinstance(child, _PASSIVE)]
        if not active:
            return module
        module = active[-1]
    return module


def pool_layers(model: nn.Module, names: Sequence[str], which: str) -> tuple[str, ...]:
    """The layers that have a pool. `names`: those of the spec, the lowest first; wildcards are expanded.

    which: `each` (the input and all of them), `top` (the upper half of these, rounded up) or `named` (those alone).

    Raises: `InputError` for a name that is not a layer's output, `UnknownNameError` for a layer that is not there.
    """
    layers = [INPUT] if which != "named" or INPUT in names else []
    for layer in resolve_layers(model, [n for n in names if n != INPUT]) if set(names) - {INPUT} else []:
        if layer.is_input or layer.call is not None:
            raise InputError(f"Layer {layer.name!r}: a pool is of a layer's output; write the layer's name alone.")
        layers.append(layer.path)
    if which == "named":
        layers.sort(key=lambda layer: layer != INPUT)
    return tuple(layers[len(layers) // 2 :] if which == "top" else layers)


def check_layers(model: nn.Module, layers: Sequence[str], probe: Tensor, *, fixed: bool = True) -> None:
    """Raise, as `Cut` does, for the first of `layers` at which `model` cannot be cut.

    fixed: also where no weights lie above a layer, so that its changes could train nothing.
    """
    for layer in layers:
        Cut(model, layer, probe)
        if fixed and _is_last(model, layer, probe):
            raise ModelError(f"no weights lie above layer {layer!r}, so its changes can train nothing: leave it out")


def dropout_layers(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The layers of a model whose outputs have dropout, from their `names`: all but the input; see `pool_layers`."""
    return tuple(layer for layer in pool_layers(model, names, "each") if layer != INPUT)


def check_dropout(model: nn.Module, layers: Sequence[str], probe: Tensor) -> None:
    """Raise `ModelError` for the first of `layers` whose outputs cannot have dropout.

    It does not run, gives no tensor of floats with a row per image, or no weights lie above it: those are the logits.
    """
    with torch.no_grad(), evaluating(model):
        for layer in layers:
            _outputs(model, layer, probe)
            if _is_last(model, layer, probe):
                raise ModelError(f"no weights lie above layer {layer!r}, so dropout would drop classes: leave it out")


def _is_last(model: nn.Module, layer: str, probe: Tensor) -> bool:
    """Whether no weights lie above a layer of a plain sequence, or its output is the logits of another network."""
    if layer == INPUT:
        return False
    above = _above(model, layer)
    if above is not None:
        return not any(True for module in above for _ in module.parameters())
    with torch.no_grad(), evaluating(model):
        outputs, logits = _outputs(model, layer, probe)
    return isinstance(logits, Tensor) and torch.equal(outputs[-1], logits)
