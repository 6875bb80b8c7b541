"""The [words] section: what is refused by key, before anything runs."""

import logging

import pytest

from intriguing.errors import IntriguingError, SpecError
from intriguing.sweep import load_spec, prepare


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("one two three\n" * 50)
    return str(tmp_path / "text.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"folds": 1}, "words.folds: Input should be greater than or equal to 2 (given: 1)"),
        ({"held_out": [2]}, "words.held_out: there is no fold 2; with folds = 2 they are 0 to 1"),
        ({"seeds": [4, 4]}, "words.seeds: 4 stands there twice"),
        ({"conditions": ["l3"]}, "words.conditions.0: Input should be 'raw', 'l2' or 'centred'"),
        ({"corpora": {"a": {"sorce": "x"}}}, "words.corpora.a.sorce: unknown key. Did you mean 'source' or"),
        ({"corpora": {"a": {"held_out": [5]}}}, "words.corpora.a.held_out: there is no fold 5"),
        ({"corpora": {}}, "words.corpora: Dictionary should have at least 1 item"),
        ({"vectors": {"v": {}}}, "words.vectors.v.source: Field required"),
        ({"vectors": {"v": {"source": "f", "corpus": "b"}}}, "words.vectors.v.corpus: There is no corpus named 'b'"),
        (
            {"corpora": {"a": {}, "b": {}}, "vectors": {"v": {"source": "f"}}},
            "words.vectors.v.corpus: name one of a, b",
        ),
        ({"corpora": {"a": {}}, "vectors": {"a": {"source": "f"}}}, "words.vectors.a: a corpus has the same name"),
        ({"trainig": {}}, "words.trainig: unknown key. Did you mean 'training'?"),
    ],
)
def test_a_wrong_key_or_value_is_named(words, message):
    with pytest.raises(SpecError) as raised:
        load_spec({"name": "w", "words": words})
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"training": {"vectorsize": 5}}, "named 'vectorsize'. Did you mean 'vector_size'"),
        ({"training": {"epochs": "5"}}, "training.epochs: Input should be a valid integer (given: '5')"),
        ({"training": {"vector_size": 10.5}}, "training.vector_size: "),
        ({"training": {"epochs": 0}}, "epochs = 0: Word2Vec needs at least 1"),
        ({"judging": {"rotation": 5}}, "named 'rotation'. Did you mean 'rotations'"),
        ({"judging": {"rotations": 0}}, "rotations = 0: it is at least 1"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_runs(text, words, message):
    with pytest.raises(IntriguingError) as raised:
        prepare({"name": "w", "words": {"corpora": {"own": {"source": text}}} | words})
    assert str(raised.value).startswith("words.corpora.own: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("rotations", "conditions", "told"),
    [
        (238, ["raw"], "over 6 tests cannot come below 5 %. Ask for at least 239 rotations.\n"),
        (239, ["raw"], ""),
        (
            239,
            ["raw", "l2"],
            "over 12 tests cannot come below 5 %. Ask for at least 479 rotations, or fewer conditions.",
        ),
    ],
)
def test_rotations_too_few_for_the_correction_are_said_before_work(text, caplog, rotations, conditions, told):
    words = {"corpora": {"own": {"source": text}}, "conditions": conditions, "judging": {"rotations": rotations}}
    with caplog.at_level(logging.WARNING):
        prepare({"name": "w", "words": words})
    assert told in caplog.text and bool(told) == bool(caplog.records)


@pytest.mark.parametrize(
    ("content", "corpus", "message"),
    [
        (None, {}, "There is no file"),
        (b" \n\n ", {}, "begins with nothing but blanks"),
        (b"caf\xe9 " * 20, {}, "byte 3 is not utf-8"),
        (b"\x1f\x8b\x08\x00damaged", {}, "cannot be decompressed"),
        (b"words", {"encoding": "latin-9000"}, "is unknown to Python"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_before_anything_runs(tmp_path, content, corpus, message):
    file = tmp_path / 'a "text".txt'
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(IntriguingError) as raised:
        prepare({"name": "w", "words": {"corpora": {"own": {"source": str(file)} | corpus}}})
    assert str(raised.value).startswith("words.corpora.own: ")
    assert message in str(raised.value)


def test_a_missing_file_is_told_with_its_neighbours_and_with_what_may_stand_there(tmp_path, text):
    """Where a file of vectors was missing the sample of text was offered in its place."""
    (tmp_path / "embedding.vec").write_text("word 1 2 3\n")
    words = {"corpora": {"own": {"source": text}}, "vectors": {"glove": {"source": str(tmp_path / "embeding.vec")}}}
    with pytest.raises(IntriguingError) as raised:
        prepare({"name": "w", "words": words})
    assert "Did you mean 'embedding.vec'? Give the path of a vector file, or 'gensim:NAME' for" in str(raised.value)
    words = {"corpora": {"own": {"source": str(tmp_path / "embeding.vec")}}}
    with pytest.raises(IntriguingError) as raised:
        prepare({"name": "w", "words": words})
    assert "Did you mean 'embedding.vec'? Give the path of a text file, 'embedded' for the sample" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04pickled", "is a pickle, and reading a pickle runs the code in it"),
        (b"word 1 x 2\n", "line 1 is not a word and numbers"),
        (b"", "holds no vectors"),
        (b"1 3\nword 1 2 3\n", "gives 1 word a vector, of 3 numbers; judging their axes takes at least 200 words"),
    ],
)
def test_vectors_that_cannot_be_read_are_refused_before_anything_runs(tmp_path, text, content, message):
    (tmp_path / "v.bin").write_bytes(content)
    words = {"corpora": {"own": {"source": text}}, "vectors": {"v": {"source": str(tmp_path / "v.bin")}}}
    with pytest.raises(IntriguingError) as raised:
        prepare({"name": "w", "words": words})
    assert str(raised.value).startswith("words.vectors.v: ")
    assert message in str(raised.value)


def test_the_spec_in_the_package_judges_the_sample_lightly_and_another_text_in_full(text):
    words = load_spec("words").words
    assert words is not None
    assert len(words.seeds_of("wikipedia-sample")) == 1
    large = words.with_corpus(text)
    assert large.seeds_of("text") == [0, 1, 2]
    assert large.held_out_of("text") == [0, 1]
    assert large.training_of("text") == {}
    assert words.judging_of("wikipedia-sample", 0).get("rotations", 999) >= 999


def test_existing_vectors_follow_the_text_that_stands_in(text):
    vectors = {"v": {"source": "f", "corpus": "sample"}}
    words = load_spec({"name": "w", "words": {"corpora": {"sample": {}}, "vectors": vectors}}).words
    assert words is not None
    assert words.with_corpus(text).corpus_of("v") == "text"


def test_a_text_of_the_same_name_as_a_corpus_is_refused(text):
    words = load_spec({"name": "w", "words": {"corpora": {"sample": {}, "text": {"source": "t"}}}}).words
    assert words is not None
    with pytest.raises(SpecError, match="words.corpora.text is there already"):
        words.with_corpus(text)
