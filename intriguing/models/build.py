"""A model from its architecture's name and options, its initial weights keyed by a seed."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from intriguing import randomness
from intriguing.data import factories
from intriguing.errors import IntriguingError, ModelError, unknown_name
from intriguing.models import networks, published
from intriguing.models.networks import Shape
from intriguing.models.registry import known_models

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "softmax": networks.softmax,
    "mlp": networks.mlp,
    "cnn": networks.cnn,
    "autoencoder": networks.autoencoder,
    "alexnet": partial(published.named, "alexnet"),
    "alexnet-features": published.alexnet_features,
}


def build_model(
    architecture: str,
    shape: Shape,
    classes: int,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> nn.Module:
    """The model that `architecture` names (`known_models`), for images of `shape` (C, H, W), weights keyed by `seed`.

    `options` are the architecture's own (such as `hidden`). A `module:factory` gets them as keywords, and `shape`,
    `classes` and `seed` too where it has parameters of these names. The global random state of torch is neither read
    nor moved.

    Raises:
        UnknownNameError: no such architecture or option.
        ModelError: an option is out of range, the image does not fit, or a user's factory fails.
    """
    kind, _, name = architecture.partition(":")
    options = dict(options or {})
    given: dict[str, Any] = {"shape": tuple(shape), "classes": classes}
    if kind == "torchvision" and name:
        make = partial(published.named, name)
    elif name:
        make = factories.resolve(architecture, ModelError)
        wanted = _parameters(make)
        given = {k: v for k, v in (given | {"seed": seed}).items() if k in wanted and k not in options}
    elif architecture in _BUILDERS:
        make = _BUILDERS[architecture]
        given = {k: v for k, v in given.items() if k in _parameters(make)}
    else:
        raise unknown_name("model", architecture, known_models())
    if not name or kind == "torchvision":
        valid = [p for p in _parameters(make) if p not in ("shape", "classes", "name")]
        for key in options:
            if key not in valid:
                raise unknown_name(f"option of {architecture}", key, valid)
        _check_types(architecture, make, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.torch_seed(seed, "initial weights", architecture))
        try:
            model = make(**given, **options)
        except IntriguingError:
            raise
        except Exception as e:
            raise ModelError(f"{architecture} with {options} failed: {type(e).__name__}: {e}") from e
    if not isinstance(model, nn.Module):
        raise ModelError(f"{architecture} returned a {type(model).__name__}; it must return a torch.nn.Module.")
    return model


def _check_types(architecture: str, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse an option of another type than the architecture's own function asks for, such as "16" or true for 16."""
    hints = get_type_hints(make.func if isinstance(make, partial) else make)
    for key, value in options.items():
        try:
            TypeAdapter(hints[key]).validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ModelError(f"Option {key} of {architecture} is {value!r}: {said}.") from None


def _parameters(make: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        return []
