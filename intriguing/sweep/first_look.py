"""What a first spec says of a model that somebody brings: its layers, its data, and whether it comes trained."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from intriguing.data import load_dataset
from intriguing.data.photos import Photos, enlarged
from intriguing.errors import IntriguingError
from intriguing.stats.commonest import CLEARLY, beats_commonest

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from intriguing.data import Dataset

_CALLS = 16
"""Calls of a layer in one forward pass that are listed, as NAME#1, NAME#2, ..."""
_TRIED = 256
"""Images that a model is tried on, to see whether it comes trained."""


@dataclass(frozen=True)
class Asked:
    """What to look at: a model's architecture, where its data come from, a weights file ("": none)."""

    architecture: str
    source: str
    weights: str = ""


@dataclass(frozen=True)
class LayerSeen:
    """A layer that can be collected: its module's type, its units, the shape of each unit's map, () without maps.

    learns: whether the module has parameters. counts: whether the logits depend on it, as they do not on a second head.
    """

    kind: str
    units: int
    maps: tuple[int, ...]
    learns: bool
    counts: bool = True


@dataclass(frozen=True)
class Seen:
    """What was seen: the data set's shape, classes and sizes; the model's layers in its order; its parameters.

    tried: the split, and how many of its images the model was tried on; right: the share that it has right, chance:
    that of whoever always names the commonest class; comes_trained: whether it is right more often than by chance.
    remark: what should be known of the images.
    """

    shape: tuple[int, int, int]
    classes: int
    sizes: dict[str, int]
    layers: dict[str, LayerSeen]
    parameters: int
    tried: tuple[str, int]
    right: float
    chance: float
    comes_trained: bool
    remark: str = ""


def look(asked: Asked) -> Seen:
    """Load the data, build the model, feed it two images, and list the layers whose units can be collected."""
    import torch

    from intriguing.models import build_model, check_model, load_weights, parameter_count, probe

    data = load_dataset(asked.source)
    net = build_model(asked.architecture, data.shape, data.classes)
    if asked.weights:
        load_weights(net, asked.weights)
    check_model(probe(net), data.shape, data.classes)
    noise = torch.rand(4, *data.shape, generator=torch.Generator().manual_seed(0))
    layers = _collected(net, noise, _called(net, noise))
    for name in _idle(net, noise, layers):
        layers[name] = replace(layers[name], counts=False)
    sizes = {split: len(rows) for split, rows in data.splits.items()}
    return Seen(data.shape, data.classes, sizes, layers, parameter_count(net), *_tried(net, data), _remark(data))


def _called(net: "nn.Module", images: "torch.Tensor") -> list[str]:
    """Names of the layers that a forward pass calls, in the model's order; one that runs often is named by call."""
    import torch

    from intriguing.basics.torch_modes import evaluating

    calls = {path: 0 for path, _ in net.named_modules() if path}

    def counting(path: str) -> "Callable[..., None]":
        def hook(*_: object) -> None:
            calls[path] += 1

        return hook

    handles = []
    try:
        for path, module in net.named_modules():
            if path and not isinstance(module, torch.jit.ScriptModule):  # which takes no hook
                handles.append(module.register_forward_hook(counting(path)))
        with torch.no_grad(), evaluating(net):
            net(images)
    finally:
        for handle in handles:
            handle.remove()
    return [
        name
        for path, count in calls.items()
        for name in ([path] if count == 1 else [f"{path}#{call}" for call in range(1, min(count, _CALLS) + 1)])
    ]


def _collected(net: "nn.Module", images: "torch.Tensor", names: list[str]) -> "dict[str, LayerSeen]":
    """Those of the layers `names` whose units can be collected, in their order.

    All are tried at once, and each half alone where that fails: few fail, such as those whose units have no axis of
    their own.
    """
    from intriguing.activations import CollectOptions, collect_maps, parse_layer

    if not names:
        return {}
    modules = dict(net.named_modules())
    options = CollectOptions(slots=len(images), maxima=False)
    try:
        block = next(iter(collect_maps(net, [images], names, options)))
    except IntriguingError:
        half = len(names) // 2
        return _collected(net, images, names[:half]) | _collected(net, images, names[half:]) if half else {}
    seen = {}
    for name in names:
        module = modules[parse_layer(name, frozenset(modules)).path]
        learns = any(True for _ in module.parameters())
        layer = block.layers[name]
        seen[name] = LayerSeen(type(module).__name__, layer.vectors.shape[-1], tuple(layer.map_shape), learns)
    return seen


def _idle(net: "nn.Module", images: "torch.Tensor", layers: dict[str, LayerSeen]) -> list[str]:
    """Those of the `layers` that learn and on which no logit depends.

    Layers whose parameters have no gradient are asked, since a layer that counts may have none: a model may feed a part
    of itself under `torch.no_grad`. Other values in place of what they give leave the logits as they were.
    """
    import torch

    from intriguing.activations import parse_layer
    from intriguing.basics.torch_modes import evaluating

    modules = dict(net.named_modules())
    parameters = [weight.requires_grad_() for weight in net.parameters() if weight.is_floating_point()]
    with torch.enable_grad(), evaluating(net):
        out = net(images)
        if not parameters or not isinstance(out, torch.Tensor) or not out.requires_grad:
            return []
        try:
            gradients = torch.autograd.grad(out.sum(), parameters, allow_unused=True)
        except RuntimeError:  # a backward pass that the model does not allow
            return []
    without = {id(parameter) for parameter, slope in zip(parameters, gradients, strict=True) if slope is None}
    idle = []
    for name, layer in layers.items():
        module = modules[parse_layer(name, frozenset(modules)).path]
        if layer.learns and all(id(parameter) in without for parameter in module.parameters()):
            others = [_with_others(net, images, module, value) for value in (float("nan"), 1e3)]
            if all(other is not None and torch.equal(other, out) for other in others):
                idle.append(name)
    return idle


def _with_others(net: "nn.Module", images: "torch.Tensor", module: "nn.Module", value: float) -> "torch.Tensor | None":
    """The logits with all that `module` gives replaced by `value`; None where the model does not take that."""
    import torch

    from intriguing.basics.torch_modes import evaluating

    def replaced(output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return torch.full_like(output, value)
        return type(output)(map(replaced, output)) if type(output) in (tuple, list) else output

    handle = module.register_forward_hook(lambda _, __, output: replaced(output))
    try:
        with torch.no_grad(), evaluating(net):
            return net(images)
    except Exception:  # of whatever kind the model raises
        return None
    finally:
        handle.remove()


def _tried(net: "nn.Module", data: "Dataset") -> tuple[tuple[str, int], float, float, bool]:
    """The model tried on images spread over the test split (without one, over another): the last fields of `Seen`."""
    import numpy as np

    from intriguing.models import classes_of, predict

    split = "test" if "test" in data.splits else next(iter(data.splits))
    rows = data.splits[split]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_TRIED, len(rows))).astype(int))
    images, at, _ = rows.readable(chosen)
    if not len(at):
        return (split, 0), 0.0, 0.0, False
    labels = np.asarray(rows.labels)[at]
    right = int((classes_of(predict(net, images, slots=32)) == labels).sum())
    chance = float(np.bincount(labels).max() / len(labels))
    return (split, len(labels)), right / len(labels), chance, beats_commonest(right, len(labels), chance, CLEARLY)


def _remark(data: "Dataset") -> str:
    """What should be known of a data set's images: that they are photos which are enlarged; "" else."""
    images = next(iter(data.splits.values())).images
    return enlarged(images) if isinstance(images, Photos) else ""
