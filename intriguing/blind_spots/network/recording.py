"""A network's operations, recorded once and replayed without autograd, in the order of memory that a CPU likes.

A search asks a network thousands of times for its logits and for one gradient in its inputs. Autograd prepares for more
than that, and where batches are small this costs more than the products. Here the operations of one ordinary call are
recorded, as torch dispatches them, and replayed with the gradient of each. Images lie channels last, for which the
convolutions of a CPU are made; batch norm is a part of the convolution before it; ReLU overwrites its input.

A recording is used only if it gives the logits and gradients that the network gives, to rounding, and rounds rows in
batches of all sizes alike (`replay`). What it cannot record is left to torch: models on other devices or of other
types of numbers, scripted or compiled ones, functions, those with hooks, those that remember something of a call,
operations that `operations` does not know.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from intriguing.basics.torch_modes import Autocast, without_compiler
from intriguing.blind_spots.network.autograd import functions_behind
from intriguing.blind_spots.network.few_channels import Thin
from intriguing.blind_spots.network.operations import Step, Unknown, made, simplified
from intriguing.models.examination import FunctionModule

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
_ROWS = 2
"""Rows of the call that is recorded."""
_FEW_BYTES = 4096
"""Arrays of at most so many bytes may count something."""
_READ = {"numpy", "tolist", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "__reduce_ex__", "__repr__"}
"""Methods of tensors that give values to what is not torch."""
Pull = Callable[[Tensor], Tensor]
"""From a gradient in the logits (B, C) to that in the images (B, *shape)."""


class Recording:
    """The steps of a network from images (B, *shape) to logits (B, C), with the weights as they were."""

    def __init__(self, steps: list[Step], output: int, weights: list[Tensor]) -> None:
        self.steps = steps
        self.output = output
        self._weights = [(weight, weight._version) for weight in weights]

    @property
    def current(self) -> bool:
        """Whether no weight was changed since."""
        return all(weight._version == version for weight, version in self._weights)

    def forward(self, images: Tensor) -> Tensor:
        """The logits (B, C) of images (B, *shape)."""
        return self._played(images)[0][self.output]

    def both(self, images: Tensor) -> tuple[Tensor, Pull]:
        """The logits (B, C) of images (B, *shape), and what pulls gradients in them back to the images."""
        values, kept = self._played(images)

        def pull(slope: Tensor) -> Tensor:
            slopes: dict[int, Tensor] = {self.output: slope}
            for step, saved in zip(reversed(self.steps), reversed(kept), strict=True):
                slope_here = slopes.pop(step.output, None)
                if slope_here is None:
                    continue
                inputs = [values[i] for i in step.inputs]
                parts = step.backward(slope_here, inputs, values[step.output], saved)
                for i, part in zip(step.inputs, parts, strict=True):
                    slopes[i] = slopes[i] + part if i in slopes else part
            return slopes[0] if 0 in slopes else torch.zeros_like(images)

        return values[self.output], pull

    def _played(self, images: Tensor) -> tuple[dict[int, Tensor], list[Any]]:
        values, kept = {0: images}, []
        for step in self.steps:
            values[step.output], saved = step.forward(*[values[i] for i in step.inputs])
            kept.append(saved)
        return values, kept


def record(model: nn.Module, like: Tensor) -> Recording | None:
    """The recording of a frozen `model` in eval mode, from one call with copies of `like` (1, *shape), float32.

    None where the model cannot be recorded. Whether the recording is right is for the caller to see.
    """
    if not _suits(model, like):
        return None
    before = _memory(model)
    images = like.detach().expand(_ROWS, *like.shape[1:]).clone()
    with torch.inference_mode(False), torch.enable_grad(), _Watch() as watch, _Readings(watch):
        out = model(watch.begun(images))
    if watch.unknown or _memory(model) != before or not isinstance(out, Tensor) or id(out) not in watch.numbers:
        return None
    if _has_own_gradient(out, watch.tensors()):
        return None
    weights = [*model.parameters(), *model.buffers()]
    with torch.no_grad():
        try:
            return Recording(*simplified(watch.steps, watch.numbers[id(out)]), weights)
        except Unknown:
            return None


def _suits(model: nn.Module, like: Tensor) -> bool:
    """Whether the model is one whose calls are nothing but their operations, on a CPU and in float32."""
    weights = [*model.parameters(), *model.buffers()]
    if like.device.type != "cpu" or like.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    if any(w.is_inference() or w.layout != torch.strided or w.device.type != "cpu" for w in weights):
        return False
    if any(w.is_floating_point() and w.dtype != torch.float32 for w in weights):
        return False
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return False
    return not any(_peculiar(module) for module in model.modules())


def _peculiar(module: nn.Module) -> bool:
    """Whether a module may do more than its operations say."""
    others = torch.jit.ScriptModule, torch.fx.GraphModule, FunctionModule
    if isinstance(module, others) or (isinstance(module, Autocast) and module.kinds) or hasattr(module, "_orig_mod"):
        return True
    return any(getattr(module, name, None) for name in _HOOKS) or "forward" in module.__dict__


def _memory(model: nn.Module) -> list[Any]:
    """What would show that something is remembered of a call: attributes, and variables that `forward` names."""
    found = []
    for module in model.modules():
        forward = inspect.unwrap(type(module).forward)
        named: dict[str, Any] = {}
        if isinstance(forward, FunctionType):
            named = {
                name: forward.__globals__[name] for name in forward.__code__.co_names if name in forward.__globals__
            }
            cells = zip(forward.__code__.co_freevars, forward.__closure__ or (), strict=True)
            named |= {f"cell {name}": cell.cell_contents for name, cell in cells if name != "__class__"}
        found += [(id(module), name, _seen(value)) for name, value in {**named, **module.__dict__}.items()]
    return found


def _seen(value: Any) -> Any:
    """What shows whether a variable was changed: its value or identity, and those of what it holds."""
    if isinstance(value, dict):
        return id(value), [(_shown(k), _shown(v)) for k, v in value.items()]
    if isinstance(value, (list, set, deque)):
        return id(value), [_shown(v) for v in value]
    if isinstance(value, (ModuleType, type, FunctionType, nn.Module, Tensor)) or not hasattr(value, "__dict__"):
        return _shown(value)
    return id(value), [(name, _shown(v)) for name, v in vars(value).items()]


def _shown(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value), 0 if value.is_inference() else value._version
    if isinstance(value, np.ndarray):
        return id(value), value.tobytes() if value.nbytes <= _FEW_BYTES else b""
    return value if isinstance(value, (int, float, str)) else id(value)


def _has_own_gradient(out: Tensor, tensors: Iterable[Tensor]) -> bool:
    """Whether the gradient of `out` goes through code of the model: a hook on a tensor, or a function of its own."""
    if any(tensor._backward_hooks for tensor in tensors):
        return True
    return any(
        isinstance(node, BackwardCFunction) and node._forward_cls is not Thin  # type: ignore[attr-defined]
        for node in functions_behind(out)
    )


class _Readings(TorchFunctionMode):
    """Inside, a network that reads values past torch's operators is not recorded: it may branch by them."""

    def __init__(self, watch: "_Watch") -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and note whether it reads what follows from the images."""
        if getattr(func, "__name__", "") in _READ and args and self.watch.follows(args[0]):
            self.watch.unknown = True
        return func(*args, **(kwargs or {}))


@without_compiler
class _Watch(TorchDispatchMode):
    """Inside, the operations on what follows from some images become steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.numbers: dict[int, int] = {}
        """The number of the value that a tensor holds, by the tensor's identity."""
        self.unknown = False
        self._lost: set[int] = set()
        """Tensors that follow from the images and are no value of a step."""
        self._held: list[Any] = []

    def begun(self, images: Tensor) -> Tensor:
        """The images, from which on all is recorded."""
        leaf = images.requires_grad_()
        self.numbers[id(leaf)] = 0
        self._held.append(leaf)
        return leaf

    def follows(self, tensor: Any) -> bool:
        """Whether a tensor follows from the images."""
        return id(tensor) in self.numbers or id(tensor) in self._lost

    def tensors(self) -> list[Tensor]:
        """All that the operations took and gave."""
        return [leaf for leaf in tree_leaves(self._held) if isinstance(leaf, Tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operator, and note what it was called with where that follows from the images."""
        kwargs = kwargs or {}
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        used = [leaf for leaf in leaves if id(leaf) in self.numbers]
        lost = any(id(leaf) in self._lost for leaf in leaves)
        sizes = [tuple(leaf.shape) for leaf in used]
        out = func(*args, **kwargs)
        self._held += [args, kwargs, out]
        outs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not used and not lost:
            self.unknown |= any(tag == torch.Tag.nondeterministic_seeded for tag in func.tags)
            return out
        if not all(leaf.requires_grad for leaf in used):
            self._lost |= {id(leaf) for leaf in outs}  # of values that were taken without their gradients
            return out
        inputs = tuple(self.numbers[id(leaf)] for leaf in used)
        try:
            if lost or not outs or any(size[:1] != (_ROWS,) for size in sizes) or len(outs[0]) != _ROWS:
                raise Unknown
            step = made(func, args, kwargs, used, outs[0])
        except Unknown:
            self.unknown = True
            return out
        self._lost |= {id(leaf) for leaf in outs[1:]}
        if step is None:  # nothing is computed
            self.numbers[id(outs[0])] = inputs[0]
            return out
        if func._schema.is_mutable:
            self._overwritten(outs[0])
        number = len(self.steps) + 1
        step.inputs, step.output = inputs, number
        self.steps.append(step)
        self.numbers[id(outs[0])] = number
        return out

    def _overwritten(self, tensor: Tensor) -> None:
        """Other tensors in the same memory no longer hold the value of their step."""
        memory = tensor.untyped_storage().data_ptr()
        others = [leaf for leaf in self.tensors() if leaf is not tensor and id(leaf) in self.numbers]
        stale = {id(leaf) for leaf in others if leaf.untyped_storage().data_ptr() == memory}
        self._lost |= stale
        self.numbers = {known: number for known, number in self.numbers.items() if known not in stale}
