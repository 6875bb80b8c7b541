"""torchvision's classification models, made to take raw pixels: their normalisation is a layer named `normalize`."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from intriguing.basics.folders.presence import is_file
from intriguing.data.vision import torchvision
from intriguing.errors import ModelError, unknown_name
from intriguing.models.networks import Shape

# The means and standard deviations of ImageNet's channels that torchvision's models were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """(x - mean) / std per channel, for x (B, C, H, W) in [0, 1]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, ...] = _MEAN, std: tuple[float, ...] = _STD) -> None:
        super().__init__()
        # Not persistent, because published weights files do not contain this layer.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The normalised images (B, C, H, W)."""
        return (x - self.mean) / self.std


class Enlarge(nn.Module):
    """Images (B, C, H, W) at another size, by bilinear interpolation: small images for a network of large ones."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The images (B, C, size, size)."""
        return F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)


def named(
    name: str, shape: Shape, classes: int, published: bool = False, download: bool = False, resize: int = 0
) -> nn.Module:
    """A classification model of torchvision, `name`, with layers named as there, and `normalize` before them.

    resize: images are first resized to this height and width; 0: they are not. published: load torchvision's default
    weights, from torch hub's cache or, with `download`, from the network; the model then has their number of classes.

    Raises: `UnknownNameError` for an unknown name; `ModelError` if the weights are missing.
    """
    models = torchvision().models
    names = models.list_models(module=models)
    if name not in names:
        raise unknown_name("torchvision model", name, names)
    _colour(f"torchvision:{name}", shape)
    if not published:
        model = models.get_model(name, weights=None, num_classes=classes)
    else:
        weights = models.get_model_weights(name).DEFAULT
        state = _published_state(name, weights, download)
        model = models.get_model(name, weights=None, num_classes=len(weights.meta["categories"]))
        model.load_state_dict(state)
    _in_place(model, False)
    model.add_module("normalize", _first(resize))
    # A hook, because a wrapper would add a prefix to the names of all layers and weights.
    model.register_forward_pre_hook(_normalize_first)
    return model


def alexnet_features(shape: Shape, resize: int = 0) -> nn.Sequential:
    """AlexNet up to its last pooling (Krizhevsky 2014's one tower): `normalize`, `features`. It has no logits.

    resize: images are first resized to this height and width; 0: they are not.
    """
    _colour("alexnet-features", shape)
    if (resize or min(shape[1:])) < 63:
        raise ModelError(f"alexnet-features: images of {shape[1]} x {shape[2]} are too small; it needs 63 x 63.")
    features = torchvision().models.alexnet(weights=None).features
    _in_place(features, False)
    model = nn.Sequential(OrderedDict([("normalize", _first(resize)), ("features", features)]))
    model.classifies = False  # type: ignore[assignment]
    return model


def _first(resize: int) -> nn.Module:
    """The layer before the network: its normalisation, after resizing if `resize` is not 0."""
    if resize < 0:
        raise ModelError(f"Model option resize = {resize}: a number of pixels is needed, or 0 for no change.")
    return nn.Sequential(Enlarge(resize), Normalize()) if resize else Normalize()


def _normalize_first(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    normalize = model.get_submodule("normalize")
    return (normalize(inputs[0]), *inputs[1:])


def _in_place(model: nn.Module, in_place: bool) -> None:
    """Set whether nonlinearities overwrite their input. If they do, a hook on the layer before reads their output."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = in_place  # type: ignore[assignment]


def _published_state(name: str, weights: Any, download: bool) -> dict[str, torch.Tensor]:
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if is_file(path):
        return torch.load(path, map_location="cpu", weights_only=True)
    if download:
        try:
            return weights.get_state_dict(progress=False, check_hash=True)
        except OSError as e:
            raise ModelError(f"Could not download the weights of {name} ({e}). Put {weights.url} at {path}.") from e
    raise ModelError(
        f"The published weights of {name} are not at {path}. Put {weights.url} there, or set the option "
        "download = true."
    )


def _colour(name: str, shape: Shape) -> None:
    if shape[0] != 3:
        raise ModelError(f"{name} takes images of 3 channels; these have the shape {shape}.")
