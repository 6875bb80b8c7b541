import gzip

import numpy as np
import pytest

from intriguing.errors import DataError, InputError, UnknownNameError
from intriguing.words.embeddings.formats import from_keyed_vectors, read_vectors
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.text.corpus import Corpus

WORDS = ("the", "naïve", "cat", "x\u00a0y")
ROWS = np.array([[0.5, -1, 2], [3, 4, 5], [-0.25, 0, 1e-3], [7, 8, 9]], np.float32)


def put(tmp_path, data, name="some vectors.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def as_text(header, words=WORDS, rows=ROWS):
    body = "".join(f"{w} {' '.join(map(str, r.tolist()))}\n" for w, r in zip(words, rows, strict=True))
    return (f"{len(words)} {rows.shape[1]}\n" * header + body).encode()


def as_binary(words=WORDS, rows=ROWS, newline=b"\n"):
    parts = [w.encode() + b" " + r.tobytes() + newline for w, r in zip(words, rows, strict=True)]
    return f"{len(words)} {rows.shape[1]}\n".encode() + b"".join(parts)


FILES = {
    "word2vec text": as_text(True),
    "GloVe text": as_text(False),
    "word2vec binary": as_binary(),
    "binary as Google wrote it": as_binary(newline=b""),
    "compressed": gzip.compress(as_text(True)),
    "windows line ends": as_text(False).replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_recognised_and_read(tmp_path, name):
    vectors = read_vectors(put(tmp_path, FILES[name]))
    assert vectors.words == WORDS
    assert np.array_equal(vectors.vectors, ROWS)
    assert (vectors.counts == -1).all()


def test_gensim_reads_the_same_from_its_own_files(tmp_path):
    from gensim.models import KeyedVectors

    ours = KeyedVectors(3)
    ours.add_vectors(list(WORDS[:3]), ROWS[:3])
    for binary in (False, True):
        path = tmp_path / f"own-{binary}"
        ours.save_word2vec_format(str(path), binary=binary)
        read = read_vectors(str(path))
        assert read.words == WORDS[:3] and np.allclose(read.vectors, ROWS[:3])
    assert from_keyed_vectors(ours).words == WORDS[:3]


def test_keyed_vectors_are_read_only_when_trusted(tmp_path):
    from gensim.models import KeyedVectors

    ours = KeyedVectors(3)
    ours.add_vectors(list(WORDS), ROWS)
    for word, n in zip(WORDS, (9, 7, 5, 3), strict=True):
        ours.set_vecattr(word, "count", n)
    path = str(tmp_path / "kept.kv")
    ours.save(path)
    with pytest.raises(DataError, match="trust_pickle=True"):
        read_vectors(path)
    read = read_vectors(path, trust_pickle=True)
    assert read.words == WORDS and read.counts.tolist() == [9, 7, 5, 3]


@pytest.mark.parametrize("header", [True, False])
def test_vectors_of_unequal_length_name_the_line(tmp_path, header):
    data = as_text(header) + b"short 1 2\n"
    data = data.replace(b"4 3\n", b"5 3\n") if header else data
    with pytest.raises(DataError, match=f"line {6 if header else 5}: 'short' has 2 numbers"):
        read_vectors(put(tmp_path, data))


def test_repeated_words_and_vectors_with_nan_are_skipped_and_counted(tmp_path):
    vectors = read_vectors(put(tmp_path, as_text(False) + b"the 1 1 1\nbad nan 0 0\nworse inf 0 0\n"))
    assert vectors.words == WORDS
    assert np.array_equal(vectors.vectors[0], ROWS[0])
    assert (vectors.notes["repeated_words"], vectors.notes["vectors_not_finite"]) == ("1", "2")


@pytest.mark.parametrize(
    "data",
    [as_text(True)[:-30], as_binary()[:-5], gzip.compress(as_text(True))[:-12]],
    ids=["text", "binary", "compressed"],  # gzip writes the time: as a name it would differ between test processes
)
def test_a_file_that_ends_early_is_an_error(tmp_path, data):
    with pytest.raises(DataError, match=r"ends|numbers"):
        read_vectors(put(tmp_path, data))


def test_a_file_that_goes_on_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"goes on after the 2 vectors .* \(line 4\)"):
        read_vectors(put(tmp_path, as_text(True).replace(b"4 3", b"2 3", 1)))


def test_a_line_that_is_no_vector_is_named(tmp_path):
    with pytest.raises(DataError, match="line 2"):
        read_vectors(put(tmp_path, b"a 1 2\nb one two\n"))


def test_other_encodings_are_told(tmp_path):
    source = put(tmp_path, as_text(False, ("été",), ROWS[:1]).decode().encode("latin-1"))
    with pytest.raises(DataError, match="line 1: not utf-8"):
        read_vectors(source)
    assert read_vectors(source, encoding="latin-1").words == ("été",)


def test_a_word_with_spaces_is_kept_where_the_header_gives_the_dimension(tmp_path):
    assert read_vectors(put(tmp_path, b"2 2\na b 1 2\nc 3 4\n")).words == ("a b", "c")


@pytest.mark.parametrize("name", FILES)
def test_a_limit_reads_the_first_vectors(tmp_path, name):
    assert read_vectors(put(tmp_path, FILES[name]), limit=2).words == WORDS[:2]
    assert read_vectors(put(tmp_path, FILES[name]), limit=9).words == WORDS


def test_an_empty_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no vectors"):
        read_vectors(put(tmp_path, b""))


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="'word2vec-binary'"):
        read_vectors("x", form="word2vec-bin")


