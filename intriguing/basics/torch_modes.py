"""Where and how a torch model computes: its device, eval mode, random states and number of threads."""

import os
import random
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

M = TypeVar("M", bound=TorchDispatchMode)


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights; the CPU for a model without weights."""
    weights = chain(model.parameters(), model.buffers())
    return next((weight.device for weight in weights), torch.device("cpu"))


class _Turn:
    """Held by the thread that may change what holds for all threads."""

    lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # The thread that holds it may not be there in a child.
    os.register_at_fork(after_in_child=lambda: setattr(_Turn, "lock", threading.RLock()))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Inside, no other thread is inside: torch's settings, and what is put into a model for a while, hold for all."""
    with _Turn.lock:
        yield


class Lent:
    """An attribute of some objects that is changed for a while, maybe by several threads at a time.

    Whoever is done leaves the value that it had found. If others came later and are still at work, the next of them
    leaves that value in its place.
    """

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._lock = threading.RLock()  # may be taken again by what the garbage collector ends
        self._held: dict[int, list[_Loan]] = {}
        """By identity of the object: who keeps it at present, in the order in which they came."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: setattr(self, "_lock", threading.RLock()))

    @contextmanager
    def kept(self, objects: Iterable[Any]) -> Iterator[None]:
        """Inside, the attribute of the `objects` may be changed."""
        loans: list[_Loan] = []
        try:
            with self._lock:
                for one in objects:
                    loans.append(_Loan(one, getattr(one, self._attribute)))
                    self._held.setdefault(id(one), []).append(loans[-1])
            yield
        finally:
            with self._lock:
                for loan in reversed(loans):
                    self._give_back(loan)

    def _give_back(self, loan: "_Loan") -> None:
        held = self._held[id(loan.object)]
        place = next(i for i, other in enumerate(held) if other is loan)
        del held[place]
        if place < len(held):
            held[place].value = loan.value
            return
        if not held:
            del self._held[id(loan.object)]
        setattr(loan.object, self._attribute, loan.value)


@dataclass(eq=False)
class _Loan:
    """An object, and the value that it has again afterwards."""

    object: Any
    value: Any


_MODES = Lent("training")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every module of `model` is in eval mode; afterwards, each has its own mode again.

    Exported programs and frozen scripts have no modes. They stay as they are; the modules around them change mode.
    """
    modules = [module for module in model.modules() if hasattr(module, "training")]
    with _MODES.kept(modules):
        try:
            model.eval()
        except NotImplementedError:
            for module in modules:
                module.training = False
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the global random states of torch, NumPy and Python begin at `seed`; afterwards, they are as before."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (of the code that is called)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


_AUTOCAST = ("cpu", "cuda")


def _device() -> torch.device | None:
    """The caller's default device; None where it is the CPU, as it is at first."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


@contextmanager
def without_autocast() -> Iterator[None]:
    """Inside, no autocast of the caller holds: it is meant for networks, and would round what is computed of them.

    Nor does a default device: random numbers that each machine draws alike are drawn on the CPU.
    """
    with ExitStack() as stack:
        for kind in filter(torch.is_autocast_enabled, _AUTOCAST):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(without_default_device())
        yield


@contextmanager
def without_default_device() -> Iterator[None]:
    """Inside, what is made without a device lies on the CPU, as it does where no caller has set a default device."""
    with nullcontext() if _device() is None else torch.device("cpu"):
        yield


class Autocast(nn.Module):
    """A model that computes under the autocast and the default device that held where this was made, wherever it is
    called.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.kinds = {kind: torch.get_autocast_dtype(kind) for kind in filter(torch.is_autocast_enabled, _AUTOCAST)}
        self.device = _device()

    @classmethod
    def of(cls, model: nn.Module) -> nn.Module:
        """`model` itself where there is neither."""
        return cls(model) if _device() is not None or any(map(torch.is_autocast_enabled, _AUTOCAST)) else model

    def forward(self, x: torch.Tensor) -> Any:
        """The model's output."""
        with ExitStack() as stack:
            for kind, dtype in self.kinds.items():
                stack.enter_context(torch.autocast(kind, dtype))
            if self.device is not None:
                stack.enter_context(self.device)
            return self.model(x)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, torch computes with `count` threads on the CPU; afterwards, with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def without_compiler(mode: type[M]) -> type[M]:
    """A class of modes that does not load torch's compiler at its first use, which takes a second or more.

    Torch does so to keep the compiler out of a mode's own code. A mode that is entered once the compiler is loaded is
    left to torch.
    """
    guarded: Any = mode.__torch_dispatch__
    mode.__torch_dispatch__ = getattr(guarded, "__wrapped__", guarded)  # type: ignore[method-assign]
    enter = mode.__enter__

    def entered(self: M) -> M:
        if "torch._dynamo" in sys.modules:
            mode.__torch_dispatch__ = guarded  # type: ignore[method-assign]
        return enter(self)

    mode.__enter__ = entered  # type: ignore[assignment,method-assign]
    return mode
