"""What a worker does with a call: read its inputs, run the function, store its outputs; the same in every pool."""

import os
import platform
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa

from intriguing.basics.folders.folder import LocalFolder, Place, folder_at
from intriguing.basics.process.memory import available_memory, is_out_of_host_memory, is_out_of_memory
from intriguing.basics.process.users_code import go_to, unchanged, working_folder
from intriguing.engine.storage.far_store import FarStore
from intriguing.engine.storage.store import Record, Store
from intriguing.engine.task import Code, digest
from intriguing.errors import CorruptError

T = TypeVar("T")


@dataclass(frozen=True)
class Damage:
    """A stored input that could not be read: its fingerprint, and the SHA-256 of what was read ("" if nothing was)."""

    fingerprint: str
    sha256: str = ""


PINNED_BYTES = 4 << 30
"""How many bytes of resources a worker keeps loaded before it lets the least recently used one go."""

KEPT_BYTES = 256 << 20
"""How many bytes a worker keeps of what tasks made of their inputs, for tasks that read the same ones."""

OTHERS_BYTES = 32 << 20
"""How many bytes of these may be of other inputs while more is made: images of one shard alone are in memory."""


MORE_MEMORY = (
    "run fewer workers or other programs at once, or make its work smaller (the sizes in [compute]), and give the same "
    "command again."
)
"""What to do about a task for which memory ran out."""


@dataclass(frozen=True)
class ResourceCall:
    """A resource as a worker needs it: its key, loader, arguments, and where its inputs are stored."""

    key: str
    loader: Code
    parameters: Mapping[str, Any]
    location: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Call:
    """A task as a worker needs it: plain data that can be sent to another machine."""

    task: str
    function: Code
    fingerprint: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    resources: Mapping[str, ResourceCall] = field(default_factory=dict)
    shrink: str = ""
    halvings: int = 0
    """How often the parameter `shrink` is halved before the task is tried."""
    attempt: int = 1

    @property
    def references(self) -> list[tuple[str, str]]:
        """Every (fingerprint, output) that the task reads, its resources' inputs included."""
        references = [r for several in self.inputs.values() for r in several]
        return references + [r for resource in self.resources.values() for r in resource.inputs.values()]

    @property
    def needs(self) -> list[str]:
        """The fingerprints that the task reads, each once."""
        return list(dict.fromkeys(fingerprint for fingerprint, _ in self.references))

    def outputs_of(self, fingerprint: str) -> tuple[str, ...]:
        """The outputs of `fingerprint` that the task reads."""
        return tuple(dict.fromkeys(output for needed, output in self.references if needed == fingerprint))


