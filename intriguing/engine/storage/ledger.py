"""The ledger: what a driver keeps in memory of every finished task, in some 250 bytes each."""

import struct
from collections.abc import Iterator, Mapping, MutableMapping

from intriguing.engine.storage.store import Record, Stored

_HOW = struct.Struct("<dIQ")
_OUTPUT = struct.Struct("<qq32s")

Head = tuple[str, str, str, tuple[tuple[str, str], ...]]
"""What many tasks share: function, worker, device, and the names and files of the outputs."""

Row = tuple[Head, bytes]
"""A packed record: what it shares with others, and the rest."""


def is_head(head: Head) -> bool:
    """Whether a head, which comes from a file, is of texts alone."""
    *texts, layout = head
    return all(isinstance(text, str) for text in (*texts, *(name for output in layout for name in output)))


def fits(row: Row) -> bool:
    """Whether what is packed, which comes from a file, tells of as many outputs as its head does."""
    (_, _, _, layout), packed = row
    return len(packed) == _HOW.size + _OUTPUT.size * len(layout)


def outputs_of(row: Row) -> dict[str, Stored]:
    """The outputs that a packed record tells of."""
    (_, _, _, layout), packed = row
    return {
        name: Stored(file, size, digest.hex(), rows)
        for (name, file), (size, rows, digest) in zip(layout, _OUTPUT.iter_unpack(packed[_HOW.size :]), strict=True)
    }


class Ledger(MutableMapping[str, Record]):
    """Records by task, packed; each is unpacked when it is asked for.

    The hashes of the inputs and the versions of packages are left out: they are in the store, and no driver asks for
    them once it knows that a task is current.
    """

    def __init__(self, records: Mapping[str, Record] | None = None) -> None:
        self._rows: dict[str, tuple[Head, bytes]] = {}
        self._heads: dict[Head, Head] = {}
        self._shrunk: dict[str, dict[str, int]] = {}
        if isinstance(records, Ledger):  # packed already
            self._rows, self._heads, self._shrunk = dict(records._rows), dict(records._heads), dict(records._shrunk)
        else:
            self.update(records or {})

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, task: object) -> bool:
        return task in self._rows

    def __getitem__(self, task: str) -> Record:
        (function, worker, device, _), packed = row = self._rows[task]
        seconds, attempts, peak_memory = _HOW.unpack_from(packed)
        return Record(
            task=task,
            function=function,
            outputs=outputs_of(row),
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

    def row(self, task: str) -> Row:
        """The record of `task` as it is packed."""
        return self._rows[task]

    def adopt(self, task: str, row: Row) -> None:
        """Take over a packed record; what it was halved to (`shrunk`) is not in it."""
        head, packed = row
        self._rows[task] = (self._heads.setdefault(head, head), packed)

    def how(self, task: str) -> tuple[str, int, str, str, float, int]:
        """Function, attempts, worker, device, seconds and largest memory of `task`: all but its outputs."""
        (function, worker, device, _), packed = self._rows[task]
        seconds, attempts, peak_memory = _HOW.unpack_from(packed)
        return function, attempts, worker, device, seconds, peak_memory

    def seconds(self, task: str) -> float:
        """How long `task` took."""
        return _HOW.unpack_from(self._rows[task][1])[0]

    def output(self, task: str, output: str) -> Stored | None:
        """What is known of an output; None where there is none."""
        if task in self._rows:
            (_, _, _, layout), packed = self._rows[task]
            for i, (name, file) in enumerate(layout):
                if name == output:
                    size, rows, digest = _OUTPUT.unpack_from(packed, _HOW.size + i * _OUTPUT.size)
                    return Stored(file, size, digest.hex(), rows)
        return None

    def __delitem__(self, task: str) -> None:
        del self._rows[task]
        self._shrunk.pop(task, None)
