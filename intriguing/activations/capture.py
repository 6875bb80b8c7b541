"""One forward pass that ends after the last requested layer, with a vector per input, or per position, of each layer.

It uses hooks, because they work for every module that runs, also where tracing fails. The output that a hook receives
is reduced or copied at once, because the next layer may overwrite it in place (AlexNet's ReLUs do).
"""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from intriguing.activations.conventions import convention_of, output_of, usual_axis
from intriguing.activations.layers import Layer
from intriguing.activations.layout import Convention, Reading, reading
from intriguing.activations.tracking import Tracker
from intriguing.basics.inputs import feeding
from intriguing.basics.process.heap import reused_heap
from intriguing.basics.text.brief import brief
from intriguing.basics.torch_modes import evaluating
from intriguing.errors import InputError, IntriguingError, ModelError

log = logging.getLogger(__name__)

Reduce = Literal["max", "mean", "positions"]
REDUCTIONS: tuple[Reduce, ...] = ("max", "mean", "positions")
_NOISE = {torch.float16: 0.1, torch.bfloat16: 0.1}
"""Tolerance for rounding, as a share of a layer's largest activation, by dtype; a hundredth for others."""


class _LastLayerSeen(Exception):
    """Raised to end a forward pass after the last requested layer."""


@dataclass(frozen=True)
class Captured:
    """A layer's output for a batch of n inputs."""

    __repr__ = brief

    vectors: torch.Tensor
    """(n, units), or (n, places, units) for `positions`; float32."""
    places: torch.Tensor | None
    """Position in the map (row major) of the maximum of each unit, (n, units) int32; only for `max` of a map."""
    map_shape: tuple[int, ...]
    """The shape of the layer's map: () for one vector per input."""


def reduce_map(output: torch.Tensor, reduce: Reduce, *, copy: bool = True, where: bool = True) -> Captured:
    """A layer's `output` (n, units, places ...) as vectors of its units.

    copy: False allows the vectors to share memory with the output. where: False leaves out the positions of the maxima,
    which is faster.
    """
    n = len(output)
    if output.ndim == 2:
        vectors = output.float()
        return Captured(vectors.clone() if copy and vectors is output else vectors, None, ())
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


def reduce_sequences(packed: PackedSequence, layer: str, reduce: Reduce, *, where: bool = True) -> Captured:
    """Sequences of unequal length as vectors of their units; padding is ignored."""
    padded, lengths = pad_packed_sequence(packed, batch_first=True)
    output, longest = padded.movedim(2, 1), padded.shape[1]
    lengths = lengths.to(output.device)
    if bool((lengths == longest).all()):
        return reduce_map(output, reduce, where=where)
    if reduce == "positions":
        raise InputError(
            f"Layer {layer!r} gives sequences of {int(lengths.min())} to {longest} places: with reduce='positions' all "
            "inputs need as many. Use 'max' or 'mean'."
        )
    inside = (torch.arange(longest, device=output.device) < lengths[:, None])[:, None]
    if reduce == "max":
        return reduce_map(output.masked_fill(~inside, -torch.inf), reduce, where=where)
    total = output.masked_fill(~inside, 0).float().sum(dim=2)
    return Captured(total / lengths[:, None], None, (longest,))


