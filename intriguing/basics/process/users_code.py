"""What code of the user's may change for the whole process, and what is put back after it was imported or called.

A run's folder and its data sets are named from the working folder, and its tasks compute in torch's usual modes:
neither may follow a module that was written as a script.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any, NamedTuple

_theirs: list[str] = []
"""The working folder that the user's code chose, if it did: it is called there."""


@contextmanager
def users_code() -> Iterator[None]:
    """Inside, code of the user's is imported or called, in the working folder that it chose before, if it did;
    afterwards, all is as `unchanged` says.
    """
    with unchanged():
        here = working_folder()
        for folder in _theirs:
            go_to(folder)
        try:
            yield
        finally:
            there = working_folder()
            if there and there != here:
                _theirs[:] = [there]


@contextmanager
def unchanged() -> Iterator[None]:
    """Afterwards, the working folder is as before, and so is how torch computes: its default type and device, its
    recording of gradients, autocast, the rounding of products (TF32), and its choice of algorithms.
    """
    here = working_folder()
    before = _torch_modes(sys.modules.get("torch"))
    try:
        yield
    finally:
        go_to(here)
        torch = sys.modules.get("torch")
        if torch is not None:
            _put_back(torch, before)


def working_folder() -> str:
    """The working folder; "" where it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 (Path.cwd() does no more)
    except OSError:
        return ""


def go_to(folder: str) -> None:
    """Make `folder` the working folder, if it is there: all relative paths mean what they meant in it."""
    if folder != working_folder():
        with suppress(OSError):
            os.chdir(folder)


class _Mode(NamedTuple):
    """A mode of torch: what it is at first, how it is read, and how it is set."""

    usual: Callable[[Any], Any]
    get: Callable[[Any], Any]
    set: Callable[[Any, Any], None]


def _autocast(kind: str) -> _Mode:
    return _Mode(lambda _: False, lambda t: t.is_autocast_enabled(kind), lambda t, on: t.set_autocast_enabled(kind, on))


def _cudnn(name: str) -> _Mode:
    cudnn = attrgetter("backends.cudnn")
    return _Mode(lambda _: False, lambda t: getattr(cudnn(t), name), lambda t, on: setattr(cudnn(t), name, on))


def _precision() -> Any:
    from intriguing.basics import precision  # torch is there by then

    return precision


_MODES = (
    _Mode(lambda t: t.float32, lambda t: t.get_default_dtype(), lambda t, dtype: t.set_default_dtype(dtype)),
    _Mode(
        lambda t: t.device("cpu"),
        lambda t: t.get_default_device(),
        lambda t, device: t.set_default_device(None if device.type == "cpu" else device),
    ),
    _Mode(lambda _: True, lambda t: t.is_grad_enabled(), lambda t, on: t.set_grad_enabled(on)),
    _Mode(lambda _: _precision().USUAL, lambda _: _precision().Precision.now(), lambda _, precision: precision.set()),
    _Mode(lambda _: 0, lambda t: t.get_deterministic_debug_mode(), lambda t, how: t.set_deterministic_debug_mode(how)),
    *map(_autocast, ("cpu", "cuda")),
    *map(_cudnn, ("benchmark", "deterministic")),
)


def _torch_modes(torch: Any) -> list[Any]:
    """What the modes of torch are now; nothing where it is not imported yet."""
    return [] if torch is None else [mode.get(torch) for mode in _MODES]


def _put_back(torch: Any, before: list[Any]) -> None:
    for mode, now, wanted in zip(_MODES, _torch_modes(torch), before or [m.usual(torch) for m in _MODES], strict=True):
        if now != wanted:
            mode.set(torch, wanted)
