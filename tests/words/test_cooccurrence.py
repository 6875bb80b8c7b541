import math
import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intriguing.errors import DataError, InputError
from intriguing.randomness import generator
from intriguing.words.text import cooccurrence
from intriguing.words.text.cooccurrence import Cooccurrence, count_windows, npmi
from intriguing.words.text.corpus import Corpus


def corpus_of(sentences):
    words = tuple(sorted({w for s in sentences for w in s}))
    number = {w: i for i, w in enumerate(words)}
    tokens = np.array([number[w] for s in sentences for w in s], np.int32)
    return Corpus("sentences", words, tokens, np.cumsum([len(s) for s in sentences]))


def counted_by_hand(sentences, width):
    singles, pairs, windows = Counter(), Counter(), 0
    for sentence in sentences:
        for end in range(len(sentence)):
            inside = sorted(set(sentence[max(0, end - width + 1) : end + 1]))
            windows += 1
            singles.update(inside)
            pairs.update(combinations(inside, 2))
    return singles, pairs, windows


def as_dictionary(counts):
    rows, columns = counts.pairs.nonzero()
    found = zip(rows.tolist(), columns.tolist(), counts.together(rows, columns).tolist(), strict=True)
    return {tuple(sorted((counts.words[i], counts.words[j]))): n for i, j, n in found}


SENTENCES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(SENTENCES, st.integers(2, 12), st.integers(1, 40))
def test_windows_are_counted_as_by_hand_in_chunks_of_any_size(sentences, width, chunk):
    corpus = corpus_of(sentences)
    if len(corpus.words) < 2:
        return
    counts = count_windows(corpus, corpus.words, width=width, min_count=1, chunk=chunk)
    singles, pairs, windows = counted_by_hand(sentences, width)
    assert dict(zip(counts.words, counts.singles.tolist(), strict=True)) == dict(singles)
    assert as_dictionary(counts) == dict(pairs)
    assert counts.windows == windows


@pytest.mark.parametrize("dense", [1, 3, 50, 2048])
def test_the_split_into_frequent_and_rare_words_changes_nothing(monkeypatch, dense):
    monkeypatch.setattr(cooccurrence, "_DENSE", dense)
    drawn = (generator(0, "test windows").zipf(1.3, 3000) % 50).astype(int)
    sentences = [[f"w{i}" for i in row] for row in drawn.reshape(-1, 60)]
    corpus = corpus_of(sentences)
    counts = count_windows(corpus, corpus.words, min_count=1)
    assert as_dictionary(counts) == dict(counted_by_hand(sentences, 10)[1])


def test_words_that_are_missing_or_rare_are_left_out_and_counted():
    corpus = corpus_of([["a", "b", "a", "b", "c"]])
    counts = count_windows(corpus, ["b", "a", "c", "nowhere"], min_count=2)
    assert set(counts.words) == {"a", "b"} and counts.unmatched == 2
    # A word that does not count still takes a place in the window.
    assert as_dictionary(count_windows(corpus, ["b", "c"], width=2, min_count=1)) == {("b", "c"): 1}


def test_words_that_the_text_lacks_are_an_error():
    with pytest.raises(DataError, match="same language and letter case"):
        count_windows(corpus_of([["a", "b"]]), ["A", "B"], min_count=1)


def test_a_window_of_one_word_is_refused():
    with pytest.raises(InputError, match="width=1"):
        count_windows(corpus_of([["a", "b"]]), ["a", "b"], width=1)


def test_npmi_follows_its_definition():
    sentences = [["a", "b", "x"], ["a", "b", "y"], ["a", "x", "y"], ["z", "x", "y"]] * 3
    corpus = corpus_of(sentences)
    counts = count_windows(corpus, corpus.words, width=3, min_count=1)
    singles, pairs, n = counted_by_hand(sentences, 3)
    at = {w: i for i, w in enumerate(counts.words)}
    for v, w in combinations(corpus.words, 2):
        both = pairs[v, w] / n
        expected = math.log(both * n * n / (singles[v] * singles[w])) / -math.log(both) if both else -1.0
        assert npmi(counts, np.array(at[v]), np.array(at[w])) == pytest.approx(expected)
        assert npmi(counts, np.array([at[w]]), np.array([at[v]]))[0] == pytest.approx(expected)


def test_npmi_has_its_limits():
    together = count_windows(corpus_of([["a"], ["b"]] * 9), ["a", "b"], min_count=1)
    assert npmi(together, np.array([0]), np.array([1])).tolist() == [-1.0]
    assert cooccurrence.npmi_of_counts(np.array([4]), np.array([4]), np.array([4]), 4).tolist() == [1.0]
    assert cooccurrence.npmi_of_counts(np.array([2]), np.array([2]), np.array([2]), 4).tolist() == [1.0]


def test_counts_survive_their_bytes():
    corpus = corpus_of([list("abacabad"), list("dcba")])
    counts = count_windows(corpus, [*corpus.words, "zz"], min_count=1)
    again = Cooccurrence.from_bytes(counts.to_bytes())
    assert (again.words, again.windows, again.unmatched) == (counts.words, counts.windows, 1)
    assert as_dictionary(again) == as_dictionary(counts)
    assert again.occurrences.tolist() == counts.occurrences.tolist()
    with pytest.raises(DataError, match="no stored co-occurrence"):
        Cooccurrence.from_bytes(b"x")


def test_counting_keeps_pace():
    tokens = np.minimum(generator(0, "test pace").zipf(1.1, 1_000_000), 20_000).astype(np.int32) - 1
    corpus = Corpus("fast", tuple(map(str, range(20_000))), tokens, np.arange(1000, 1_000_001, 1000))

    def seconds():
        start = time.process_time()
        count_windows(corpus, corpus.words)
        return time.process_time() - start

    # The aim is 1 M words per second; a core that another process shares may take three times as long, and more for a
    # moment.
    assert any(seconds() < 3.0 for _ in range(5))
