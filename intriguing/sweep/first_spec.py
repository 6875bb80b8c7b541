"""A first spec for a model that somebody brings: its layers are listed, its data guessed, every choice commented."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_folder
from intriguing.data import FORMS, load_dataset
from intriguing.data.factories import without_factory
from intriguing.data.photos import Photos, enlarged
from intriguing.errors import InputError, IntriguingError, ModelError
from intriguing.stages.common.child import Call, in_child
from intriguing.stats.commonest import CLEARLY, beats_commonest
from intriguing.units.scoring.scores import METRICS, Depth

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from intriguing.data import Dataset

_MOST = 200
"""Layers that are listed."""
_CALLS = 16
"""Calls of a layer in one forward pass that are listed, as NAME#1, NAME#2, ..."""
_SECONDS = 600.0
_TOP = 16
"""Top inputs per direction, where there are enough."""
_TESTED = ("purity", "kurtosis")
"""Scores that are tested."""
_TRIED = 256
"""Images that a model is tried on, to see whether it comes trained."""

_NAMED = 5
"""Files that a message names at most."""


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


def first_spec(
    architecture: str, source: str | None = None, weights: str | None = None, name: str | None = None
) -> tuple[str, str]:
    """A name for the sweep, and the text of a spec that runs `architecture` on `source`, by default what lies here.

    name: the sweep's name, where it is not to be the model's.

    Raises:
        InputError: no data were given, and the working folder has none.
        ModelError, DataError, WeightsError: the model or its data cannot be used; the message says why.
    """
    if source is None and (hint := without_factory(architecture)):  # before data are asked for
        raise ModelError(f"There is no model named {architecture!r}.{hint}")
    chosen = source or guessed_source(Path.cwd())
    asked = Asked(architecture, chosen, os.path.realpath(expanded(weights)) if weights else "")
    seen = in_child(f"{__name__}:look", [Call(architecture, asked)], _SECONDS, ModelError)[0]
    name = name or _named(architecture)
    return name, _text(name, asked, seen, guessed=source is None)


def _named(what: str) -> str:
    """What a spec calls a model or data: torchvision's NAME, a file or folder without its ending, a module."""
    kind, _, rest = what.partition(":")
    if kind in FORMS:
        kind = Path(rest.partition("?")[0]).stem
    elif kind == "torchvision":
        kind = rest
    return re.sub(r"\W+", "-", kind).strip("-") or "mine"


def guessed_source(folder: Path) -> str:
    """The data that lie in a folder: photos in train/ and test/ (or val/), else its only npz file."""
    if is_folder(folder / "train") and (is_folder(folder / "test") or is_folder(folder / "val")):
        return f"imagefolder:{folder}"
    arrays = sorted(folder.glob("*.npz"))
    if len(arrays) == 1:
        return f"npz:{arrays[0]}"
    if arrays:
        names = ", ".join(path.name for path in arrays[:_NAMED]) + (", ..." if len(arrays) > _NAMED else "")
        raise InputError(
            f"Which images does the model take? {folder} holds {len(arrays)} npz files ({names}). Say which with "
            f"--data npz:{arrays[0].name}."
        )
    raise InputError(
        f"Which images does the model take? {folder} holds neither photos (train/CLASS/*.jpg and test/CLASS/*.jpg) nor "
        "an npz file. Say so with --data: imagefolder:PATH, npz:PATH, module:factory, or a name of `intriguing "
        "datasets`."
    )


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


