"""Outputs in Ray's object store, for actors that do not see the run folder."""

from collections import OrderedDict
from collections.abc import Set
from typing import Any

import ray

from intriguing.engine.storage.store import Store

_KEPT = 64
"""How many references are held at once; what Ray drops is put there again when it is needed."""


class Carried:
    """References to the files of outputs, each put into Ray's object store once for several calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._references: OrderedDict[tuple[str, tuple[str, ...]], Any] = OrderedDict()

    def reference(self, fingerprint: str, outputs: tuple[str, ...]) -> Any:
        """The reference to the files of these outputs of a task; beyond `_KEPT` the least recently used is let go."""
        key = (fingerprint, outputs)
        if key not in self._references:
            self._references[key] = ray.put(self._store.files(fingerprint, outputs))
            while len(self._references) > _KEPT:
                self._references.popitem(last=False)
        self._references.move_to_end(key)
        return self._references[key]

    def forget(self, fingerprints: Set[str]) -> None:
        """Let go of the files of these tasks, whose outputs are written anew or are damaged."""
        for key in [key for key in self._references if key[0] in fingerprints]:
            del self._references[key]
