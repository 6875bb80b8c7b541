import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from intriguing.errors import DataError, SpecError, UnknownNameError
from intriguing.randomness import generator
from intriguing.words.embeddings.training import TrainingOptions, train
from intriguing.words.text.corpus import Corpus

SMALL = TrainingOptions(vector_size=8, epochs=2, min_count=2)


def drawn_corpus(n=4000, distinct=60):
    tokens = (generator(0, "test corpus").zipf(1.3, n) % distinct).astype(np.int32)
    ends = np.append(np.arange(100, n, 100), n)
    return Corpus("drawn", tuple(f"w{i}" for i in range(distinct)), tokens, ends)


def test_defaults_are_gensims_but_for_the_threads():
    import inspect

    from gensim.models import Word2Vec

    signature = inspect.signature(Word2Vec.__init__).parameters
    theirs = {name: signature[name].default for name in asdict(TrainingOptions())}
    assert {**theirs, "workers": 1, "shrink_windows": True} == asdict(TrainingOptions())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_pythons_hash_seed():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_training import *; import hashlib; "
        "print(hashlib.sha256(train(drawn_corpus(), SMALL, seed=3).to_bytes()).hexdigest())"
    )
    here = str(Path(__file__).parent)
    digests = set()
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code, here], env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_seed_and_stream_change_the_vectors():
    corpus = drawn_corpus()
    base = train(corpus, SMALL, seed=0).vectors
    assert np.array_equal(base, train(corpus, SMALL, seed=0).vectors)
    assert not np.array_equal(base, train(corpus, SMALL, seed=1).vectors)
    assert not np.array_equal(base, train(corpus, SMALL, seed=0, stream="fold 1").vectors)


def test_every_word_that_is_frequent_enough_has_a_vector_and_its_count():
    corpus = drawn_corpus()
    vectors = train(corpus, SMALL)
    counts = dict(zip(corpus.words, corpus.counts().tolist(), strict=True))
    assert set(vectors.words) == {w for w, n in counts.items() if n >= 2}
    assert vectors.counts.tolist() == [counts[w] for w in vectors.words]
    assert vectors.dim == 8


def test_words_from_one_topic_end_up_closer_than_words_from_two():
    rng = generator(1, "test topics")
    topics = rng.integers(2, size=600)
    tokens = (topics[:, None] * 20 + rng.integers(20, size=(600, 20))).astype(np.int32).ravel()
    corpus = Corpus("topics", tuple(f"w{i}" for i in range(40)), tokens, np.arange(20, 12001, 20))
    vectors = train(corpus, TrainingOptions(vector_size=10, epochs=30, sample=0))
    unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    topic = np.array([int(w[1:]) // 20 for w in vectors.words])
    cosine = unit @ unit.T
    same = topic[:, None] == topic[None]
    assert cosine[same].mean() > cosine[~same].mean() + 0.3


def test_a_corpus_too_small_for_min_count_says_what_to_change():
    with pytest.raises(DataError, match=r"10 words of text hold 0 words .* lower min_count"):
        train(Corpus("tiny", tuple("abcdefghij"), np.arange(10, dtype=np.int32), np.array([10])))


@pytest.mark.parametrize(
    "given", [{"vector_size": 0}, {"workers": 0}, {"sg": 2}, {"negative": 0}, {"alpha": 1e-5}, {"epochs": 0}]
)
def test_options_out_of_range_are_refused(given):
    with pytest.raises(SpecError, match=next(iter(given))):
        TrainingOptions.from_mapping(given)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UnknownNameError, match="'min_count'"):
        TrainingOptions.from_mapping({"mincount": 3})


def test_several_threads_are_said_not_to_be_reproducible(caplog):
    options = TrainingOptions(vector_size=4, epochs=1, min_count=2, workers=2)
    assert not options.reproducible and TrainingOptions().reproducible
    train(drawn_corpus(400), options)
    assert "cannot be computed again" in caplog.text
