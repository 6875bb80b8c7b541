import gzip
import json
import time
from pathlib import Path

import numpy as np
import pytest

from intriguing import tables
from intriguing.tables.words import EmbeddingKey
from intriguing.words import steps
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.inference import verdict
from intriguing.words.text.cooccurrence import Cooccurrence
from intriguing.words.text.corpus import Corpus, select_folds
from tests.keys import duplicates
from tests.words.planted import topic_corpus, topic_vectors
from tests.words.study import study

TEXT = Path(__file__).parents[3] / "shared" / "data" / "text" / "corpus.txt.gz"
QUICK = {"rotations": 9, "subsamples": 2, "matched_draws": 9}


@pytest.fixture(scope="module")
def outcome():
    return study(
        "embedded",
        name="sample",
        seeds=[0, 1],
        held_out=[1],
        conditions=["raw", "l2"],
        training={"vector_size": 8, "epochs": 1, "min_count": 30},
        judging=QUICK,
    )


def test_a_study_of_the_sample_fills_every_table_with_unique_keys(outcome):
    assert set(outcome) == {"word_rows", "word_tests", "word_vectors", "word_norms"}
    for name, table in outcome.items():
        schema = tables.named(name)
        assert table.schema.equals(schema.schema) and table.num_rows > 0
        assert duplicates(table, schema.key) == 0


def test_every_condition_and_seed_has_its_rows_and_the_pool_too(outcome):
    rows, tests = outcome["word_rows"].to_pandas(), outcome["word_tests"].to_pandas()
    expected = {(seed, 1, condition) for seed in (0, 1) for condition in ("raw", "l2")}
    assert set(zip(rows.seed, rows.fold, rows.condition, strict=True)) == expected
    assert set(zip(tests.seed, tests.fold, strict=True)) == {(0, 1), (1, 1), (-1, -1)}
    assert "of 12 tests (6 judges x 2 conditions; 2 embeddings, pooled; 9 rotations)" in verdict(outcome["word_tests"])


def test_an_embedding_is_described(outcome):
    first = outcome["word_vectors"].to_pylist()[0]
    assert first["dimension"] == 8 and first["reproducible"] is True
    assert first["training_words"] + first["held_out_words"] > 400_000
    assert json.loads(first["skipped"])["empty_lines"] == 0
    assert -1 <= first["norm_count_spearman"] <= 1
    norms = outcome["word_norms"].to_pandas()
    assert norms[norms.seed == 0].words.sum() == first["words"]


def planted_bytes():
    return topic_corpus().to_bytes()


def test_the_held_out_fold_is_never_trained_on():
    corpus = planted_bytes()
    made = steps.train_vectors(corpus, parts=[0], folds=2, seed=0, training={"vector_size": 4, "min_count": 1})
    vectors = WordVectors.from_bytes(made["vectors"])
    half = select_folds(Corpus.from_bytes(corpus), [0], folds=2)
    seen = dict(zip(half.words, half.counts().tolist(), strict=True))
    assert vectors.counts.tolist() == [seen[w] for w in vectors.words]
    counts = Cooccurrence.from_bytes(steps.count_held_out(corpus, fold=1, folds=2)["counts"])
    rest = select_folds(Corpus.from_bytes(corpus), [1], folds=2)
    assert counts.windows == len(rest)


def test_embeddings_of_two_folds_start_apart():
    corpus = planted_bytes()
    options = {"vector_size": 4, "min_count": 1, "epochs": 1, "alpha": 1e-4}
    made = [steps.train_vectors(corpus, parts=[f], folds=2, seed=0, training=options)["vectors"] for f in (0, 1)]
    first, second = (WordVectors.from_bytes(m).vectors[:200] for m in made)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.2


def test_imported_vectors_take_counts_from_the_corpus(tmp_path):
    vectors = topic_vectors()
    lines = [f"{w} {' '.join(map(str, v))}" for w, v in zip(vectors.words, vectors.vectors.tolist(), strict=True)]
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join([*lines, lines[0]]))
    made = WordVectors.from_bytes(steps.import_vectors(str(path), planted_bytes())["vectors"])
    assert made.counts.tolist() == topic_corpus().counts().tolist()
    counts = steps.count_held_out(planted_bytes(), fold=0, folds=2, vectors=made.to_bytes())["counts"]
    described = steps.describe_vectors(made.to_bytes(), counts, EmbeddingKey("c", 0, 0))
    (row,) = described["word_vectors"].to_pylist()
    assert row["reproducible"] is None and json.loads(row["skipped"])["repeated_words"] == 1


@pytest.mark.shared
def test_a_large_corpus_is_counted_at_a_million_words_per_second(tmp_path):
    with gzip.open(TEXT) as file:
        (tmp_path / "part.txt").write_bytes(file.read(6_000_000))
    corpus = steps.encode_corpus(str(tmp_path / "part.txt"))["corpus"]
    words = len(Corpus.from_bytes(corpus)) / 2

    def speed():
        start = time.process_time()
        steps.count_held_out(corpus, fold=0, folds=2)
        return words / (time.process_time() - start)

    # The aim is 1 M words per second; a core that another process shares may take three times as long, and more for a
    # moment.
    assert any(speed() > 0.33e6 for _ in range(5))
