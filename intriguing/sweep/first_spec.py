"""A first spec for a model that somebody brings: its layers are listed, its data guessed, every choice commented."""

import os
import re
from pathlib import Path

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_folder
from intriguing.data import FORMS
from intriguing.data.factories import without_factory
from intriguing.errors import InputError, ModelError
from intriguing.stages.common.child import Call, in_child
from intriguing.sweep import first_look
from intriguing.sweep.first_look import Asked, LayerSeen, Seen
from intriguing.units.scoring.scores import METRICS, Depth

_MOST = 200
"""Layers that are listed."""
_SECONDS = 600.0
_TOP = 16
"""Top inputs per direction, where there are enough."""
_TESTED = ("purity", "kurtosis")
"""Scores that are tested."""

_NAMED = 5
"""Files that a message names at most."""


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
    seen = in_child(f"{first_look.__name__}:look", [Call(architecture, asked)], _SECONDS, ModelError)[0]
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
