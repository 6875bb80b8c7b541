"""Weights in and out: safetensors, or a state dict read without running any code in it."""

import hashlib
import io
import json
import logging
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from intriguing.data.files import open_regular
from intriguing.errors import WeightsError
from intriguing.models.checkpoints import State, fitting

_LOG = logging.getLogger(__name__)
_HEADER = 32 * 1024**2
"""Bytes of a safetensors header at most: it holds some 300,000 names."""


_SAVE = "Load them where they were made, and save model.state_dict()."


def save_weights(model: nn.Module) -> bytes:
    """All weights and buffers of `model` as safetensors: the same bytes for the same values, whatever the device."""
    return safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()})


def weights_hash(weights: bytes | nn.Module) -> str:
    """SHA-256 of weights as `save_weights` gives them."""
    return hashlib.sha256(weights if isinstance(weights, bytes) else save_weights(weights)).hexdigest()


def load_weights(model: nn.Module, weights: bytes | str | Path) -> nn.Module:
    """Fill `model` with weights, given as bytes or as a file, in safetensors or in torch's format; returns it.

    A state dict may lie inside a checkpoint (`state_dict`, `model_state_dict`, `model`, `net`, ...), and all its names
    may have a prefix in common (`module.`, `model.`, `_orig_mod.`, ...), as training scripts, Lightning, DataParallel
    and torch.compile leave them: it is taken where its names then are exactly the model's, and a log line says so.
    Floats of another width are converted, which a log line says, too; a tensor of another kind (integers or complex
    numbers for floats, ...) is refused.

    Raises `WeightsError` for a file that is missing or cannot be read, and for one that lacks tensors, has others, or
    has tensors of other shapes or kinds; the model is unchanged then.
    """
    where = "The weights" if isinstance(weights, bytes) else f"The weights file {weights}"
    if not isinstance(weights, bytes):
        try:
            with open_regular(Path(weights).expanduser()) as file:
                weights = file.read()
        except OSError as e:
            raise WeightsError(f"{where} cannot be read: {e.strerror}.") from None
    own = model.state_dict()
    state = fitting(_parse(weights, where), own, where, type(model).__name__)
    casts = [_checked_cast(name, state[name], tensor, where) for name, tensor in own.items()]
    if told := sorted({cast for cast in casts if cast}):
        _LOG.info("%s are converted: %s", where, ", ".join(told))
    model.load_state_dict(state)
    return model


def _checked_cast(name: str, given: torch.Tensor, own: torch.Tensor, where: str) -> str:
    """What becomes of `given` in a tensor of the type of `own`, in words; empty where nothing does.

    Raises `WeightsError` where it would become another number than rounding makes of it.
    """
    if given.is_meta:
        raise WeightsError(f"{where} hold {name} without values (on the device 'meta'). Save the weights themselves.")
    if given.dtype == own.dtype and _kind(given) == _kind(own):
        return ""
    pair = f"{str(given.dtype).removeprefix('torch.')} to {str(own.dtype).removeprefix('torch.')}"
    if _kind(given) != _kind(own):
        raise WeightsError(
            f"{where} hold {name} as {_called(given)}, and the model's is {own.dtype}: it would be another number. "
            "Give the weights in the model's type (integers are often quantised weights: dequantise them first)."
        )
    cast = given.to(own.dtype)
    if own.dtype.is_floating_point:
        lost = bool((given.to(torch.float64).isfinite() & ~cast.to(torch.float64).isfinite()).any())
    else:
        lost = not own.dtype.is_complex and not torch.equal(cast.to(given.dtype), given)
    if lost:
        raise WeightsError(f"{where} hold {name} as {given.dtype} with values that {own.dtype} cannot hold.")
    return pair


def _called(tensor: torch.Tensor) -> str:
    plain = not tensor.is_quantized and tensor.layout == torch.strided
    return str(tensor.dtype) if plain else f"a tensor of layout {tensor.layout} and type {tensor.dtype}"


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_quantized or tensor.layout != torch.strided:
        return f"{tensor.layout} {tensor.dtype}"
    if tensor.dtype == torch.bool:
        return "bool"
    return "complex" if tensor.is_complex() else "float" if tensor.is_floating_point() else "integer"


def _parse(content: bytes, where: str) -> Mapping[Any, Any]:
    # A safetensors file is the length of its header (8 bytes), then the header, in JSON.
    if content[8:9] == b"{":
        return _safetensors(content, where)
    _check_zip(content, where)
    try:
        state: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as e:  # the unpickler lets through whatever damaged bytes lead to
        raise WeightsError(
            f"{where} cannot be read ({_why_not(e)}). Give safetensors, or a state dict "
            "saved by torch.save(model.state_dict(), ...): whole models and other "
            "Python objects are refused, since reading them would run their code."
        ) from None
    if not isinstance(state, Mapping):
        kind = type(state).__name__
        raise WeightsError(f"{where} hold no state dict (names and tensors) but a {kind}. Save model.state_dict().")
    return state


def _why_not(error: Exception) -> str:
    """An error of torch.load in short, without its advice to read the file all the same."""
    if "weights only load failed" in str(error).lower():
        return "it holds other objects than tensors"
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return f"{type(error).__name__}: {first}" if isinstance(error, (KeyError, ValueError, IndexError)) else first


def _safetensors(content: bytes, where: str) -> State:
    """The tensors of a safetensors file, whose header is held against what is there."""
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, _HEADER):
        raise WeightsError(
            f"{where} cannot be read as safetensors: a header of {length:,} bytes is declared in a file of "
            f"{len(content):,}. It is truncated or damaged."
        )
    try:
        repeated: list[str] = []
        json.loads(content[8 : 8 + length], object_pairs_hook=lambda pairs: _noted(pairs, repeated))
        if repeated:
            raise WeightsError(f"{where} cannot be read as safetensors: {repeated[0]!r} stands twice in its header.")
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, RecursionError, OverflowError, KeyError, RuntimeError) as e:
        if isinstance(e, WeightsError):
            raise
        reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise WeightsError(f"{where} cannot be read as safetensors ({reason}). It is truncated or damaged.") from None


def _noted(pairs: list[tuple[str, Any]], repeated: list[str]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated += [name for name, count in Counter(name for name, _ in pairs).items() if count > 1][:1]
    return found


def _check_zip(content: bytes, where: str) -> None:
    """Refuse a packed archive: torch.save packs nothing, so it is none of its files, and may unpack to any size."""
    if not content.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except Exception:  # no archive: torch says so better
        return
    names = [m.filename for m in members]
    if names and not any(name.endswith("data.pkl") for name in names):
        raise WeightsError(f"{where} cannot be read: they are no file of torch.save. {_SAVE}")
    if any("/code/" in name for name in names):
        raise WeightsError(f"{where} cannot be read: they are a scripted model, whose code would run. {_SAVE}")
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > len(content):
        raise WeightsError(
            f"{where} cannot be read: they are a packed archive, which torch.save never writes. Unpack it first."
        )
