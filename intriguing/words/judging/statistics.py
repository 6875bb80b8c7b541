"""The statistics of one embedding under one condition: all that its tests need, less than a megabyte."""

import json
from dataclasses import dataclass

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.words.packing import pack, unpack

_ARRAYS = ("null", "dealt")


@dataclass(frozen=True)
class Statistics:
    """Statistics of one (corpus, seed, fold, condition), by control and metric."""

    __repr__ = brief

    corpus: str
    """The corpus's name."""
    seed: int
    """The training's seed."""
    fold: int
    """The fold that the judges read."""
    condition: str
    """The condition of the vectors (see `conditions`)."""
    words: int
    """Number of judged words."""
    left_out: int
    """Number of words of the vectors that a judge does not know."""
    lines: int
    """Number of word lists per basis: two per direction."""
    measured: dict[str, dict[str, float]]
    """By control (trained, varimax, pca, gaussian), then metric: the basis's statistic."""
    null: dict[str, np.ndarray]
    """By metric: the statistics of random rotations, (B,)."""
    dealt: dict[str, np.ndarray]
    """By metric, (deals, 1 + B): the statistics with vectors assigned to words at random; that of the natural basis,
    then those of the same random rotations."""
    spread: dict[str, float]
    """By metric: the standard error of natural minus null mean over the choice of words; empty without subsamples."""
    intruders_found: dict[str, int]
    """By intrusion metric: number of lines of the natural basis in which the judge found the intruder."""
    matched_npmi: float
    """Mean NPMI of the natural basis's rows."""
    matched_null: np.ndarray
    """The same for count-matched random words in their place, (draws,)."""

    def to_bytes(self) -> bytes:
        """The statistics as safetensors bytes, for a store; `from_bytes` reads them back."""
        arrays = {f"{kind}/{m}": v for kind in _ARRAYS for m, v in getattr(self, kind).items()}
        plain = {k: v for k, v in vars(self).items() if k not in (*_ARRAYS, "matched_null")}
        return pack(arrays | {"matched_null": self.matched_null}, {"plain": json.dumps(plain, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Statistics":
        """The statistics that `to_bytes` wrote. Raises: `DataError` for other bytes."""
        arrays, notes = unpack(data, "statistics of words", ("matched_null",))
        by_metric: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _ARRAYS}
        for name, values in arrays.items():
            kind, _, metric = name.partition("/")
            if metric:
                by_metric[kind][metric] = values
        fields = {"null": by_metric["null"], "dealt": by_metric["dealt"], "matched_null": arrays["matched_null"]}
        return cls(**json.loads(notes["plain"]) | fields)