def _text(name: str, asked: Asked, seen: Seen, guessed: bool) -> str:
    sizes = ", ".join(f"{size:,} {split}" for split, size in seen.sizes.items())
    chosen = _chosen(seen.layers)
    images = min(seen.sizes.values())
    top = min(_TOP, max(1, images // 10))  # as many inputs as the scores of top inputs ask for
    lines = [
        f"# A first sweep of {asked.architecture}: are its units special, how small a change makes it wrong?",
        "# Every key is explained in docs/spec.md; what stands behind a # is not read.",
        f"name = {_quoted(name)}",
        "",
        f"[datasets.{_quoted(_named(asked.source))}]",
        f"source = {_quoted(asked.source)}{'   # guessed from what lies here' if guessed else ''}",
        f"# {sizes} images of shape {tuple(seen.shape)}, {seen.classes:,} classes",
        *([f"# {seen.remark}"] if seen.remark else []),
        "",
        f"[models.{_quoted(_named(asked.architecture))}]",
        f"architecture = {_quoted(asked.architecture)}   # {seen.parameters:,} parameters",
        *_weights(asked, seen),
        f"layers = [{', '.join(map(_quoted, chosen))}]",
        *_listed(seen.layers),
        "",
        "[units]",
        f"k = {top}           # top inputs that are kept per direction",
        _rotations(seen),
        f"metrics = [{', '.join(map(_quoted, _TESTED))}]   # the scores that are tested; without it all eight, which "
        "takes longer",
        "",
        "[blind_spots]",
        f"images = {min(100, images)}     # how many test images are searched",
        "",
        "[transfer]       # what fools the model is fed to all models: it says more with several",
        "",
    ]
    return "\n".join(lines)


def _rotations(seen: Seen) -> str:
    """How many rotations the test takes: none where there are too few images for any of the scores."""
    there = seen.sizes.get("test", 0)
    needed = min(METRICS[name].least_tested(METRICS[name].least(Depth(k=_TOP))) for name in _TESTED)
    if there < needed:
        return (
            f"rotations = 0    # {there:,} test images are too few for the test against random directions ({needed:,})"
        )
    return "rotations = 999  # the test against random directions; 0 makes none"


def _listed(layers: dict[str, LayerSeen]) -> list[str]:
    """The layers in columns: name, type, units, and where units have maps, their size."""
    rows = [
        (_quoted(name), layer.kind, " x ".join(f"{n:,}" for n in (layer.units, *layer.maps)))
        for name, layer in layers.items()
    ]
    shown = rows[:_MOST]
    wide = [max((len(row[at]) for row in shown), default=0) for at in range(2)]
    return [
        "# Layers that can be collected, in the model's order: name, type, units (x the size of a unit's map):",
        *(f"#   {name:{wide[0]}}  {kind:{wide[1]}}  {shape}" for name, kind, shape in shown),
        *([f"#   and {len(rows) - _MOST:,} more"] if len(rows) > _MOST else []),
    ]


def _weights(asked: Asked, seen: Seen) -> list[str]:
    """Where the model's weights come from: a file, the function that makes it, or a training."""
    check = "# If you measured more: is the normalisation inside the model, and the size of the images right?"
    (split, count), loads = seen.tried, '# weights = "weights.safetensors"   # or a state dict, in place of training'
    found = f"right on {seen.right:.0%} of {count:,} {split} images (always the commonest class: {seen.chance:.0%})"
    if asked.weights:
        return [f"weights = {_quoted(asked.weights)}", f"# With these weights it is {found}.", check]
    if seen.comes_trained:
        return [
            f"# As it is made it is {found}: it comes trained, and is used so.",
            check,
            "train = false   # true trains it from there",
            loads,
        ]
    if "train" not in seen.sizes:
        return [
            f"# As it is made it is {found}, and there are no images to train it on: name a file of weights.",
            check,
            "train = false",
            loads,
        ]
    return [
        f"# As it is made it is {found}: it comes untrained, and is trained here.",
        check,
        "training = { epochs = 20 }",
        "# train = false   # in place of training: it is used as it is made",
        loads,
    ]


def _chosen(layers: dict[str, LayerSeen]) -> list[str]:
    """Up to two layers that learn and count: the widest of their second half with at most 4,096 units, and the last."""
    learning = [path for path, layer in layers.items() if layer.learns and layer.counts]
    paths = [path for path in learning if 2 <= layers[path].units <= 4_096]
    if not paths:
        return learning[-1:] or list(layers)[-1:]
    late = paths[(len(paths) - 1) // 2 :]
    widest = max(late, key=lambda path: layers[path].units)
    return list(dict.fromkeys([widest, paths[-1]]))


def _quoted(text: str) -> str:
    """`text` as TOML's basic string."""
    escaped = "".join(c if c.isprintable() and c not in '\\"' else f"\\U{ord(c):08X}" for c in text)
    return f'"{escaped}"'
