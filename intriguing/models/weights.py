"""Weights in and out: safetensors, or a state dict read without running any code in it."""

import hashlib
import io
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from intriguing.errors import WeightsError


def save_weights(model: nn.Module) -> bytes:
    """All weights and buffers of `model` as safetensors: the same bytes for the same values, whatever the device."""
    return safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()})


def weights_hash(weights: bytes | nn.Module) -> str:
    """SHA-256 of weights as `save_weights` gives them."""
    return hashlib.sha256(weights if isinstance(weights, bytes) else save_weights(weights)).hexdigest()


def load_weights(model: nn.Module, weights: bytes | str | Path) -> nn.Module:
    """Fill `model` with weights, given as bytes or as a file, in safetensors or in torch's format; returns it.

    A state dict may lie under the key `state_dict` or `model`, and its names may begin with `module.`, as training
    scripts leave them. Raises `WeightsError` for a file that is missing or cannot be read, and for one that lacks
    tensors, has others, or has tensors of other shapes; the model is unchanged then.
    """
    where = "The weights" if isinstance(weights, bytes) else f"The weights file {weights}"
    if not isinstance(weights, bytes):
        try:
            weights = Path(weights).expanduser().read_bytes()
        except OSError as e:
            raise WeightsError(f"{where} cannot be read: {e.strerror}.") from None
    state = _parse(weights, where)
    own = model.state_dict()
    if not set(state) & set(own):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    misshaped = [
        f"{name} is {tuple(state[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(state))
        if state[name].shape != own[name].shape
    ]
    if missing or unexpected or misshaped:
        faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        told = "; ".join(f"{kind}: {_some(names)}" for kind, names in faults if names)
        raise WeightsError(f"{where} do not fit {type(model).__name__}. {told}. Check the model's options.")
    model.load_state_dict(state)
    return model


def _parse(content: bytes, where: str) -> dict[str, torch.Tensor]:
    # A safetensors file is the length of its header (8 bytes), then the header, in JSON.
    if content[8:9] == b"{":
        try:
            return safetensors.torch.load(content)
        except safetensors.SafetensorError as e:
            raise WeightsError(f"{where} cannot be read as safetensors ({e}). It is truncated or damaged.") from None
    try:
        state: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as e:  # the unpickler lets through whatever damaged bytes lead to
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise WeightsError(
            f"{where} cannot be read ({reason}). Give safetensors, or a state dict "
            "saved by torch.save(model.state_dict(), ...): whole models and other "
            "Python objects are refused, since reading them would run their code."
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{where} hold no state dict (names and tensors). Save model.state_dict().")
    return state


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
