"""Results of a benchmark that are kept on disk under what they were computed from, and are not computed again."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "intriguing-benchmarks"


def digest(*parts: object) -> str:
    """A hash of tensors by their values, of modules by their class and weights, and of all else by its text."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, nn.Module):
            total.update(type(part).__name__.encode())
            for name, value in part.state_dict().items():
                total.update(name.encode() + _content(value))
        else:
            total.update(_content(part) if isinstance(part, Tensor) else repr(part).encode())
        total.update(b"|")
    return total.hexdigest()[:24]


def _content(value: Tensor) -> bytes:
    return f"{value.dtype}{tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes()


def source_digest(package: Path) -> str:
    """A hash of the Python files of a package."""
    return digest(*((path.name, path.read_text()) for path in sorted(package.rglob("*.py"))))


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Write a file by `save` under a name of its own, then give it its name: it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}")
    save(part)
    part.replace(path)


class Kept:
    """The results in a folder, an .npz file each."""

    def __init__(self, folder: Path = CACHE / "results") -> None:
        self._folder = folder

    def find(self, key: str) -> dict[str, Tensor] | None:
        """The arrays kept under a key; None where there are none."""
        path = self._folder / f"{key}.npz"
        if not path.is_file():
            return None
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    def add(self, key: str, values: dict[str, Tensor]) -> None:
        """Keep arrays under a key."""
        arrays = {name: value.numpy() for name, value in values.items()}
        write(self._folder / f"{key}.npz", lambda path: np.savez(path, **arrays))  # type: ignore[arg-type]
