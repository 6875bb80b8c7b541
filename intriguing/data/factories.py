"""A user's own code, `module:factory`: it is hashed without running it, and imported only to be called."""

import hashlib
import os
import re
import sys
import sysconfig
from contextlib import suppress
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_file
from intriguing.basics.process.users_code import users_code
from intriguing.errors import DataError, IntriguingError, MissingDataError, did_you_mean

IMPORTED: dict[str, str] = {}
"""Users' modules imported in this process or a child process, and their files."""
_SOURCES: dict[str, tuple[Any, list[tuple[str, bytes]]]] = {}
"""Of each user's module its spec, which a reload replaces, and names and contents of its files when it was imported."""

_LISTED = 30
_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def split_name(source: str, error: type[IntriguingError] = DataError) -> tuple[str, str]:
    """The module and the factory of `module:factory`. Raises: `error` for text of another form."""
    module, _, factory = source.partition(":")
    if module.endswith(".py"):
        raise error(f"{source!r} names a file; write the module, without .py: {written(module, factory)}.")
    if not is_factory(source):
        raise error(f"{source!r} does not name a factory; write module:factory, as in my_package.my_module:build.")
    return module, factory


def is_factory(source: str) -> bool:
    """Whether `source` has the form module:factory."""
    return _FORM.fullmatch(source) is not None


def written(file: str, factory: str) -> str:
    """How a function of a Python `file` is written, as a module of the working folder or else of the file's own."""
    with suppress(OSError, ValueError):  # the working folder is gone, or the file lies outside
        inside = Path(os.path.normpath(Path.cwd() / expanded(file))).relative_to(Path.cwd())
        return f"{'.'.join(inside.with_suffix('').parts)}:{factory}"
    return f"{Path(file).stem}:{factory}, from the folder of the file"


