"""What code of the user's may change for the whole process, and what is put back after it was imported or called.

A run's folder and its data sets are named from the working folder, and its tasks compute in torch's usual modes:
neither may follow a module that was written as a script.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

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
    """Afterwards, the working folder, and torch's default type and device and its recording of gradients are as before,
    whatever code of the user's did inside.
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


def _torch_modes(torch: Any) -> dict[str, Any]:
    """The modes of torch; of one that is not imported yet, those that it begins with."""
    if torch is None:
        return {}
    return {"dtype": torch.get_default_dtype(), "device": torch.get_default_device(), "grad": torch.is_grad_enabled()}


def _put_back(torch: Any, before: dict[str, Any]) -> None:
    usual = {"dtype": torch.float32, "device": torch.device("cpu"), "grad": True}
    wanted, now = usual | before, _torch_modes(torch)
    if now["dtype"] != wanted["dtype"]:
        torch.set_default_dtype(wanted["dtype"])
    if now["device"] != wanted["device"]:
        torch.set_default_device(None if wanted["device"] == usual["device"] else wanted["device"])
    if now["grad"] != wanted["grad"]:
        torch.set_grad_enabled(wanted["grad"])
