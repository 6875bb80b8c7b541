"""A user's own code, named `module:factory`: found and hashed without running it, imported only to be called."""

import hashlib
import re
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from intriguing.data.vision import torchvision
from intriguing.errors import DataError, IntriguingError

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def split_name(source: str, error: type[IntriguingError] = DataError) -> tuple[str, str]:
    """The module and the factory in `module:factory`; raises `error` for text of another form."""
    if not _FORM.fullmatch(source):
        raise error(f"{source!r} does not name a factory; write module:factory, as in my_package.my_module:build.")
    module, _, factory = source.partition(":")
    return module, factory


def source_files(source: str, error: type[IntriguingError] = DataError) -> list[Path]:
    """The Python files that `module:factory` depends on: its module's, and where that lies in a package, the package's.

    Nothing is imported. Modules are looked for on `sys.path` and in the working folder. Raises `error` when there is no
    such module.
    """
    module, _ = split_name(source, error)
    top, *rest = module.split(".")
    spec = PathFinder.find_spec(top, _search_path())
    package = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
    name = top
    for part in rest:
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations) if spec else None
    if spec is None:
        raise error(
            f"There is no module {module!r} (for {source!r}) on Python's path or in {Path.cwd()}. "
            "Install it, or run where it lies."
        )
    if package is not None:
        return sorted(package.rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []


def source_hash(source: str, error: type[IntriguingError] = DataError) -> str:
    """SHA-256 over the name and the source files of `module:factory` (see `source_files`), without importing it."""
    digest = hashlib.sha256(f"{source}\0".encode())
    for path in source_files(source, error):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def resolve(source: str, error: type[IntriguingError] = DataError) -> Any:
    """The object that `module:factory` names, its module imported. Raises `error` when it is absent or not callable."""
    module, factory = split_name(source, error)
    source_files(source, error)
    here = str(Path.cwd())
    if not {here, ""} & set(sys.path):
        sys.path.append(here)  # for good: what the module defines may be pickled later
    try:
        found = getattr(_imported(module), factory, None)
    except ImportError as e:
        raise error(f"Importing {module!r} (for {source!r}) failed: {e}.") from e
    if not callable(found):
        raise error(f"Module {module!r} has no function {factory!r} (for {source!r}).")
    return found


def _imported(module: str) -> ModuleType:
    """The module; where it asks for a torchvision that does not import beside this torch, by the door that does."""
    try:
        return import_module(module)
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
    torchvision()
    return import_module(module)


def call(source: str) -> Any:
    """What the factory returns when called without arguments; raises `DataError` when it is not there or fails."""
    factory = resolve(source)
    try:
        return factory()
    except IntriguingError:
        raise
    except Exception as e:
        raise DataError(f"The factory {source!r} failed: {type(e).__name__}: {e}") from e


def _search_path() -> list[str]:
    here = str(Path.cwd())
    return [p or here for p in sys.path] + ([] if {here, ""} & set(sys.path) else [here])
