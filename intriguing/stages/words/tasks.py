"""Tasks of the unit question on word vectors: encode text, train, count, judge, test.

The science is in `intriguing.words.steps`, one function per task; here are only what is stored, and threads.
"""

import json
import logging

import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import DataError
from intriguing.stages.words import functions
from intriguing.words import steps, verdict
from intriguing.words.text.corpus import Corpus
from intriguing.words.text.sources import content_hash

Outputs = dict[str, bytes | pa.Table]


def source_file(sha256: str, source: str) -> tuple[str, int]:
    """`source` itself; raises `DataError` where its bytes are not those that the plan was made from."""
    here = content_hash(source)
    if here != sha256:
        raise DataError(
            f"{source!r} differs on this worker from the file that the plan was made from ({here[:12]} here, "
            f"{sha256[:12]} there). Put the same file on every node."
        )
    return source, 0


@functions.ENCODE_TEXT.implementation
def encode_text(work: Work, parameters: functions.EncodeTextParameters) -> Outputs:
    """``corpus``: the text as numbers."""
    return steps.encode_corpus(work.resource("text"), parameters.corpus, parameters.reading)


@functions.TRAIN_WORDS.implementation
def train_words(work: Work, parameters: functions.TrainWordsParameters) -> Outputs:
    """``vectors``: trained on the folds `parts`."""
    torch.set_num_threads(parameters.threads)
    logging.getLogger("gensim").setLevel(logging.WARNING)  # gensim logs every epoch
    [corpus] = work.blobs("corpus")
    return steps.train_vectors(
        corpus,
        parts=parameters.parts,
        folds=parameters.cut.folds,
        seed=parameters.seed,
        fold_seed=parameters.cut.fold_seed,
        training=parameters.training,
    )


@functions.READ_VECTORS.implementation
def read_vectors(work: Work, parameters: functions.ReadVectorsParameters) -> Outputs:
    """``vectors``: existing ones, with the corpus's word counts where they bring none."""
    [corpus] = work.blobs("corpus")
    return steps.import_vectors(work.resource("vectors"), corpus, reading=parameters.reading)


@functions.COUNT_WORDS.implementation
def count_words(work: Work, parameters: functions.CountWordsParameters) -> Outputs:
    """``counts``: which words stand near each other in the held-out fold."""
    [corpus] = work.blobs("corpus")
    return steps.count_held_out(
        corpus,
        fold=parameters.fold,
        folds=parameters.cut.folds,
        fold_seed=parameters.cut.fold_seed,
        width=parameters.window,
        min_count=parameters.judged_count,
        training_min_count=parameters.training_min_count,
        vectors=work.blobs("vectors")[0] if parameters.existing else None,
    )


@functions.DESCRIBE_WORDS.implementation
def describe_words(work: Work, parameters: functions.DescribeWordsParameters) -> Outputs:
    """The tables `word_vectors` and `word_norms`: what an embedding is, and how its norms follow word counts."""
    [text], [vectors], [counts] = work.blobs("corpus"), work.blobs("vectors"), work.blobs("counts")
    skipped = json.dumps(Corpus.from_bytes(text).skipped)
    return steps.describe_vectors(vectors, counts, parameters.key, skipped)


@functions.JUDGE_WORDS.implementation
def judge_words(work: Work, parameters: functions.JudgeWordsParameters) -> Outputs:
    """The table `word_rows`, and the ``statistics`` of one embedding under one condition."""
    torch.set_num_threads(parameters.threads)
    [vectors], [counts], [independent] = work.blobs("vectors"), work.blobs("counts"), work.blobs("independent")
    return steps.judge_vectors(
        vectors,
        counts,
        independent,
        parameters.key,
        parameters.condition,
        parameters.judging,
    )


@functions.TEST_WORDS.implementation
def word_tests(work: Work, parameters: functions.WordTestsParameters) -> Outputs:
    """The tables `word_tests`, of every embedding and condition of one corpus, corrected together, and of their pool,
    and `word_verdicts`.
    """
    outputs = steps.tests_of_words(work.blobs("statistics"))
    answer = verdict(outputs["word_tests"], parameters.corpus)
    return outputs | {"word_verdicts": tables.WORD_VERDICTS.build({"corpus": [parameters.corpus], "verdict": [answer]})}
