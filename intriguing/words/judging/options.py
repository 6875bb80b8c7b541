"""Options of the judges of word vectors: a spec's section [words.judging]."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from intriguing.errors import SpecError, check_names
from intriguing.words.judging.frequency import STRATUM_WORDS
from intriguing.words.judging.judges import LEAST_WORDS


@dataclass(frozen=True)
class JudgeOptions:
    """Options of the judges of word vectors."""

    rotations: int = 999
    """Haar rotations in the null."""
    deals: int = 5
    """How many times vectors are assigned to words at random, for the negative control."""
    subsamples: int = 50
    """Random halves of the words behind each interval; 0 gives no intervals."""
    subsample_rotations: int = 4
    """Rotations that the natural basis is compared with in each half."""
    most_words: int | None = None
    """Largest number of words to judge, the most frequent ones; None: all that the judges know."""
    pool_words: int = 1024
    """Words that intruders are drawn from."""
    intruders: int = 5
    """Intruders per list; the binomial test takes the first."""
    row_words: int = 10
    """Words in each row of `word_rows`."""
    matched_draws: int = 499
    """Draws of count-matched random words behind each row's percentile."""
    removed: int | None = None
    """Components that the condition centred removes; None: D/100, at least 1."""
    seed: int = 0
    """The root seed of rotations, intruders, halves and matched words."""

    def __post_init__(self) -> None:
        for name, low in (
            ("rotations", 1),
            ("deals", 1),
            ("subsamples", 0),
            ("subsample_rotations", 1),
            ("pool_words", 200),
            ("intruders", 1),
            ("row_words", 2),
            ("matched_draws", 1),
        ):
            if getattr(self, name) < low:
                raise SpecError(f"{name} = {getattr(self, name)}: it is at least {low}.")
        if self.subsamples == 1:
            raise SpecError("subsamples = 1: one half has no spread; give 0 for no intervals, or at least 2.")
        if self.row_words > STRATUM_WORDS:
            raise SpecError(f"row_words = {self.row_words}: count-matched draws allow at most {STRATUM_WORDS}.")
        if self.most_words is not None and self.most_words < LEAST_WORDS:
            raise SpecError(f"most_words = {self.most_words}: the judges need at least {LEAST_WORDS}.")

    @classmethod
    def from_mapping(cls, keys: Mapping[str, Any]) -> "JudgeOptions":
        """Options from a spec's keys. Raises: `UnknownNameError` for an unknown key, with the nearest valid ones."""
        check_names("judge option", keys, [f.name for f in fields(cls)])
        return cls(**keys)
