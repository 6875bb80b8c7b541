"""Hashes of the source that decides each task's results. `make golden` writes them to golden_sources.json."""

import ast
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from intriguing.stages import STAGES

GOLDEN = Path(__file__).with_name("golden_sources.json")
FUNCTIONS = tuple(each.function for stage in STAGES for each in stage.functions)


def source_hash(function):
    """The hash of all covered code, without comments and docstrings, which change no result."""
    files: list[Path] = []
    for name in function.covers:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None, f"{function.name} covers {name}, which is not there"
        origin = Path(spec.origin)
        files += sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        digest.update(file.name.encode() + _code(file).encode())
    return digest.hexdigest()


def _code(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not _is_string(n)] or [ast.Pass()]
    return ast.dump(tree)


def _is_string(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def current():
    return {f.name: {"version": f.version, "source": source_hash(f)} for f in FUNCTIONS}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(current(), indent=1) + "\n")
