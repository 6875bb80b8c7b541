"""All steps of the word study in this process, one after another, as a sweep runs them as tasks."""

import json

import pyarrow as pa

from intriguing.tables.words import EmbeddingKey
from intriguing.words import steps
from intriguing.words.text.corpus import Corpus


def study(source, *, name, held_out, seeds, conditions, training, judging, folds=2):
    """The tables `word_rows`, `word_tests`, `word_vectors` and `word_norms`."""
    corpus = steps.encode_corpus(source, name)["corpus"]
    skipped = json.dumps(Corpus.from_bytes(corpus).skipped)
    collected = {"word_rows": [], "word_vectors": [], "word_norms": []}
    statistics = []

    def trained(parts, seed):
        return steps.train_vectors(corpus, parts=parts, folds=folds, seed=seed, training=training)["vectors"]

    for fold in held_out:
        least = training["min_count"]
        counts = steps.count_held_out(corpus, fold=fold, folds=folds, training_min_count=least)["counts"]
        for seed in seeds:
            key = EmbeddingKey(name, seed, fold)
            vectors, independent = trained([f for f in range(folds) if f != fold], seed), trained([fold], seed)
            described = steps.describe_vectors(vectors, counts, key, skipped)
            for condition in conditions:
                judged = steps.judge_vectors(vectors, counts, independent, key, condition, judging)
                statistics.append(judged["statistics"])
                collected["word_rows"].append(judged["word_rows"])
            for table in ("word_vectors", "word_norms"):
                collected[table].append(described[table])
    return {table: pa.concat_tables(parts) for table, parts in collected.items()} | steps.tests_of_words(statistics)
