"""A dataclass in a line: arrays by type and shape, long collections by their length."""

from dataclasses import fields
from typing import Any

_LONGEST = 60


def brief(self: Any) -> str:
    """``repr`` of a dataclass or named tuple that holds arrays; write ``__repr__ = brief`` in its body."""
    if isinstance(self, tuple):
        shown = zip(getattr(self, "_fields", ()), self, strict=True)
    else:
        shown = ((f.name, getattr(self, f.name, None)) for f in fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(f'{name}={_value(value)}' for name, value in shown)})"


def _value(value: Any) -> str:
    shape, kind = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and kind is not None:
        return f"<{str(kind).removeprefix('torch.')} {tuple(shape)}>"
    if isinstance(value, dict):
        inside = ", ".join(f"{key!r}: {_value(inner)}" for key, inner in list(value.items())[:5])
        return f"{{{inside}{', ...' if len(value) > 5 else ''}}}"
    if isinstance(value, list | tuple | set | frozenset) and len(value) > 5:
        return f"<{type(value).__name__} of {len(value)}>"
    text = repr(value) if not isinstance(value, list | tuple) else f"[{', '.join(_value(v) for v in value)}]"
    return text if len(text) <= _LONGEST or isinstance(value, list | tuple) else f"{text[: _LONGEST - 3]}..."
