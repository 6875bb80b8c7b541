"""Tasks: what a plan is made of.

A task is an importable pure function, JSON-able parameters, outputs of other tasks, and heavy resources that it wants
pinned where it runs. It returns a dictionary of named outputs, each an Arrow table or bytes. The engine neither knows
nor cares what they mean.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

from intriguing.errors import InputError


@dataclass(frozen=True)
class Code:
    """Something importable with an identity that outlives its place.

    `name` goes into fingerprints and never changes; `path` ("module:name") says where the code is today, and a move
    recomputes nothing. By default the name is such a path itself.
    """

    name: str
    path: str = ""

    def load(self) -> Any:
        """Import it."""
        return load_object(self.path or self.name)


@dataclass(frozen=True)
class Function:
    """A task's code: its identity, and a version that is raised whenever its results change.

    `covers` names the packages and modules whose source decides its results: a golden file of their hashes fails a test
    when they change without a decision about `version`. `path` says where the code is; see `Code`.
    """

    name: str
    version: int
    covers: tuple[str, ...] = ()
    path: str = ""

    @property
    def code(self) -> Code:
        """What a worker imports."""
        return Code(self.name, self.path)


@dataclass(frozen=True)
class Output:
    """A named output of a task, as another task's input."""

    task: str
    name: str


@dataclass(frozen=True)
class Resource:
    """Something heavy (a model, a data set) that stays loaded on a worker from one task to the next.

    `loader`'s function is called with `parameters` and `location` as keywords and with the stored `inputs`
    (bytes or tables) by name. `location` says where to find things and stays out of the fingerprint: what was found is
    in `parameters` as a content hash.
    """

    loader: Code
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Output] = field(default_factory=dict)
    location: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A node of the plan.

    `inputs` name one output or a sequence of outputs; `publish` maps an output to its folder below `tables/`; `shrink`
    names the integer parameter to halve when the device runs out of memory; `amount` and `noun` are what progress is
    counted in; `rows` and `size` (bytes) are estimates for a dry run.
    """

    name: str
    function: Function
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Output | Sequence[Output]] = field(default_factory=dict)
    resources: Mapping[str, Resource] = field(default_factory=dict)
    publish: Mapping[str, str] = field(default_factory=dict)
    affinity: str = ""
    shrink: str = ""
    amount: int = 1
    noun: str = "tasks"
    rows: Mapping[str, int] = field(default_factory=dict)
    size: int = 0

    @cached_property
    def needs(self) -> tuple[Output, ...]:
        """Every output that must be there before this task runs, its resources' inputs included."""
        needs: dict[Output, None] = {}
        for outputs in self.inputs.values():
            needs.update(dict.fromkeys(sequence(outputs)))
        for resource in self.resources.values():
            needs.update(dict.fromkeys(resource.inputs.values()))
        return tuple(needs)


def sequence(outputs: Output | Sequence[Output]) -> tuple[Output, ...]:
    """`outputs` as a tuple of outputs."""
    return (outputs,) if isinstance(outputs, Output) else tuple(outputs)


class Plan:
    """A graph of tasks in an order in which every input comes first, with their fingerprints.

    The fingerprint of a task is the hash of its function's name and version, its parameters, its inputs' fingerprints
    and its resources (which carry the content hashes of everything from outside).

    Raises:
        InputError: two tasks of one name, an input that no earlier task makes, or a parameter that is not JSON.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks: dict[str, Task] = {}
        self.fingerprints: dict[str, str] = {}
        self._resources: dict[int, tuple[Resource, str]] = {}
        for task in tasks:
            if task.name in self.tasks:
                raise InputError(f"Two tasks are called {task.name!r}: names in a plan are unique.")
            self.fingerprints[task.name] = self._fingerprint(task)
            self.tasks[task.name] = task

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks.values())

    def needed_by(self, names: Iterable[str], done: Container[str] = ()) -> set[str]:
        """`names` without those that are `done`, and every task that they need, directly or not, that is not done."""
        needed: set[str] = set()
        stack = [name for name in names if name not in done]
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack += [need.task for need in self.tasks[name].needs if need.task not in done]
        return needed

    def resource_key(self, resource: Resource) -> str:
        """The name under which a worker keeps `resource`: the hash of its loader, parameters and inputs."""
        cached = self._resources.get(id(resource))
        if cached is None:
            name = resource.loader.name
            body = [name, resource.parameters, {k: self._reference(v) for k, v in resource.inputs.items()}]
            cached = self._resources[id(resource)] = (resource, digest(body, name))
        return cached[1]

    def _reference(self, output: Output) -> list[str]:
        if output.task not in self.fingerprints:
            raise InputError(f"The output {output.name!r} of {output.task!r} is wanted, and no earlier task makes it.")
        return [self.fingerprints[output.task], output.name]

    def _fingerprint(self, task: Task) -> str:
        return digest(
            [
                task.function.name,
                task.function.version,
                task.parameters,
                {name: [self._reference(o) for o in sequence(outputs)] for name, outputs in task.inputs.items()},
                {name: self.resource_key(resource) for name, resource in task.resources.items()},
            ],
            task.name,
        )


def digest(body: Any, name: str) -> str:
    """The BLAKE2b hash (40 hexadecimal digits) of `body` as canonical JSON; `name` is for the error."""
    try:
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"The parameters of {name!r} are not plain JSON: {error}.") from None
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def load_object(path: str) -> Any:
    """Import ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
