"""Build a model from the name and the options of its architecture, with initial weights drawn from a seed."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.nn.parameter import is_lazy

from intriguing import randomness
from intriguing.basics.process.users_code import users_code
from intriguing.basics.torch_modes import evaluating, seeded
from intriguing.data import factories
from intriguing.errors import IntriguingError, ModelError, check_names, unknown_name
from intriguing.models import networks, published
from intriguing.models.networks import Shape
from intriguing.models.registry import known_models

_GIVEN = ("shape", "classes", "seed")
"""Parameters that a user's function is given without options."""

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
    """The model of an `architecture` (see `known_models`) for images of `shape` (C, H, W).

    options: those of the architecture, such as `hidden`. A `module:factory` gets them as keyword arguments, and also
    `shape`, `classes` and `seed` if it has parameters of these names. seed: decides the initial weights; the global
    random states of torch, NumPy and Python are neither used nor changed. Lazy layers get the shapes
    for a blank image; of a program of torch.export the module is returned.

    Raises:
        UnknownNameError: no such architecture or option.
        ModelError: an option is out of range, the image does not fit, or a user's factory fails.
    """
    kind, _, name = architecture.partition(":")
    options = dict(options or {})
    arguments: dict[str, Any] = {"shape": tuple(shape), "classes": classes}
    if kind == "torchvision" and name:
        make = partial(published.named, name)
    elif name:
        make = factories.resolve(architecture, ModelError)
        if isinstance(make, nn.Module):
            raise ModelError(
                f"{architecture} is a {type(make).__name__}. Name a function that makes one, since every process makes "
                f"its own: write `def build(): return {name}` beside it, and name {kind}:build."
            )
        accepted = _parameters(make)
        arguments = {k: v for k, v in (arguments | {"seed": seed}).items() if k in accepted and k not in options}
        _check_fits(architecture, make, arguments, options)
    elif architecture in _BUILDERS:
        make = _BUILDERS[architecture]
        arguments = {k: v for k, v in arguments.items() if k in _parameters(make)}
    else:
        if hint := factories.without_factory(architecture):
            raise ModelError(f"There is no model named {architecture!r}.{hint}")
        raise unknown_name("model", architecture, known_models())
    if not name or kind == "torchvision":
        valid = [p for p in _parameters(make) if p not in ("shape", "classes", "name")]
        check_names(f"option of {architecture}", options, valid)
        _check_types(architecture, make, options)
    with users_code(), seeded(randomness.torch_seed(seed, "initial weights", architecture)):
        try:
            model = make(**arguments, **options)
        except IntriguingError:
            raise
        except Exception as e:
            called = f"{architecture} with {options}" if options else architecture
            raise ModelError(f"{called} failed: {type(e).__name__}: {e}") from e
        if isinstance(model, torch.export.ExportedProgram):
            model = model.module()
        if not isinstance(model, nn.Module):
            raise ModelError(f"{architecture} returned {type(model).__name__}; it must return a torch.nn.Module.")
        if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
            with suppress(Exception), torch.no_grad(), evaluating(model):  # whoever feeds it says why it cannot be fed
                model(torch.zeros(2, *shape))
    return model


def _check_types(architecture: str, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise `ModelError` for an option of a wrong type, such as "16" or true in place of 16."""
    hints = get_type_hints(make.func if isinstance(make, partial) else make)
    for key, value in options.items():
        try:
            TypeAdapter(hints[key]).validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ModelError(f"Option {key} of {architecture} is {value!r}: {said}.") from None


def _check_fits(
    architecture: str, make: Callable[..., Any], given: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Raise where a user's function takes no such option, or needs one that is not there."""
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return
    by_name = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        own = [name for name in by_name if name not in _GIVEN]
        check_names(f"option of {architecture}", options, {*own, *(o for o in options if o in by_name)})
    for name, parameter in by_name.items():
        if parameter.default is parameter.empty and name not in given and name not in options:
            raise ModelError(
                f"{architecture} needs {name!r}, which has no default value: name it in the model's options "
                f"(options = {{ {name} = ... }}), or give it a default. What every function is given, where it has "
                f"parameters of these names: {', '.join(_GIVEN)}."
            )


def _parameters(make: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        return []
