"""One forward pass that ends after the last wanted layer and gives a vector per input, or per place, of each layer.

Plain hooks, because they see every module that runs, also where tracing fails. What a hook gets is reduced or copied
at once: the next layer may overwrite it in place (AlexNet's ReLUs do).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from intriguing.activations.layers import Layer
from intriguing.brief import brief
from intriguing.errors import InputError, IntriguingError, ModelError
from intriguing.inputs import feeding

Reduce = Literal["max", "mean", "positions"]
REDUCTIONS: tuple[Reduce, ...] = ("max", "mean", "positions")


class _LastLayerSeen(Exception):
    """Ends a forward pass: all that was asked for is there."""


@dataclass(frozen=True)
class Captured:
    """A layer's output for a batch of n inputs."""

    __repr__ = brief

    vectors: torch.Tensor
    """(n, units), or (n, places, units) for `positions`; float32."""
    places: torch.Tensor | None
    """Where in the map (row major) the maximum of each unit lies, (n, units) int32; for `max` of a map alone."""
    map_shape: tuple[int, ...]
    """The shape of the layer's map: () for one vector per input."""


def reduce_map(output: torch.Tensor, reduce: Reduce, *, copy: bool = True, where: bool = True) -> Captured:
    """A layer's `output` (n, ...) as vectors of its units; without `copy` they may share its memory, without `where`
    the places of the maxima are left out, which is quicker.

    (n, D) is taken as it is. (n, C, ...) with two or more further axes is a map of C channels. (n, T, D) is a sequence
    of T tokens of D units, as in transformers.
    """
    n = len(output)
    if output.ndim == 2:
        kept = output.float()
        return Captured(kept.clone() if copy and kept is output else kept, None, ())
    if output.ndim < 2:
        raise ModelError(f"A layer's output has shape (inputs, units, ...), not {tuple(output.shape)}.")
    if output.ndim == 3:
        shape, places = (output.shape[1],), output.movedim(1, 2)
    else:
        shape, places = tuple(output.shape[2:]), output.flatten(2)
    if reduce == "mean":
        return Captured(places.float().mean(dim=2), None, shape)
    if reduce == "max" and not where:
        return Captured(places.amax(dim=2).float(), None, shape)
    if reduce == "max":
        values, at = places.max(dim=2)
        return Captured(values.float(), at.int(), shape)
    copied = torch.empty((n, places.shape[2], places.shape[1]), dtype=torch.float32, device=output.device)
    copied.copy_(places.transpose(1, 2))
    return Captured(copied, None, shape)


class Capture:
    """Runs `model` up to the last of `layers`; use it as a context manager, which adds and removes the hooks.

    The first batch runs to the end, and is held against what was asked for: every layer must run, and run once unless
    its name says which call is meant. The model is in evaluation mode meanwhile, and gets its own mode back.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], reduce: Reduce = "max", *, where: bool = True
    ) -> None:
        if reduce not in REDUCTIONS:
            raise InputError(f"reduce is one of {', '.join(map(repr, REDUCTIONS))}, not {reduce!r}.")
        self._model, self._layers = model, list(layers)
        self._reduce: Reduce = reduce
        self._where = where
        self._seen: dict[str, Captured] = {}
        self._calls: Counter[str] = Counter()
        self._checked = False
        self._modes: list[tuple[nn.Module, bool]] = []
        self._handles: list[Any] = []

    def __enter__(self) -> "Capture":
        modules = dict(self._model.named_modules())
        self._modes = [(module, module.training) for module in modules.values()]
        self._model.eval()
        by_path: dict[str, list[Layer]] = {}
        for layer in self._layers:
            by_path.setdefault(layer.path, []).append(layer)
        for path, wanted in by_path.items():
            module = modules[path]
            inputs = [layer for layer in wanted if layer.is_input]
            if inputs:
                self._handles.append(module.register_forward_pre_hook(self._before(path, inputs), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._after(path, wanted, counts=not inputs)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        for module, mode in self._modes:
            module.training = mode
        self._handles, self._modes = [], []

    def __call__(self, batch: torch.Tensor) -> dict[str, Captured]:
        """The layers' vectors for a `batch` of inputs (n, ...), by the layers' names."""
        self._seen, self._calls = {}, Counter()
        with torch.inference_mode():
            try:
                with feeding(self._model, batch):
                    self._model(batch)
            except _LastLayerSeen:
                pass
            except IntriguingError:
                raise
            except (RuntimeError, TypeError, ValueError) as error:
                raise ModelError(
                    f"The model cannot be fed a batch of shape {tuple(batch.shape)} and type {batch.dtype}: {error}"
                ) from error
        if not self._checked:
            self._check(len(batch))
        return {layer.name: self._seen[layer.name] for layer in self._layers}

    def _check(self, n: int) -> None:
        for layer in self._layers:
            calls = self._calls[layer.path]
            if layer.name not in self._seen:
                raise ModelError(
                    f"Layer {layer.name!r} did not run in the model's forward (its module ran {calls} times). Name a "
                    "layer that runs."
                )
            if layer.call is None and calls > 1:
                raise InputError(
                    f"Layer {layer.name!r} runs {calls} times in one forward: say which is meant, "
                    f"{layer.name + '#1'!r} to {layer.name + f'#{calls}'!r}."
                )
            got = len(self._seen[layer.name].vectors)
            if got != n:
                raise ModelError(
                    f"Layer {layer.name!r} gave {got} rows for {n} inputs: its first axis is not the batch."
                )
        self._checked = True

    def _before(self, path: str, wanted: list[Layer]) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._calls[path] += 1
            for layer in wanted:
                if self._calls[path] == (layer.call or 1):
                    self._keep(layer, args[0] if args else next(iter(kwargs.values()), None))

        return hook

    def _after(self, path: str, wanted: list[Layer], counts: bool) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._calls[path] += counts
            for layer in wanted:
                if not layer.is_input and self._calls[path] == (layer.call or 1):
                    self._keep(layer, output)

        return hook

    def _keep(self, layer: Layer, value: Any) -> None:
        tensor = _only_tensor(value)
        if tensor is None:
            raise ModelError(
                f"Layer {layer.name!r} gives a {type(value).__name__}, not one tensor: name a layer inside it, or "
                "the one before it."
            )
        # The last one is safe without a copy: nothing runs after it.
        last = self._checked and len(self._seen) == len(self._layers) - 1
        self._seen[layer.name] = reduce_map(
            tensor.detach(), self._reduce, copy=not last or layer.is_input, where=self._where
        )
        if last:
            raise _LastLayerSeen


def _only_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (tuple, list)):
        tensors = [v for v in value if isinstance(v, torch.Tensor)]
        return tensors[0] if len(tensors) == 1 else None
    return None
