"""What a model keeps outside of its state dict, and so of the weights that a sweep stores.

A network is built again wherever it is used, and takes the stored weights. What lies outside of them must then be what
it was: constants may, numbers that were drawn at random may not.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from intriguing.basics.process.users_code import modes_left_changed
from intriguing.basics.torch_modes import device_of, evaluating
from intriguing.errors import ModelError
from intriguing.models.feeding.batches import input_type

_OWN = ("_parameters", "_buffers", "_modules")
_DEEPEST = 4
"""How deep lists in lists are looked into."""


def check_forward(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise `ModelError` where the forward of `model` leaves torch to compute otherwise than before: all that is
    computed after it, in the same task, would be another figure.
    """

    def once() -> None:
        with torch.no_grad(), evaluating(model):
            images = torch.zeros(2, *shape)
            model(images.to(device_of(model), input_type(model, images)))

    left = modes_left_changed(once)
    if left:
        raise ModelError(
            f"The model's forward changes {' and '.join(left)} of torch and leaves it so, for all that is computed "
            "after it. Let it end with the call, as `with torch.autocast(...):` inside forward does, or set again what "
            "was there before."
        )


def check_outside(
    model: nn.Module, shape: tuple[int, int, int], again: Callable[[int], nn.Module], seeds: Iterable[int]
) -> None:
    """Raise `ModelError` where what `model` keeps outside of its state dict cannot be stored, or makes another network
    of it when it is built `again`, with any of the `seeds`, and given its state dict.

    It is built again only if modules keep numbers there: in buffers with persistent=False, or in plain attributes.
    """
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"The model's state dict has {name!r}, a {type(value).__name__}: of a state dict tensors alone are "
                "stored. Keep it in a buffer, or let the model's function set it."
            )
    first = _outside(model)
    for seed in dict.fromkeys(seeds) if first else ():
        other = again(seed)
        found = _outside(other)
        names = [name for name in first if found.get(name) != first[name]]
        if names and not _answers_alike(model, other, shape):
            more = f" (and in {len(names) - 1} more)" if len(names) > 1 else ""
            raise ModelError(
                f"The model keeps random numbers outside of its state dict, in {names[0]!r}{more}: built again, and "
                "given its weights, it is another network. Make that a buffer (self.register_buffer(name, tensor)) or "
                "a parameter, or draw it by a generator that begins at a fixed seed."
            )


def _answers_alike(model: nn.Module, other: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether `other`, which takes the weights of `model`, gives what it gives; True where nothing can be compared."""
    noise = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        other.load_state_dict(model.state_dict())
        with torch.no_grad(), evaluating(model), evaluating(other):
            dtype = input_type(model, noise)
            one, two = model(noise.to(device_of(model), dtype)), other(noise.to(device_of(other), dtype))
        return bool(torch.allclose(one, two, rtol=1e-3, atol=1e-5 * float(one.abs().max()), equal_nan=True))
    except Exception:  # of a model that takes other batches, say: whoever feeds it tells
        return True


def _outside(model: nn.Module) -> dict[str, str]:
    """A hash of each tensor or array that modules keep outside of the state dict, by its name there."""
    stored = {id(weight) for weight in (*model.parameters(), *model.state_dict(keep_vars=True).values())}
    found = {}
    for path, module in model.named_modules():
        held = {name: value for name, value in vars(module).items() if name not in _OWN}
        for name, value in _arrays({**held, **module._buffers}):
            if id(value) not in stored:
                found[f"{path}.{name}".lstrip(".")] = _hash(value)
    return found


def _arrays(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor | np.ndarray]]:
    """The tensors and arrays in `value`, which may lie in dictionaries, lists or tuples (which may hold themselves)."""
    if isinstance(value, torch.Tensor | np.ndarray):
        yield name, value
    elif isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _arrays(inner, f"{name}.{key}".lstrip("."), depth + 1)


def _hash(value: torch.Tensor | np.ndarray) -> str:
    if isinstance(value, np.ndarray):
        content = repr(value).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
        return hashlib.sha256(content).hexdigest()
    if value.is_meta or value.layout is not torch.strided or value.is_quantized:
        return str(value.shape)
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous().view(-1)
    plain = torch.view_as_real(plain).view(-1) if plain.is_complex() else plain
    return hashlib.sha256(plain.view(torch.uint8).numpy().tobytes()).hexdigest()
