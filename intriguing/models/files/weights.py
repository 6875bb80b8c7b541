"""Save and load weights: safetensors, or a state dict of torch, which is read without running code from the file."""

import hashlib
import io
import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from intriguing.basics.folders.files import expanded
from intriguing.data.files import instead, near_files, open_regular
from intriguing.errors import WeightsError
from intriguing.models.files.checkpoints import State, fitting
from intriguing.models.registry import ENDINGS

_LOG = logging.getLogger(__name__)
_HEADER = 32 * 1024**2
"""Largest header of a safetensors file, in bytes; it has room for about 300,000 names."""


_OTHERS = "it holds other objects than tensors"
_ONCE = (
    " If you trust the file, read it once by torch.load(FILE, weights_only=False), and save the state dict in it alone."
)
_SAVE = "Load them where they were made, and save model.state_dict()."


def save_weights(model: nn.Module) -> bytes:
    """All weights and buffers of `model` as safetensors: the same bytes for the same values, whatever the device."""
    return safetensors.torch.save({k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()})


def weights_hash(weights: bytes | nn.Module) -> str:
    """SHA-256 of weights in the form that `save_weights` returns."""
    return hashlib.sha256(weights if isinstance(weights, bytes) else save_weights(weights)).hexdigest()


def load_weights(model: nn.Module, weights: bytes | str | Path) -> nn.Module:
    """Load weights into `model` and return it; weights: a file, or bytes, in the format of safetensors or of torch.

    A state dict may be inside a checkpoint (`state_dict`, `model_state_dict`, `model`, `net`, ...), and its names may
    have a common prefix (`module.`, `model.`, `_orig_mod.`, ...), as training scripts, Lightning, DataParallel and
    torch.compile save it. It is used if its names without the prefix are exactly the model's; a log line says so.
    Floats of another width are converted, which is also logged.

    Raises: `WeightsError` if the file is missing or cannot be read, and if tensors are missing, unexpected, or of
    another shape or kind (such as integers in place of floats). The model is unchanged then.
    """
    where = "The weights" if isinstance(weights, bytes) else f"The weights in {weights}"
    if not isinstance(weights, bytes):
        path = expanded(weights)
        try:
            with open_regular(path) as file:
                weights = file.read()
        except OSError as e:
            raise WeightsError(f"{where} cannot be read: {e.strerror}.{near_files(path, ENDINGS)}") from None
    own = model.state_dict()
    state = own | fitting(_parse(weights, where), own, where, type(model).__name__)
    casts = [_checked_cast(name, state[name], tensor, where) for name, tensor in own.items()]
    if conversions := sorted({cast for cast in casts if cast}):
        _LOG.info("%s are converted: %s", where, ", ".join(conversions))
    model.load_state_dict(state)
    return model


def _checked_cast(name: str, tensor: torch.Tensor, own: torch.Tensor, where: str) -> str:
    """The conversion of `tensor` to the dtype of `own`, in words; empty if none is needed.

    Raises: `WeightsError` if values would change by more than rounding.
    """
    if tensor.is_meta:
        raise WeightsError(f"{where} hold {name} without values (on the device 'meta'). Save the weights themselves.")
    if tensor.dtype == own.dtype and _kind(tensor) == _kind(own):
        return ""
    pair = f"{str(tensor.dtype).removeprefix('torch.')} to {str(own.dtype).removeprefix('torch.')}"
    if _kind(tensor) != _kind(own):
        raise WeightsError(
            f"{where} hold {name} as {_called(tensor)}, and the model's is {own.dtype}: it would be another number. "
            "Give the weights in the model's type (integers are often quantised weights: dequantise them first)."
        )
    cast = tensor.to(own.dtype)
    if own.dtype.is_floating_point:
        lost = bool((tensor.to(torch.float64).isfinite() & ~cast.to(torch.float64).isfinite()).any())
    else:
        lost = not own.dtype.is_complex and not torch.equal(cast.to(tensor.dtype), tensor)
    if lost:
        raise WeightsError(f"{where} hold {name} as {tensor.dtype} with values that {own.dtype} cannot hold.")
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
    except Exception as e:  # damaged bytes can raise any exception
        why = _why_not(e, content)
        raise WeightsError(
            f"{where} cannot be read ({why}). Give safetensors, or a state dict "
            "saved by torch.save(model.state_dict(), ...): whole models and other "
            "Python objects are refused, since reading them would run their code." + _ONCE * why.startswith(_OTHERS)
        ) from None
    if not isinstance(state, Mapping):
        kind = type(state).__name__
        raise WeightsError(f"{where} hold no state dict (names and tensors) but a {kind}. Save model.state_dict().")
    return state


def _why_not(error: Exception, content: bytes) -> str:
    """Why torch.load refused `content`, in short: what the file is, else the error without advice to read it anyway."""
    if what := instead(content[:64]):
        return f"it is {what}"
    if content.startswith(b"PK") and not zipfile.is_zipfile(io.BytesIO(content)):
        return "it is cut short or damaged: copy or download it again"
    if not content.startswith((b"PK", b"\x80")):
        return "it is neither safetensors nor a file of torch.save, or it is cut short"
    if isinstance(error, EOFError) or "unexpected EOF" in str(error):
        return "it is cut short or damaged: copy or download it again"
    if "weights only load failed" in str(error).lower():
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        return _OTHERS + (f", such as {name[1]}" if name else "")
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return f"{type(error).__name__}: {first}" if isinstance(error, (KeyError, ValueError, IndexError)) else first


def _safetensors(content: bytes, where: str) -> State:
    """The tensors of a safetensors file, after its header was compared with the size of the file."""
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
    names = dict(pairs)
    if len(names) < len(pairs):
        repeated += [name for name, count in Counter(name for name, _ in pairs).items() if count > 1][:1]
    return names


def _check_zip(content: bytes, where: str) -> None:
    """Raise `WeightsError` for a compressed archive: torch.save never compresses, and its size has no limit."""
    if not content.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except Exception:  # not an archive: the error of torch says so
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