class Work:
    """What a task's function is given: its inputs, read when asked for, and its resources, loaded once per worker.

    `device` may be set by the function to the kind of device that it used; it is recorded. Paths mean what they meant
    when the task began, also where a model that the function called has left for another working folder.
    """

    def __init__(self, call: Call, store: Store, resources: "Resources") -> None:
        self.device = "cpu"
        self._call = call
        self._store = store
        self._resources = resources
        self._here = working_folder()

    def tables(self, name: str, columns: list[str] | None = None) -> list[pa.Table]:
        """The input `name` as a list of tables, one per task that made it."""
        return [self._read(*reference, columns) for reference in self._call.inputs[name]]

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The input `name` as one table, in plan order."""
        return pa.concat_tables(self.tables(name, columns))

    def each(self, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The input `name` a table at a time, one per task that made it: only one of them is in memory."""
        return (self._read(*reference, columns) for reference in self._call.inputs[name])

    def slices(self, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The input `name` some rows at a time: for what is large, and is put where it belongs at once."""
        for fingerprint, output in self._call.inputs[name]:
            go_to(self._here)
            with _damaging(fingerprint):
                yield from self._store.slices(fingerprint, output, columns)

    def blobs(self, name: str) -> list[bytes]:
        """The input `name` as a list of bytes, one per task that made it."""
        return [self._read(*reference) for reference in self._call.inputs[name]]

    def has_resource(self, name: str) -> bool:
        """Whether the task names a resource `name`."""
        return name in self._call.resources

    def resource(self, name: str) -> Any:
        """The resource `name`, loaded now or found loaded."""
        go_to(self._here)
        return self._resources.get(self._call.resources[name], self._read)

    def kept(self, name: str, inputs: Sequence[str], make: Callable[[], tuple[T, int]], part: str = "") -> T:
        """What `make` makes of these inputs or resources, or what it made of them for an earlier task of this worker.

        `make` returns it with its size in bytes. It may depend on nothing but what `name`, the inputs and `part` say
        (which part of the inputs is read), and no task may change what it made. What is larger than `KEPT_BYTES` is not
        kept; what was made of other inputs, or of another part, goes before, but for `OTHERS_BYTES`.
        """
        held = self._call.resources
        references = [held[each].key if each in held else self._call.inputs[each] for each in inputs]
        return self._resources.kept((digest([part, references], "inputs"), name), make)

    def _read(self, fingerprint: str, output: str, columns: list[str] | None = None) -> Any:
        go_to(self._here)
        with _damaging(fingerprint):
            return self._store.read(fingerprint, output, columns)


class Resources:
    """Resources that stay loaded, within a budget of bytes; the least recently used goes first."""

    def __init__(self, budget: int = PINNED_BYTES) -> None:
        self.budget = budget
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._kept: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()

    @property
    def keys(self) -> list[str]:
        """The keys of what is loaded, least recently used first."""
        return list(self._held)

    def get(self, call: ResourceCall, read: Any) -> Any:
        """The value of a resource, loaded now if it is not held; its loader returns the value and its size in bytes."""
        if call.key in self._held:
            self._held.move_to_end(call.key)
            return self._held[call.key][0]
        inputs = {name: read(*reference) for name, reference in call.inputs.items()}
        value, size = call.loader.load()(**call.parameters, **call.location, **inputs)
        _room(self._held, size, self.budget)
        self._held[call.key] = (value, size)
        return value

    def kept(self, key: tuple[str, str], make: Callable[[], tuple[T, int]]) -> T:
        """What is kept under `key` (inputs, name), or what `make` makes now, as (value, bytes)."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        _room(self._kept, 0, OTHERS_BYTES, [each for each in self._kept if each[0] != key[0]])
        value, size = make()
        if size <= KEPT_BYTES:
            _room(self._kept, size, KEPT_BYTES)
            self._kept[key] = (value, size)
        return value


def _room(held: OrderedDict[Any, tuple[Any, int]], size: int, budget: int, keys: list[Any] | None = None) -> None:
    """Let the least recently used things go until `size` more bytes fit into `budget`; of `keys` alone, if given."""
    counted = list(held) if keys is None else keys
    taken = sum(held[key][1] for key in counted)
    for key in counted:
        if taken + size <= budget:
            return
        taken -= held.pop(key)[1]


class _DamagedInputError(CorruptError):
    """A stored input that cannot be read; `args` are its fingerprint and what is wrong."""


@contextmanager
def _damaging(fingerprint: str) -> Iterator[None]:
    """Inside, an output that cannot be read is an input that is damaged."""
    try:
        yield
    except CorruptError as error:
        raise _damage(fingerprint, str(error), error.sha256) from error


def _damage(fingerprint: str, wrong: str, sha256: str = "") -> _DamagedInputError:
    error = _DamagedInputError(fingerprint, wrong)
    error.sha256 = sha256
    return error


def run_call(call: Call, store: Store, resources: Resources, worker: str) -> Record:
    """Run `call`, store its outputs, and return the record of how it ran.

    When the device, or this machine, runs out of memory, the parameter that the task names as its batch size is halved,
    which the record says.
    """
    began = time.perf_counter()
    parameters, shrunk = dict(call.parameters), {}
    for _ in range(call.halvings):
        _halve(call.shrink, parameters, shrunk)
    while True:
        work = Work(call, store, resources)
        try:
            with unchanged():
                outputs = call.function.load()(work, **parameters)
            break
        except Exception as error:
            if not is_out_of_memory(error) or not _halve(call.shrink, parameters, shrunk):
                raise
    record = Record(
        task=call.task,
        function=call.function.name,
        outputs={},
        inputs=_input_hashes(store, call),
        attempts=call.attempt,
        worker=f"{socket.gethostname()}:{os.getpid()}:{worker}",
        device=work.device,
        seconds=time.perf_counter() - began,
        peak_memory=peak_memory(),
        shrunk=shrunk,
        versions=_versions(),
    )
    return store.write(call.fingerprint, outputs, record)


def _halve(name: str, parameters: dict[str, Any], shrunk: dict[str, int]) -> bool:
    """Halve the parameter `name`, and note that; whether there was anything to halve."""
    if not name or int(parameters[name]) <= 1:
        return False
    parameters[name] = shrunk[name] = int(parameters[name]) // 2
    return True


def damaged_input(error: BaseException) -> tuple[Damage, ...]:
    """The stored input that `error` is about, in a tuple; empty for any other error."""
    return (Damage(str(error.args[0]), error.sha256),) if isinstance(error, _DamagedInputError) else ()


def error_text(error: BaseException) -> str:
    """What `error` says, without the fingerprint that a damaged input carries; the class's name if it says nothing.

    Where the machine has no memory left, also what to do.
    """
    said = (str(error.args[1]) if isinstance(error, _DamagedInputError) else str(error)) or type(error).__name__
    if not is_out_of_host_memory(error):
        return said
    return (
        f"{said.rstrip('.')}. No memory was left for it ({available_memory() / 1e9:.1f} GB are available now): "
        f"{MORE_MEMORY}"
    )


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes (0 where the system does not tell)."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _input_hashes(store: Store, call: Call) -> dict[str, str]:
    hashes = {}
    for fingerprint in call.needs:
        record, wrong = store.find(fingerprint)
        if record is None:
            raise _damage(fingerprint, wrong)
        hashes |= {f"{f}/{o}": record.outputs[o].sha256 for f, o in call.references if f == fingerprint}
    return hashes


def _versions() -> dict[str, str]:
    names = ("numpy", "torch", "pyarrow", "gensim")
    versions = {name: str(getattr(sys.modules[name], "__version__", "")) for name in names if name in sys.modules}
    return {"python": platform.python_version()} | versions


def store_of(run: Place) -> Store:
    """The store of the run folder `run`."""
    folder = folder_at(run)
    return Store(folder.path / "store") if isinstance(folder, LocalFolder) else FarStore(folder)