class Capture:
    """Runs `model` up to the last of `layers`; use it as a context manager, which adds and removes the hooks.

    Before the first batch, some of its inputs run together with other inputs, through the whole model. This pass finds
    the meaning of the axes of each layer, and checks that every layer runs, and only once unless its name chooses a
    call. It is an error if the first batch then has other activations for the same inputs: they depend on the rest of
    the batch, or are random. The model is in eval mode inside and has its own modes again afterwards.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        reduce: Reduce = "max",
        *,
        where: bool = True,
        probe: int | None = None,
        to_end: bool = False,
    ) -> None:
        """probe: how many inputs that first pass has, at most; None: as many as the first batch. to_end: whether every
        pass goes on to the model's output, which is then the attribute `output`.
        """
        if reduce not in REDUCTIONS:
            raise InputError(f"reduce is one of {', '.join(map(repr, REDUCTIONS))}, not {reduce!r}.")
        self._model, self._layers = model, list(layers)
        self._reduce: Reduce = reduce
        self._where = where
        self._probe = probe
        self._to_end = to_end
        self.output: Any = None
        self._seen: dict[str, Captured] = {}
        self._calls: Counter[str] = Counter()
        self._readings: dict[str, Reading] = {}
        self._noise: dict[str, float] = {}
        self._tracker: Tracker | None = None
        self._rows = 0
        self._checked = False
        self._handles: list[Any] = []
        self._evaluating = ExitStack()

    def __enter__(self) -> "Capture":
        modules = dict(self._model.named_modules())
        self._evaluating.enter_context(evaluating(self._model))
        if "torch._dynamo" in sys.modules:  # compiled models run as they were written: hooks are not compiled
            self._evaluating.enter_context(torch.compiler.set_stance("force_eager"))
        self._evaluating.enter_context(reused_heap())
        by_path: dict[str, list[Layer]] = {}
        for layer in self._layers:
            by_path.setdefault(layer.path, []).append(layer)
        for path, layers in by_path.items():
            module = modules[path]
            if any(isinstance(above, torch.jit.ScriptModule) for above in _on_the_way(modules, path)):
                self._evaluating.close()
                raise ModelError(
                    f"Layer {layers[0].name!r} is a part of a scripted or traced module (torch.jit), of whose layers "
                    "nothing is told: name a layer outside of it, or give the model as it was before it was scripted."
                )
            inputs = [layer for layer in layers if layer.is_input]
            if inputs:
                self._handles.append(module.register_forward_pre_hook(self._before(path, inputs), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._after(path, layers, counts=not inputs)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._evaluating.close()

    def __call__(self, batch: torch.Tensor) -> dict[str, Captured]:
        """The layers' vectors for a `batch` of inputs (n, ...), by the layers' names."""
        if self._checked:
            return self._run(batch)
        n = len(batch) if self._probe is None else min(len(batch), self._probe)
        same = torch.arange(1, max(n // 2, 1) + 1, device=batch.device) % n
        company = torch.zeros(n - len(same), dtype=torch.long, device=batch.device)
        elsewhere = self._learn(batch[torch.cat([same, company])])
        self._checked = True
        captured_layers = self._run(batch)
        for name, captured in captured_layers.items():
            self._compare(name, captured.vectors[same], elsewhere[name].vectors[: len(same)])
        return captured_layers

    def _run(self, batch: torch.Tensor) -> dict[str, Captured]:
        self._seen, self._calls, self._rows = {}, Counter(), len(batch)
        with torch.inference_mode():
            try:
                with feeding(self._model, batch):
                    self.output = self._model(batch)
            except _LastLayerSeen:
                pass
            except IntriguingError:
                raise
            except (RuntimeError, TypeError, ValueError) as error:
                raise ModelError(
                    f"The model cannot be fed a batch of shape {tuple(batch.shape)} and type {batch.dtype}: {error}"
                ) from error
        if not self._checked:
            self._check()
        return {layer.name: self._seen[layer.name] for layer in self._layers}

    def _learn(self, batch: torch.Tensor) -> dict[str, Captured]:
        """The layers' vectors for `batch`, from a pass that tracks the axes of all tensors."""
        self._tracker = Tracker(batch)
        try:
            with self._tracker:
                return self._run(batch)
        except IntriguingError as error:
            if error.__cause__ is None:
                raise
        except Exception as error:  # a compiled or scripted model can raise any exception when it is tracked
            log.debug("The model cannot be followed: %s", error)
        finally:
            self._tracker = None
        return self._run(batch)

    def _check(self) -> None:
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

    def _compare(self, name: str, here: torch.Tensor, there: torch.Tensor) -> None:
        """Compare the activations of the same inputs in two batches. Raises: `ModelError` if they differ."""
        if not here.shape[-1]:
            raise InputError(f"Layer {name!r} has no units: name another.")
        if here.shape != there.shape:
            return
        finite = torch.isfinite(here) & torch.isfinite(there)
        apart = torch.where(finite, (here - there).abs(), 0).amax()
        largest = torch.where(finite, here.abs(), 0).amax()
        if bool(apart > self._noise[name] * largest):
            raise ModelError(
                f"Layer {name!r}: the same inputs gave activations that differ by {float(apart / largest):.0%} of the "
                "largest in two calls, with other inputs beside them. Nothing can be said of single inputs then. Look "
                "for batch statistics (track_running_stats=False), for dropout or noise in evaluation mode, and for a "
                "layer that takes the inputs for something else (batch_first)."
            )

    def _before(self, path: str, layers: list[Layer]) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._calls[path] += 1
            for layer in layers:
                if self._calls[path] == (layer.call or 1):
                    self._keep(layer, module, args[0] if args else next(iter(kwargs.values()), None))

        return hook

    def _after(self, path: str, layers: list[Layer], counts: bool) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._calls[path] += counts
            for layer in layers:
                if not layer.is_input and self._calls[path] == (layer.call or 1):
                    self._keep(layer, module, output_of(module, output))

        return hook

    def _keep(self, layer: Layer, module: nn.Module, value: Any) -> None:
        # The last one is safe without a copy: nothing runs after it.
        last = self._checked and not self._to_end and len(self._seen) == len(self._layers) - 1
        if isinstance(value, PackedSequence):
            self._seen[layer.name] = self._sequences(layer, value)
        else:
            tensor = _only_tensor(value)
            if tensor is None or tensor.is_nested or tensor.layout is not torch.strided or tensor.is_complex():
                what = type(value).__name__ if tensor is None else f"tensor of layout {tensor.layout}, {tensor.dtype}"
                raise ModelError(
                    f"Layer {layer.name!r} gives a {what}, not one tensor of real numbers: name a layer inside it, or "
                    "the one before it."
                )
            arranged = self._reading(layer, module, tensor).arranged(tensor.detach())
            if len(arranged) != self._rows:
                raise ModelError(
                    f"Layer {layer.name!r} gave {len(arranged)} rows for {self._rows} inputs: name a layer with a row "
                    "for each input."
                )
            copy = not last or layer.is_input
            self._seen[layer.name] = reduce_map(arranged, self._reduce, copy=copy, where=self._where)
        if last:
            raise _LastLayerSeen

    def _sequences(self, layer: Layer, packed: PackedSequence) -> Captured:
        if layer.axis not in (None, -1):
            raise InputError(f"Layer {layer.name!r} gives packed sequences, whose units are the last axis: write @-1.")
        captured = reduce_sequences(packed, layer.name, self._reduce, where=self._where)
        if len(captured.vectors) != self._rows:
            raise ModelError(f"Layer {layer.name!r} gave {len(captured.vectors)} sequences for {self._rows} inputs.")
        self._noise.setdefault(layer.name, _NOISE.get(packed.data.dtype, 0.01))
        return captured

    def _reading(self, layer: Layer, module: nn.Module, tensor: torch.Tensor) -> Reading:
        """How to read the layer's `tensor`; determined once, in the tracked pass if that works."""
        earlier = self._readings.get(layer.name)
        if earlier is not None and earlier.ndim == tensor.ndim:
            return earlier
        if earlier is not None:
            raise ModelError(f"Layer {layer.name!r} gives {tensor.ndim} axes, where it gave {earlier.ndim} before.")
        layout = self._tracker.layout_of(tensor) if self._tracker is not None else None
        kind = convention_of(module, is_input=layer.is_input)
        if layout is None and kind == Convention():
            kind = usual_axis(module)
        new = reading(layer.name, tuple(tensor.shape), self._rows, layout, kind, layer.axis)
        self._readings[layer.name] = new
        self._noise[layer.name] = _NOISE.get(tensor.dtype, 0.01)
        return new


def _on_the_way(modules: dict[str, nn.Module], path: str) -> list[nn.Module]:
    """The modules from the model to the layer `path`, both included; of a model that is a layer itself, none."""
    parts = path.split(".") if path else []
    return [modules[".".join(parts[:i])] for i in range(len(parts) + bool(parts))]


def _only_tensor(value: Any) -> torch.Tensor | None:
    """The tensor that `value` is, or the only one in it: a tuple, a list, or a mapping such as a ModelOutput."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (tuple, list, Mapping)):
        parts = value.values() if isinstance(value, Mapping) else value
        tensors = [v for v in parts if isinstance(v, torch.Tensor)]
        return tensors[0] if len(tensors) == 1 else None
    return None
