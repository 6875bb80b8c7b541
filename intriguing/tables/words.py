"""Schemas: word vectors, their top words, and the tests."""

from dataclasses import dataclass

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.tables.fields import BASIS, CONDITION, DIRECTION, DOUBLE, FLAG, TEST_FIELDS, TEXT, WHOLE

METRICS = ("npmi", "npmi_matched", "cosine", "intrusion_npmi", "intrusion_cosine", "dist_ratio")
"""The scores of the judges."""


@dataclass(frozen=True)
class EmbeddingKey:
    """The columns that name an embedding in every table on words."""

    corpus: str
    """The corpus's name, or that of existing vectors."""
    seed: int
    """The seed of the training."""
    fold: int
    """The fold that the judges read."""

    @property
    def columns(self) -> dict[str, str | int]:
        """The columns by name."""
        return {"corpus": self.corpus, "seed": self.seed, "fold": self.fold}


WORD_ROWS = Table(
    "word_rows",
    "a direction's top words",
    (
        Field("corpus", TEXT, "The corpus's name in the spec."),
        Field("seed", pa.int32(), "The seed of the training (-1: all seeds, pooled)."),
        Field("fold", pa.int32(), "The fold held out for the judges (-1: all folds, pooled)."),
        CONDITION,
        BASIS,
        DIRECTION,
        Field("sign", pa.int8(), "+1: the largest projections, -1: the smallest."),
        Field("words", pa.list_(TEXT), "The top words, best first."),
        Field("npmi", DOUBLE, "Their mean pairwise NPMI in held-out text.", "", True),
        Field("matched_percentile", DOUBLE, "Where that lies among count-matched random words.", "percent", True),
        Field("median_count", DOUBLE, "The median count of the words in the training text.", "occurrences"),
    ),
    ("corpus", "seed", "fold", "condition", "basis", "direction", "sign"),
)

WORD_TESTS = Table(
    "word_tests",
    "a test of a word embedding's basis",
    (WORD_ROWS.fields[0], WORD_ROWS.fields[1], WORD_ROWS.fields[2], CONDITION, *TEST_FIELDS),
    ("corpus", "seed", "fold", "condition", "control", "metric", "alpha"),
)

WORD_VERDICTS = Table(
    "word_verdicts",
    "what the tests of a corpus or of existing vectors say",
    (WORD_ROWS.fields[0], Field("verdict", TEXT, "The answer in sentences, with what the controls say.")),
    ("corpus",),
)

WORD_VECTORS = Table(
    "word_vectors",
    "a word embedding",
    (
        *WORD_ROWS.fields[:3],
        Field("made_by", TEXT, "What made the vectors."),
        Field("words", WHOLE, "How many words have a vector.", "words"),
        Field("dimension", pa.int32(), "The length of a vector."),
        Field(
            "training_words", WHOLE, "Running words of the training text; null for vectors from elsewhere.", "", True
        ),
        Field("held_out_words", WHOLE, "Running words of the judges' text.", "words"),
        Field("unjudged_words", WHOLE, "Words with a vector that the judges' text lacks or has too rarely.", "words"),
        Field("reproducible", FLAG, "Whether the same text, options and seed give the same vectors.", "", True),
        Field("skipped", TEXT, "What was left out while reading text and vectors, counted (JSON)."),
        Field("norm_count_spearman", DOUBLE, "Rank correlation of a vector's norm with its word's count.", "", True),
        Field("norm_count_p", DOUBLE, "Its two-sided p-value.", "", True),
        Field("remarks", TEXT, "What else there is to know of words and vectors, counted (JSON).", "", True),
    ),
    ("corpus", "seed", "fold"),
)

WORD_NORMS = Table(
    "word_norms",
    "a group of words of like count",
    (
        *WORD_ROWS.fields[:3],
        Field("stratum", pa.int32(), "The group's number, from 0 for the most frequent words."),
        Field("count_low", WHOLE, "The smallest count in the group.", "occurrences"),
        Field("count_high", WHOLE, "The largest.", "occurrences"),
        Field("words", WHOLE, "How many words it holds.", "words"),
        Field("norm_low", DOUBLE, "The 10 % quantile of their vectors' norms."),
        Field("norm_median", DOUBLE, "The median norm."),
        Field("norm_high", DOUBLE, "The 90 % quantile."),
    ),
    ("corpus", "seed", "fold", "stratum"),
)