def test_a_glove_file_named_word2vec_is_an_error(tmp_path):
    with pytest.raises(DataError, match="Is it GloVe"):
        read_vectors(put(tmp_path, as_text(False)), form="word2vec")


def test_vectors_survive_their_bytes():
    vectors = WordVectors(WORDS, ROWS, np.arange(4), {"made_by": "a test"})
    again = WordVectors.from_bytes(vectors.to_bytes())
    assert (again.words, again.notes) == (vectors.words, vectors.notes)
    assert np.array_equal(again.vectors, ROWS) and again.to_bytes() == vectors.to_bytes()


@pytest.mark.parametrize(
    ("words", "rows", "counts"),
    [(("a",), ROWS, np.zeros(4)), (("a", "a"), ROWS[:2], np.zeros(2)), (("a",), ROWS[:1] * np.nan, np.zeros(1))],
)
def test_vectors_that_do_not_fit_are_refused(words, rows, counts):
    with pytest.raises(InputError):
        WordVectors(words, rows, counts)


def test_counts_come_from_a_corpus_of_the_same_words():
    corpus = Corpus("c", ("cat", "dog"), np.array([0, 0, 1], np.int32), np.array([3]))
    assert WordVectors(WORDS, ROWS, np.full(4, -1)).counted_in(corpus).counts.tolist() == [0, 0, 2, 0]
    with pytest.raises(DataError, match="holds none of the 4 words"):
        WordVectors(WORDS, ROWS, np.full(4, -1)).counted_in(Corpus("c", ("Cat",), np.zeros(1, np.int32), np.array([1])))


def test_what_makes_top_words_arbitrary_is_counted():
    rows = np.array([[1, 0, 2], [0, 0, 0], [-0.0, 0, 0], [1, 0, 2], [5, 0, 5]], np.float32)
    vectors = WordVectors(tuple("abcde"), rows, np.arange(5), {"unended_lines": "1"})
    assert vectors.remarks() == {
        "constant_vectors": 2,
        "repeated_vectors": 2,
        "constant_dimensions": 1,
        "unended_lines": 1,
    }
    assert WordVectors(WORDS, ROWS, np.arange(4)).remarks() == {}
