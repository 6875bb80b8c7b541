"""Tasks of the unit question on word vectors: encode text, train, count, judge, test.

The science is in `intriguing.words.steps`, one function per task; here are only what is stored, and threads.
"""

import json
import logging
from typing import Any

import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import DataError
from intriguing.words import steps, verdict
from intriguing.words.corpus import Corpus
from intriguing.words.sources import content_hash

Outputs = dict[str, bytes | pa.Table]


def source_file(sha256: str, source: str) -> tuple[str, int]:
    """`source`, after its bytes were held against the plan's; raises `DataError` when they are others here."""
    here = content_hash(source)
    if here != sha256:
        raise DataError(
            f"{source!r} differs on this worker from the file that the plan was made from ({here[:12]} here, "
            f"{sha256[:12]} there). Put the same file on every node."
        )
    return source, 0


def encode_text(work: Work, corpus: str, reading: dict[str, Any]) -> Outputs:
    """``corpus``: the text as numbers."""
    return steps.encode_corpus(work.resource("text"), corpus, reading)


def train_words(
    work: Work, parts: list[int], folds: int, seed: int, fold_seed: int, training: dict[str, Any], threads: int
) -> Outputs:
    """``vectors``: trained on the folds `parts`."""
    torch.set_num_threads(threads)
    logging.getLogger("gensim").setLevel(logging.WARNING)  # it tells every epoch, in lines of its own
    [corpus] = work.blobs("corpus")
    return steps.train_vectors(corpus, parts=parts, folds=folds, seed=seed, fold_seed=fold_seed, training=training)


def read_vectors(work: Work, reading: dict[str, Any]) -> Outputs:
    """``vectors``: existing ones, with the corpus's word counts where they bring none."""
    [corpus] = work.blobs("corpus")
    return steps.import_vectors(work.resource("vectors"), corpus, reading=reading)


def count_words(
    work: Work,
    fold: int,
    folds: int,
    fold_seed: int,
    window: int,
    judged_count: int,
    training_min_count: int,
    existing: bool,
) -> Outputs:
    """``counts``: which words stand near each other in the held-out fold."""
    [corpus] = work.blobs("corpus")
    return steps.count_held_out(
        corpus,
        fold=fold,
        folds=folds,
        fold_seed=fold_seed,
        width=window,
        min_count=judged_count,
        training_min_count=training_min_count,
        vectors=work.blobs("vectors")[0] if existing else None,
    )


def describe_words(work: Work, corpus: str, seed: int, fold: int) -> Outputs:
    """The tables `word_vectors` and `word_norms`: what an embedding is, and how its norms follow word counts."""
    [text], [vectors], [counts] = work.blobs("corpus"), work.blobs("vectors"), work.blobs("counts")
    skipped = json.dumps(Corpus.from_bytes(text).skipped)
    return steps.describe_vectors(vectors, counts, corpus=corpus, seed=seed, fold=fold, skipped=skipped)


def judge_words(
    work: Work, corpus: str, seed: int, fold: int, condition: str, judging: dict[str, Any], threads: int
) -> Outputs:
    """The table `word_rows`, and the ``statistics`` of one embedding under one condition."""
    torch.set_num_threads(threads)
    [vectors], [counts], [independent] = work.blobs("vectors"), work.blobs("counts"), work.blobs("independent")
    return steps.judge_vectors(
        vectors,
        counts,
        independent,
        condition=condition,
        corpus=corpus,
        seed=seed,
        fold=fold,
        judging=judging,
    )


def word_tests(work: Work, corpus: str) -> Outputs:
    """The tables `word_tests`, of every embedding and condition of one corpus, corrected together, and of their pool,
    and `word_verdicts`.
    """
    outputs = steps.tests_of_words(work.blobs("statistics"))
    said = verdict(outputs["word_tests"], corpus)
    return outputs | {"word_verdicts": tables.WORD_VERDICTS.build({"corpus": [corpus], "verdict": [said]})}
