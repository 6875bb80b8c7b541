"""A small language of topics: every sentence speaks of one topic, and the two ends of an axis can be made to be two."""

import numpy as np

from intriguing.randomness import generator
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.text.cooccurrence import count_windows
from intriguing.words.text.corpus import Corpus

TOPICS, PER_TOPIC = 32, 24
DIM = TOPICS // 2
WORDS = tuple(f"t{i // PER_TOPIC}w{i % PER_TOPIC}" for i in range(TOPICS * PER_TOPIC))


def topic_corpus(sentences=6000, length=12, seed=0):
    rng = generator(seed, "planted corpus")
    topic = rng.integers(TOPICS, size=sentences)
    tokens = topic[:, None] * PER_TOPIC + rng.zipf(1.4, (sentences, length)) % PER_TOPIC
    stray = rng.random(tokens.shape) < 0.1
    tokens[stray] = rng.integers(len(WORDS), size=stray.sum())
    return Corpus("topics", WORDS, tokens.astype(np.int32).ravel(), np.arange(1, sentences + 1) * length)


def topic_counts(**settings):
    return count_windows(topic_corpus(**settings), WORDS)


def topic_vectors(noise=0.2, seed=0, rotation=None):
    """Vectors whose axis t has topic t at its upper and topic DIM + t at its lower end; a `rotation` hides the axes."""
    rng = generator(seed, "planted vectors")
    ends = np.concatenate([np.eye(DIM), -np.eye(DIM)])
    vectors = np.repeat(ends, PER_TOPIC, axis=0) + noise * rng.standard_normal((len(WORDS), DIM))
    if rotation is not None:
        vectors = vectors @ rotation
    return WordVectors(WORDS, vectors.astype(np.float32), topic_corpus().counts(), {"made_by": "planted"})