def source_files(source: str, error: type[IntriguingError] = DataError) -> list[Path]:
    """The Python files that `module:factory` depends on: that of the module, or all of its package.

    Nothing is imported. Modules are searched on `sys.path`, to which `intriguing run` and `intriguing plan` append the
    working folder. Raises: `error` if there is no such module.
    """
    module, _ = split_name(source, error)
    top, *rest = module.split(".")
    spec = PathFinder.find_spec(top, [p or str(Path.cwd()) for p in sys.path])
    package = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
    for part in rest:
        # By its last name: for a whole one, Python asks for the parents of a package without __init__.py among those
        # that are imported.
        folders = list(spec.submodule_search_locations or ()) if spec else []
        spec = PathFinder.find_spec(part, folders) if folders else None
    if spec is None:
        raise error(
            f"There is no module {module!r} (for {source!r}) on Python's path."
            f"{did_you_mean(module, _modules_here())} Install it, put its folder on the "
            f"path, or type `intriguing run` where it lies: it looks in the working folder too (now {Path.cwd()})."
        )
    if package is not None:
        return sorted(package.rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and is_file(spec.origin) else []


def source_hash(source: str, error: type[IntriguingError] = DataError) -> str:
    """SHA-256 over the name and the source files of `module:factory` (see `source_files`), without importing it."""
    return _digest(source, _contents(source, error))


def check_source(source: str, expected: str, error: type[IntriguingError] = DataError) -> None:
    """Raise `error` unless the source of `module:factory`, as it was when this process imported it, has the hash
    `expected`.
    """
    module, _ = split_name(source, error)
    found = _digest(source, _SOURCES[module][1] if _is_known(module) else _contents(source, error))
    if found != expected:
        raise error(
            f"The code of {source!r} that this process imported is not that of the plan ({found[:12]} here, "
            f"{expected[:12]} there): its file was changed since, or differs on this worker. Run the same command "
            f"again (in a notebook, after importlib.reload({module})): what depends on it is computed anew."
        )


def _is_known(module: str) -> bool:
    """Whether the files of a module were read when it was imported, or reloaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and module in _SOURCES and _SOURCES[module][0] is loaded.__spec__


def _contents(source: str, error: type[IntriguingError]) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in source_files(source, error)]


def _digest(source: str, contents: list[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256(f"{source}\0".encode())
    for name, content in contents:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def resolve(source: str, error: type[IntriguingError] = DataError) -> Any:
    """The object `module:factory`; its module is imported. Raises: `error` if it is missing or not callable."""
    module, factory = split_name(source, error)
    contents = None if _is_known(module) else _contents(source, error)
    try:
        whole = _imported(module)
    except ImportError as e:
        raise error(f"Importing {module!r} (for {source!r}) failed: {e}.") from e
    if contents is not None:
        _SOURCES[module] = (whole.__spec__, contents)
    target = getattr(whole, factory, None)
    if not callable(target):
        own = [name for name, value in vars(whole).items() if _is_own(module, name, value)]
        raise error(
            f"Module {module!r} has no function {factory!r} (for {source!r}).{did_you_mean(factory, own)} "
            f"It has: {', '.join(own[:_LISTED]) or 'no function'}{', ...' if len(own) > _LISTED else ''}."
            f"{_hidden(module, whole)}"
        )
    return target


def without_factory(name: str) -> str:
    """Where `name` is that of a module of the working folder, or of a file of Python, what to write, a sentence after a
    space; else "".
    """
    file, _, factory = name.rpartition(".")
    for module, function in ((name.removesuffix(".py"), "FUNCTION"), (file, factory)):
        if module in _modules_here():
            return f" {module!r} is a module here: write {module}:{function}."
    if name.endswith(".py") and is_file(expanded(name)):
        return f" {name!r} is a file of Python: write {written(name, 'FUNCTION')}."
    return ""


def _hidden(module: str, whole: ModuleType) -> str:
    """That another module hides the file of this name in the working folder, which is looked at last; "" else."""
    mine, found = Path(f"{module}.py"), getattr(whole, "__file__", None)
    if not is_file(mine) or (found and Path(found).resolve() == mine.resolve()):
        return ""
    return f" This is {found or 'a part of Python'}, which hides your {mine.name}: give yours another name."


def _is_own(module: str, name: str, value: Any) -> bool:
    """Whether a module's `value` is a function or class that is written in it, or in its package."""
    where = str(getattr(value, "__module__", ""))
    return callable(value) and not name.startswith("_") and (where == module or where.startswith(f"{module}."))


def _modules_here() -> list[str]:
    """The names of modules and packages in the working folder."""
    try:
        entries = sorted(Path.cwd().iterdir())
    except OSError:
        return []
    names = [
        p.stem if p.suffix == ".py" else p.name for p in entries if p.suffix == ".py" or is_file(p / "__init__.py")
    ]
    return [name for name in names if name.isidentifier()]


def _imported(module: str) -> ModuleType:
    before = set(sys.modules)
    try:
        with users_code():
            return import_module(module)
    finally:
        _note(module, set(sys.modules) - before)


def _note(module: str, new: set[str]) -> None:
    """Add to `IMPORTED` the module and its imports that are neither Python's own nor installed nor this package's."""
    paths = sysconfig.get_paths()
    installed = {Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    for name in {module, *(each for each in new if each.partition(".")[0] != __name__.partition(".")[0])}:
        file = getattr(sys.modules.get(name), "__file__", None)
        # The modules that torch makes (torch.ops) say a file without a folder, which is none of the working folder's.
        if file and Path(file).is_absolute() and (name == module or not installed & set(Path(file).resolve().parents)):
            IMPORTED[name] = str(Path(file).resolve())


def call(source: str) -> Any:
    """The result of calling the factory without arguments.

    Raises: `DataError` if it is missing or fails, `MissingDataError` if it does not find a file.
    """
    factory = resolve(source)
    try:
        with users_code():
            return factory()
    except IntriguingError:
        raise
    except Exception as e:
        # torchvision's data sets say so in words alone.
        missing = isinstance(e, FileNotFoundError) or str(e).startswith("Dataset not found")
        error = MissingDataError if missing else DataError
        raise error(f"The factory {source!r} failed: {type(e).__name__}: {e}") from e
