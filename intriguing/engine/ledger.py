"""The ledger: what a driver keeps in memory of every finished task, in some 250 bytes each."""

import struct
from collections.abc import Iterator, Mapping, MutableMapping

from intriguing.engine.store import Record, Stored

_HOW = struct.Struct("<dIQ")
_OUTPUT = struct.Struct("<qq32s")

Head = tuple[str, str, str, tuple[tuple[str, str], ...]]
"""What many tasks share: function, worker, device, and the names and files of the outputs."""


class Ledger(MutableMapping[str, Record]):
    """Records by task, packed; each is unpacked when it is asked for.

    The hashes of the inputs and the versions of packages are left out: they are in the store, and no driver asks for
    them once it knows that a task is current.
    """

    def __init__(self, records: Mapping[str, Record] | None = None) -> None:
        self._rows: dict[str, tuple[Head, bytes]] = {}
        self._heads: dict[Head, Head] = {}
        self._shrunk: dict[str, dict[str, int]] = {}
        self.update(records or {})

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, task: object) -> bool:
        return task in self._rows

    def __getitem__(self, task: str) -> Record:
        (function, worker, device, layout), packed = self._rows[task]
        seconds, attempts, peak_memory = _HOW.unpack_from(packed)
        outputs = {}
        for (name, file), (size, rows, digest) in zip(layout, _OUTPUT.iter_unpack(packed[_HOW.size :]), strict=True):
            outputs[name] = Stored(file, size, digest.hex(), rows)
        return Record(
            task=task,
            function=function,
            outputs=outputs,
            attempts=attempts,
            worker=worker,
            device=device,
            seconds=seconds,
            peak_memory=peak_memory,
            shrunk=self._shrunk.get(task, {}),
        )

    def __setitem__(self, task: str, record: Record) -> None:
        layout = tuple((name, stored.file) for name, stored in record.outputs.items())
        head = (record.function, record.worker, record.device, layout)
        packed = _HOW.pack(record.seconds, record.attempts, record.peak_memory)
        packed += b"".join(_OUTPUT.pack(s.bytes, s.rows, bytes.fromhex(s.sha256)) for s in record.outputs.values())
        self._rows[task] = (self._heads.setdefault(head, head), packed)
        if record.shrunk:
            self._shrunk[task] = dict(record.shrunk)

    def __delitem__(self, task: str) -> None:
        del self._rows[task]
        self._shrunk.pop(task, None)
