"""Typed parameters: a frozen dataclass per task function, which the plan builds and the task takes.

In a plan and in a fingerprint they are one flat JSON object: a field that is itself a dataclass (`ModelKey`, `Shard`)
lays its own fields beside the others. A field that has a default is left out of the object while it holds the default,
so a parameter can be added later without computing anything again.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache, wraps
from typing import Any, Generic, TypeVar, get_origin, get_type_hints

from intriguing.engine.task import Function, Task
from intriguing.engine.worker import Work
from intriguing.errors import InputError

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ModelKey:
    """The columns that name a model in every table."""

    dataset: str
    model: str
    model_seed: int

    @property
    def columns(self) -> dict[str, str | int]:
        """The columns by name."""
        return {"dataset": self.dataset, "model": self.model, "model_seed": self.model_seed}


@dataclass(frozen=True)
class Compute:
    """How a task computes: threads, and rows of a batch."""

    threads: int
    slots: int


@dataclass(frozen=True)
class Shard:
    """The part of the drawn inputs that a task works on: `start` to `stop`, in the order of the draw."""

    start: int
    stop: int


@dataclass(frozen=True)
class Draw:
    """Which inputs are scanned: `rows` of the split, drawn by `seed`."""

    split: str
    rows: int
    seed: int


@dataclass(frozen=True)
class AttackedInputs:
    """Which inputs are attacked: `images` of the split, drawn by `seed`."""

    split: str
    images: int
    seed: int


@dataclass(frozen=True)
class Architecture:
    """What a network is built from: its name, options, input shape (C, H, W), classes, hash of a user's code."""

    architecture: str
    options: dict[str, Any]
    shape: tuple[int, int, int]
    classes: int
    source_hash: str


@dataclass(frozen=True)
class TaskFunction(Generic[P]):
    """A task function with the class of its parameters, which ties plan and task together.

    `FUNCTION.task(name, parameters, ...)` makes a task of a plan; ``@FUNCTION.implementation`` marks the code.
    """

    function: Function
    parameters: type[P]

    def task(self, name: str, parameters: P, **rest: Any) -> Task:
        """A task that calls the function; `rest` are the other fields of `Task`."""
        return Task(name, self.function, as_json(parameters), **rest)

    def implementation(self, body: Callable[[Work, P], R]) -> Callable[..., R]:
        """`body`, called as the engine calls a task function: the work, and JSON parameters by name."""

        @wraps(body)
        def run(work: Work, **plain: Any) -> R:
            return body(work, parse(self.parameters, plain))

        return run


def as_json(parameters: Any) -> dict[str, Any]:
    """The flat JSON object of a dataclass.

    Raises:
        InputError: two fields have the same key.
    """
    plain: dict[str, Any] = {}
    for field in fields(parameters):
        value = getattr(parameters, field.name)
        if is_dataclass(value):
            part = as_json(value)
        elif _default(field) is MISSING or value != _default(field):
            part = {field.name: list(value) if isinstance(value, tuple) else value}
        else:
            continue
        if plain.keys() & part.keys():
            raise InputError(f"{type(parameters).__name__} holds {', '.join(plain.keys() & part.keys())} twice.")
        plain |= part
    return plain


def parse(kind: type[P], plain: Mapping[str, Any]) -> P:
    """The dataclass `kind` from its flat JSON object.

    Raises:
        InputError: a key is missing, or one belongs to no field.
    """
    rest = dict(plain)
    parsed = _take(kind, rest)
    if rest:
        raise InputError(f"{kind.__name__} has no field {', '.join(rest)}.")
    return parsed


def _take(kind: Any, rest: dict[str, Any]) -> Any:
    """An object of `kind` whose keys are taken out of `rest`."""
    values = {}
    for field in fields(kind):
        hint = _hints(kind)[field.name]
        if is_dataclass(hint):
            values[field.name] = _take(hint, rest)
        elif field.name in rest:
            value = rest.pop(field.name)
            values[field.name] = tuple(value) if get_origin(hint) is tuple else value
        elif _default(field) is MISSING:
            raise InputError(f"{kind.__name__} needs {field.name!r}.")
    return kind(**values)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
