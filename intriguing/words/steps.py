"""The steps of the word stage, one per task: pure functions from bytes and plain parameters to named outputs.

    corpus ─┬─ training text of (fold, seed) ── vectors ──┬─ judge (fold, seed, condition) ── tests
            ├─ held-out text of (fold, seed) ── vectors ──┤
            └─ held-out text of fold ────────── counts ───┘

The judges use fold f; the vectors are trained on all other folds, and the independent embedding on fold f alone, from
another start. So with 2 folds the embeddings judge each other, and none is trained only as a judge.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from intriguing import tables
from intriguing.errors import DataError, InputError
from intriguing.tables.words import EmbeddingKey
from intriguing.words.embeddings.formats import read_vectors
from intriguing.words.embeddings.training import TrainingOptions, train
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.frequency import norm_count
from intriguing.words.judging.inference import word_tests
from intriguing.words.judging.one_embedding import judge
from intriguing.words.judging.options import JudgeOptions
from intriguing.words.judging.statistics import Statistics
from intriguing.words.text.cooccurrence import WINDOW, Cooccurrence, count_windows
from intriguing.words.text.corpus import Corpus, read_corpus, select_folds

Outputs = dict[str, bytes | pa.Table]


def encode_corpus(source: str, name: str = "", reading: Mapping[str, Any] | None = None) -> Outputs:
    """``corpus``: the text behind `source`, encoded, under `name`. `reading`: keywords of `read_corpus`."""
    corpus = read_corpus(source, **(reading or {}))
    return {"corpus": Corpus(name or source, corpus.words, corpus.tokens, corpus.ends, corpus.skipped).to_bytes()}


def train_vectors(
    corpus: bytes,
    *,
    parts: Sequence[int],
    folds: int,
    seed: int,
    fold_seed: int = 0,
    training: Mapping[str, Any] | None = None,
) -> Outputs:
    """``vectors``: Word2Vec trained on the folds `parts` of `folds`. `training`: fields of `TrainingOptions`.

    The initial vectors depend on `seed` and `parts`, so those of different text are independent.
    """
    options = TrainingOptions.from_mapping(training or {})
    text = select_folds(Corpus.from_bytes(corpus), parts, folds=folds, seed=fold_seed)
    stream = f"folds {sorted(parts)} of {folds}, cut by {fold_seed}"
    vectors = train(text, options, seed=seed, stream=stream)
    notes = vectors.notes | {"training_words": str(len(text)), "reproducible": json.dumps(options.reproducible)}
    return {"vectors": WordVectors(vectors.words, vectors.vectors, vectors.counts, notes).to_bytes()}


def import_vectors(source: str, corpus: bytes, *, reading: Mapping[str, Any] | None = None) -> Outputs:
    """``vectors``: existing ones (`reading`: keywords of `read_vectors`), with word counts from the corpus if they
    have none, and with its spelling if only the Unicode normal form differs. The judges use held-out text only if the
    vectors were not trained on the corpus, which cannot be checked.
    """
    text = Corpus.from_bytes(corpus)
    vectors = read_vectors(source, **(reading or {})).spelled_as_in(text)
    if (vectors.counts < 0).any():
        vectors = vectors.counted_in(text)
    return {"vectors": vectors.to_bytes()}


def count_held_out(
    corpus: bytes,
    *,
    fold: int,
    folds: int,
    fold_seed: int = 0,
    width: int = WINDOW,
    min_count: int = 5,
    training_min_count: int = 5,
    vectors: bytes | None = None,
) -> Outputs:
    """``counts``: windows of fold `fold`, over the words that matter: those of `vectors`, or without them all that
    occur `training_min_count` times in the other folds, which is what training gives a vector.
    """
    whole = Corpus.from_bytes(corpus)
    if vectors is not None:
        words = list(WordVectors.from_bytes(vectors).words)
    else:
        others = select_folds(whole, [f for f in range(folds) if f != fold], folds=folds, seed=fold_seed)
        words = [whole.words[i] for i in np.flatnonzero(others.counts() >= training_min_count).tolist()]
        if not words:
            raise DataError(
                f"No word occurs {training_min_count} times in the {len(others)} words of {whole.name!r} outside fold "
                f"{fold}, so there is nothing to judge. Give more text, fewer folds, or a lower min_count."
            )
    text = select_folds(whole, [fold], folds=folds, seed=fold_seed)
    return {"counts": count_windows(text, words, width=width, min_count=min_count).to_bytes()}


def judge_vectors(
    vectors: bytes,
    counts: bytes,
    independent: bytes,
    key: EmbeddingKey,
    condition: str,
    judging: Mapping[str, Any] | None = None,
) -> Outputs:
    """``word_rows`` and ``statistics`` of one embedding under one condition. `judging`: fields of `JudgeOptions`."""
    rows, statistics = judge(
        WordVectors.from_bytes(vectors),
        Cooccurrence.from_bytes(counts),
        WordVectors.from_bytes(independent),
        key,
        condition,
        JudgeOptions.from_mapping(judging or {}),
    )
    return {"word_rows": rows, "statistics": statistics.to_bytes()}


def tests_of_words(statistics: Sequence[bytes]) -> Outputs:
    """``word_tests`` of every embedding and condition together, with Holm's correction and the pooled tests."""
    return {"word_tests": word_tests([Statistics.from_bytes(data) for data in statistics])}


def describe_vectors(vectors: bytes, counts: bytes, key: EmbeddingKey, skipped: str = "{}") -> Outputs:
    """``word_vectors`` and ``word_norms``: the properties of an embedding, and how its norms depend on word counts.

    skipped: the JSON of `Corpus.skipped`; the vectors' own skipped lines are added.
    """
    embedding, held_out = WordVectors.from_bytes(vectors), Cooccurrence.from_bytes(counts)
    judged = set(held_out.words)
    left_out = {k: int(embedding.notes[k]) for k in ("repeated_words", "vectors_not_finite") if k in embedding.notes}
    facts: dict[str, Any] = {
        "made_by": embedding.notes.get("made_by", "unknown"),
        "words": len(embedding.words),
        "dimension": embedding.dim,
        "training_words": int(embedding.notes["training_words"]) if "training_words" in embedding.notes else None,
        "held_out_words": held_out.windows,
        "unjudged_words": sum(word not in judged for word in embedding.words),
        "reproducible": json.loads(embedding.notes.get("reproducible", "null")),
        "skipped": json.dumps(json.loads(skipped) | left_out, sort_keys=True),
        "norm_count_spearman": None,
        "norm_count_p": None,
        "remarks": json.dumps(embedding.remarks(), sort_keys=True),
    }
    try:
        relation = norm_count(embedding.vectors, embedding.counts)
    except InputError as error:
        raise DataError(f"{key.corpus!r}: {error}") from None
    if np.isfinite(relation.spearman):
        facts |= {"norm_count_spearman": relation.spearman, "norm_count_p": relation.p}
    norms = {
        "stratum": np.arange(len(relation.words)),
        "count_low": relation.count_low,
        "count_high": relation.count_high,
        "words": relation.words,
        "norm_low": relation.low,
        "norm_median": relation.median,
        "norm_high": relation.high,
    }
    return {
        "word_vectors": tables.WORD_VECTORS.build({k: [v] for k, v in (key.columns | facts).items()}),
        "word_norms": tables.WORD_NORMS.build(norms, **key.columns),
    }
