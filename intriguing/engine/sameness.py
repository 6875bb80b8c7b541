"""What makes results the same everywhere: the sources of this package, Python, and the libraries that compute."""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from intriguing.basics.version import __version__

LIBRARIES = ("torch", "numpy")


@cache
def sources_hash() -> str:
    """A hash (12 hexadecimal digits) of all modules of this package and of the files that lie beside them."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".toml", ".html", ".css", ".js")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
        digest.update(b"\0")
    return digest.hexdigest()


def what_runs_here() -> dict[str, str]:
    """Versions by name; of torch without the kind of its build, which differs between machines with and without GPU."""
    found = {"python": platform.python_version(), "intriguing": f"{__version__} (sources {sources_hash()})"}
    return found | {name: _installed(name) for name in LIBRARIES}


def difference(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """What differs, in words; "" where nothing does."""
    parts = [f"{name} {theirs.get(name) or 'missing'}, this driver {mine}" for name, mine in ours.items()]
    return "; ".join(p for p, (name, mine) in zip(parts, ours.items(), strict=True) if theirs.get(name) != mine)


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "none"
