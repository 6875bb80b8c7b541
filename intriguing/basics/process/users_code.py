"""What code of the user's may change for the whole process, and what is put back after it was imported or called.

A run's folder and its data sets are named from the working folder, its tasks compute in torch's usual modes, Ctrl-C
stops it and its lines go to stderr: none of that may follow a module that was written as a script.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn

from intriguing.basics.process.state import put_back, read_state

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
    """Afterwards, the working folder is as before, and so are what all code of the process shares (`state`), and how
    torch computes: its default type and device, its recording of gradients, autocast, the rounding of products (TF32)
    and of the smallest numbers, and its choice of algorithms.

    A process that was forked inside and comes to the end of this ends there: it would go on as a second driver or
    worker.
    """
    here, process = working_folder(), os.getpid()
    state, before = read_state(), _torch_modes(sys.modules.get("torch"))
    try:
        yield
    finally:
        if os.getpid() != process:
            _end_twin()
        go_to(here)
        put_back(state)
        torch = sys.modules.get("torch")
        if torch is not None:
            _put_back(torch, before)


def _end_twin() -> NoReturn:
    """End this forked process with the exit code that its `sys.exit` named, 1 after another error, else 0."""
    error = sys.exception()
    code = error.code if isinstance(error, SystemExit) else int(error is not None)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # whatever a user's code left there
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def modes_left_changed(call: Callable[[], object]) -> list[str]:
    """Which modes of torch `call` leaves otherwise than they were, in words; whatever it raises is passed over, and all
    is put back.
    """
    torch = sys.modules.get("torch")
    with unchanged():
        before = _torch_modes(torch)
        with suppress(Exception):
            call()
        after = _torch_modes(torch)
    return [mode.name for mode, was, now in zip(_MODES, before, after, strict=True) if mode.name and was != now]


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
    """A mode of torch: what it is at first, how it is read, and how it is set; and what it is called, if a model whose
    forward leaves it changed would have other figures than its own computed otherwise.
    """

    usual: Callable[[Any], Any]
    get: Callable[[Any], Any]
    set: Callable[[Any, Any], None]
    name: str = ""


def _autocast(kind: str) -> _Mode:
    return _Mode(
        lambda _: False,
        lambda t: t.is_autocast_enabled(kind),
        lambda t, on: t.set_autocast_enabled(kind, on),
        f"autocast ({kind})",
    )


def _autocasts(torch: Any) -> int:
    """How many autocasts were entered and not left: at 0 torch forgets the weights that it cast."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _leave_autocasts(torch: Any, count: int) -> None:
    while _autocasts(torch) > count:
        torch.autocast_decrement_nesting()
    if not _autocasts(torch):
        torch.clear_autocast_cache()


def _cudnn(name: str) -> _Mode:
    cudnn = attrgetter("backends.cudnn")
    return _Mode(lambda _: False, lambda t: getattr(cudnn(t), name), lambda t, on: setattr(cudnn(t), name, on))


def _precision() -> Any:
    from intriguing.basics import precision  # torch is there by then

    return precision


_MODES = (
    _Mode(
        lambda t: t.float32,
        lambda t: t.get_default_dtype(),
        lambda t, dtype: t.set_default_dtype(dtype),
        "the default type",
    ),
    _Mode(
        lambda t: t.device("cpu"),
        lambda t: t.get_default_device(),
        lambda t, device: t.set_default_device(None if device.type == "cpu" else device),
        "the default device",
    ),
    _Mode(lambda _: True, lambda t: t.is_grad_enabled(), lambda t, on: t.set_grad_enabled(on)),
    _Mode(lambda _: _precision().USUAL, lambda _: _precision().Precision.now(), lambda _, precision: precision.set()),
    _Mode(lambda _: 0, lambda t: t.get_deterministic_debug_mode(), lambda t, how: t.set_deterministic_debug_mode(how)),
    *map(_autocast, ("cpu", "cuda")),
    *map(_cudnn, ("benchmark", "deterministic")),
    _Mode(
        lambda _: False,
        lambda _: _precision().takes_denormals_for_zero(),
        lambda t, on: t.set_flush_denormal(on),
        "how denormal numbers are taken",
    ),
    _Mode(lambda _: False, lambda t: t.is_anomaly_enabled(), lambda t, on: t.set_anomaly_enabled(on)),
    _Mode(lambda _: 0, lambda t: _autocasts(t), lambda t, count: _leave_autocasts(t, count)),
)


def _torch_modes(torch: Any) -> list[Any]:
    """What the modes of torch are now; nothing where it is not imported yet."""
    return [] if torch is None else [mode.get(torch) for mode in _MODES]


def _put_back(torch: Any, before: list[Any]) -> None:
    for mode, now, wanted in zip(_MODES, _torch_modes(torch), before or [m.usual(torch) for m in _MODES], strict=True):
        if now != wanted:
            mode.set(torch, wanted)
