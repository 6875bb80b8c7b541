"""Vector files of any writer: each is read rightly, or refused with the line or word that is at fault."""

import bz2
import gzip
import lzma
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from intriguing.errors import DataError
from intriguing.words.embeddings import formats
from intriguing.words.embeddings.formats import check_vectors, from_keyed_vectors, read_vectors
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.text.corpus import read_corpus

FAST = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
WORD = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=6)
SPACED = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw, word=WORD):
    words = draw(st.lists(word, min_size=1, max_size=6, unique=True))
    dim = draw(st.integers(2, 5))
    rows = draw(st.lists(st.lists(NUMBER, min_size=dim, max_size=dim), min_size=len(words), max_size=len(words)))
    return words, np.array(rows, np.float32)


def text_of(words, rows, *, header, between=" ", end="\n"):
    lines = [between.join([w, *(repr(float(x)) for x in row)]) for w, row in zip(words, rows, strict=True)]
    return "".join(line + end for line in ([f"{len(words)} {rows.shape[1]}"] if header else []) + lines)


def binary_of(words, rows, newline=b"\n"):
    body = b"".join(w.encode() + b" " + row.tobytes() + newline for w, row in zip(words, rows, strict=True))
    return f"{len(words)} {rows.shape[1]}\n".encode() + body


def put(folder, data):
    path = folder / "own vectors.txt"
    path.write_bytes(data)
    return str(path)


def same(found, words, rows):
    return found.words == tuple(words) and np.array_equal(found.vectors, rows)


@FAST
@given(
    tables(),
    st.booleans(),
    st.sampled_from([" ", "\t", "  ", " \t "]),
    st.sampled_from(["\n", "\r\n", " \n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]),
)
def test_any_text_comes_back_as_it_was(tmp_path, table, header, between, end, encoding, pressed):
    words, rows = table
    assume(header or not all(w.replace(".", "").strip("+-").isdecimal() for w in words))
    data = pressed(text_of(words, rows, header=header, between=between, end=end).encode(encoding))
    assert same(read_vectors(put(tmp_path, data)), words, rows)


@FAST
@given(tables(), st.sampled_from([b"\n", b""]))
def test_any_binary_comes_back_as_it_was(tmp_path, table, newline):
    words, rows = table
    data = binary_of(words, rows, newline)
    assert same(read_vectors(put(tmp_path, data), form="word2vec-binary"), words, rows)


@FAST
@given(tables(SPACED), st.booleans())
@example((["a", "route 66"], np.ones((2, 3), np.float32)), True)
def test_words_with_spaces_are_read_or_refused_by_line(tmp_path, table, header):
    words, rows = table
    # Without a header, words of which each ends in a number and vectors that are one longer are the same file.
    assume(header or not any(c.isdigit() for w in words for c in w))
    source = put(tmp_path, text_of(words, rows, header=header).encode())
    try:
        assert same(read_vectors(source), words, rows)
    except DataError as error:
        assert "line" in str(error) or "numbers alone" in str(error)
        assert any(any(c.isdigit() or c.isnumeric() for c in w) or "n" in w.lower() for w in words)
    tabbed = put(tmp_path, text_of(words, rows, header=header, between="\t").encode())
    assume(header or (" " not in words[0] and not any(w[0].isdigit() for w in words)))
    assert same(read_vectors(tabbed), words, rows)


def mutilations(data, draw):
    at = draw(st.integers(0, len(data) - 1))
    match draw(st.sampled_from(["cut", "drop", "double", "byte"])):
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[at + draw(st.integers(1, 9)) :]
        case "double":
            return data[:at] + data[max(0, at - draw(st.integers(1, 30))) :]
        case _:
            return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


@settings(FAST, max_examples=100)
@given(st.data(), tables(st.text("abcdé", min_size=1, max_size=5)), st.booleans())
def test_a_damaged_text_gives_no_vector_of_another_length_and_no_other_count(tmp_path, data, table, header):
    """A digit that is changed for another cannot be seen; whatever moves a number or a word can."""
    words, rows = table
    whole = text_of(words, rows, header=header).encode()
    source = put(tmp_path, mutilations(whole, data.draw))
    try:
        found = read_vectors(source, form="word2vec" if header else "glove")
    except DataError:
        return
    lines = [line for line in Path(source).read_bytes().splitlines() if line.strip()][header:]
    for line in lines:
        rest = line.split()[1:]
        assert len(rest) >= found.dim and not any(c in b"0123456789" for c in b"".join(rest[: -found.dim]))
    assert len(found.words) + int(found.notes["repeated_words"]) + int(found.notes["vectors_not_finite"]) == len(lines)
    if header:
        assert [len(lines), found.dim] == [
            int(x) for x in Path(source).read_text().split("\n")[0].lstrip("\ufeff").split()
        ]
    for word, row in zip(found.words, found.vectors, strict=True):
        assert any(line.split(b" ")[0].strip() == word.encode() or line.startswith(word.encode()) for line in lines)
        assert len(row) == found.dim


@settings(FAST, max_examples=60)
@given(st.data(), tables(st.text("abcdé", min_size=1, max_size=5)), st.integers(1, 40))
def test_a_binary_that_was_cut_or_has_grown_is_refused(tmp_path, data, table, many):
    words, rows = table
    whole = binary_of(words, rows)
    cut = put(tmp_path, whole[: -min(many + 1, len(whole) - 5)])
    with pytest.raises(DataError, match=r"ends after|word|first line|holds"):
        read_vectors(cut, form="word2vec-binary")
    at = data.draw(st.integers(len(whole.split(b"\n")[0]) + 1, len(whole)))
    grown = put(tmp_path, whole[:at] + b"x" * many + whole[at:])
    try:
        found = read_vectors(grown, form="word2vec-binary")
    except DataError:
        return
    # What was put into a word is a longer word.
    assert np.array_equal(found.vectors, rows) and [w.replace("x", "") for w in found.words] == words


BODY = "the 0.5 -1 2\ncat 3 4 5\n"
REFUSED = {
    "header with another dimension": ("2 2\n" + BODY, r"line 2: 'the' has 3 numbers, its header promises 2"),
    "header with a larger dimension": ("2 4\n" + BODY, r"line 2: 'the' has 3 numbers, its header promises 4"),
    "header with a larger count": ("3 3\n" + BODY, "ends after 2 vectors, its header promises 3"),
    "surplus vectors": ("1 3\n" + BODY, r"goes on after the 1 vectors .* \(line 3\)"),
    "a longer line": (BODY + "dog 1 2 3 4\n", "line 3: 'dog' has 4 numbers"),
    "a shorter line": (BODY + "dog 1 2\n", "line 3: 'dog' has 2 numbers"),
    "a hole in a line": (BODY + "dog 1 None 3\n", "line 3 is not a word and 3 numbers"),
    "a hole in the first line": ("cat 0.5 None 2\n" + BODY, "line 1 is not a word and numbers"),
    "commas": (BODY.replace(" ", ","), "line 1 is not a word and numbers.* not by commas"),
    "commas and spaces": (BODY.replace(" ", ", "), "line 1 is not a word and numbers"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\nsize 5\n", "line 1 .* The file is a pointer of Git LFS"),
    "a web page": ("<!DOCTYPE html>\n<html></html>\n", "line 1 is not .* The file is a web page"),
    "semicolons": (BODY.replace(" ", ";"), "not by semicolons"),
    "decimal commas": ("the 0,5 1,0 2,0\n", "line 1 is not a word and numbers"),
    "no-break spaces": (BODY.replace(" ", "\u00a0"), "not by no-break spaces"),
    "underscores in numbers": ("2 1\nthe 1_0\ncat 2\n", "line 2 is not a word"),
    "other digits": ("2 1\nthe \u0661\ncat 2\n", "line 2 is not a word"),
    "a first line without its word": (" 0 0.5 1\n", "line 1: its word is missing"),
    "a later line without its word": ("2 1\na 0\n\t0 0\n", "line 3: its word is missing.*'0 0'"),
    "a matrix": ("0.1 0.2 0.3\n0.4 0.5 0.6\n", "numbers alone"),
    "a column of numbers": ("0 the 0.5 1 2\n1 cat 3 4 5\n", "each line begins with a number before its word .'0 the'"),
    "a NUL": (BODY + "d\0g 1 2 3\n", "line 3 holds a NUL"),
    "a line of latin-1": ((BODY + "\u00e9t\u00e9 1 2 3\n").encode("latin-1"), "line 3: not utf-8"),
    "UTF-16 without a mark": (BODY.encode("utf-16-le"), r"line 1 holds NULs .*encoding='utf-16-le'"),
    "UTF-16, big-endian": (("2 3\n" + BODY).encode("utf-16-be"), "encoding='utf-16-be'"),
    "a ZIP archive": (b"PK\x03\x04 and more", "unpack it"),
    "a fastText model": (b"\xba\x16\x4f\x2f\x0c\0\0\0", "its .vec file"),
    "all vectors not finite": ("a nan 1\nb inf 2\n", "2 vectors that are not finite"),
    "damaged inside gzip": (gzip.compress(BODY.encode() * 99)[:40] + b"\x55" * 30, "cannot be decompressed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_rightly_is_refused_by_its_line(tmp_path, name):
    data, message = REFUSED[name]
    source = put(tmp_path, data if isinstance(data, bytes) else data.encode())
    with pytest.raises(DataError, match=message):
        read_vectors(source)
    with pytest.raises(DataError, match=message):
        check_vectors(source)


@pytest.mark.parametrize("limit", [None, 3, 9])
def test_a_file_that_ends_early_is_told_what_its_header_promises(tmp_path, limit):
    with pytest.raises(DataError, match="ends after 2 vectors, its header promises 5"):
        read_vectors(put(tmp_path, ("5 3\n" + BODY).encode()), limit=limit)


@pytest.mark.parametrize("form", ["word2vec", "word2vec-binary"])
def test_a_large_file_that_was_cut_short_is_told_by_its_size(tmp_path, monkeypatch, form):
    rows = np.random.default_rng(0).normal(size=(1100, 3)).astype(np.float32)
    if form == "word2vec":
        body = b"".join(b"w%d %s\n" % (i, " ".join(map(repr, row.tolist())).encode()) for i, row in enumerate(rows))
    else:
        body = b"".join(b"w%d %s\n" % (i, row.tobytes()) for i, row in enumerate(rows))
    monkeypatch.setattr(formats, "_SMALL", 1000)
    cut = put(tmp_path, b"100000 3\n" + body)
    with pytest.raises(DataError, match=r"ends early: it has .* bytes, and 100,000 vectors of 3 numbers"):
        check_vectors(cut)
    check_vectors(cut, limit=1050)  # those are there
    check_vectors(put(tmp_path, b"1100 3\n" + body))


def test_files_of_too_few_words_or_numbers_to_judge_are_refused(tmp_path):
    small = put(tmp_path, ("2 3\n" + BODY).encode())
    with pytest.raises(DataError, match="gives 2 words a vector, of 3 numbers; .* at least 200 words"):
        check_vectors(small, least=200)
    with pytest.raises(DataError, match="gives 2 words a vector, of 3 numbers; .* at least 3 words"):
        check_vectors(small)  # varimax needs as many words as numbers
    with pytest.raises(DataError, match="gives 1 word a vector, .* at least 3 words"):
        check_vectors(small, limit=1)
    with pytest.raises(DataError, match="one number for each word"):
        check_vectors(put(tmp_path, b"the 0.5\n1987 2\n"))
    check_vectors(put(tmp_path, ("3 3\n" + BODY + "dog 1 2 3\n").encode()), least=3)


def test_blanks_before_a_word_are_no_part_of_it_and_a_number_may_be_a_word(tmp_path):
    found = read_vectors(put(tmp_path, b"2 3\n  the 0.5 -1 2\n\tcat 3 4 5\n"))
    assert found.words == ("the", "cat") and found.vectors[1].tolist() == [3, 4, 5]
    assert read_vectors(put(tmp_path, b"the 0.5\n1987 2\n")).words == ("the", "1987")
    with pytest.raises(DataError, match="line 1: its word is missing"):
        read_vectors(put(tmp_path, b" 0 0\n"), form="glove")


def test_utf_16_without_a_mark_is_read_where_it_is_named(tmp_path):
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        for header in ("", "2 3\n"):
            found = read_vectors(put(tmp_path, (header + BODY).encode(encoding)), encoding=encoding)
            assert found.words == ("the", "cat") and found.vectors[1].tolist() == [3, 4, 5]
    with pytest.raises(DataError, match="line 3: not utf-16"):
        read_vectors(put(tmp_path, BODY.encode("utf-16-le") + b"\x00\xd8a\0"), encoding="utf-16-le")


BINARY = binary_of(["the", "cat"], np.array([[0.5, -1, 2], [3, 4, 5]], np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BINARY.replace(b"2 3", b"2 2", 1), "word 2 is not utf-8, or holds control"),
        (BINARY.replace(b"2 3", b"1 3", 1), "goes on after the 1 vectors of 3 numbers"),
        (BINARY.replace(b"2 3", b"3 3", 1), "ends after 2 vectors"),
        (BINARY.replace(b"cat ", b"c\x01t "), "word 2 is not utf-8, or holds control"),
        (BINARY.replace(b"the ", b" "), "word 1 is empty"),
        (BINARY.replace(b"cat ", b"a cat "), r"goes on|word \d|ends after"),
    ],
)
def test_binary_records_that_are_not_where_the_header_says_are_refused(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        read_vectors(put(tmp_path, data))


def test_numbers_in_the_other_byte_order_and_text_taken_for_numbers_are_told(tmp_path):
    rows = np.linspace(-0.6, 0.7, 60).reshape(6, 10)
    words = list("abcdef")
    with pytest.raises(DataError, match="It is big-endian"):
        read_vectors(put(tmp_path, binary_of(words, rows.astype(">f4"))))
    with pytest.raises(DataError, match="It is text"):
        read_vectors(put(tmp_path, text_of(words, rows, header=True).encode()), form="word2vec-binary", limit=2)
    small = binary_of(words, (rows * 1e-9).astype(np.float32))
    assert len(read_vectors(put(tmp_path, small)).words) == 6


def test_a_text_whose_words_hold_control_characters_is_no_binary(tmp_path):
    assert read_vectors(put(tmp_path, b"2 2\na\x1b 1 2\n\x01 3 4\n")).words == ("a\x1b", "\x01")


def test_a_last_line_without_an_end_is_told(tmp_path):
    assert read_vectors(put(tmp_path, BODY.encode()[:-1])).notes["unended_lines"] == "1"
    assert "unended_lines" not in read_vectors(put(tmp_path, BODY.encode())).notes


def test_keyed_vectors_that_are_not_finite_are_left_out_and_counted():
    from gensim.models import KeyedVectors

    ours = KeyedVectors(2)
    ours.add_vectors(["a", "b", "c"], np.array([[1, 2], [np.nan, 0], [3, 4]], np.float32))
    found = from_keyed_vectors(ours)
    assert found.words == ("a", "c") and found.notes["vectors_not_finite"] == "1"


def test_a_corpus_in_utf_16_without_a_mark_is_refused_and_a_mark_is_no_letter(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("the cat sat\non the mat\n".encode("utf-16-le"))
    for options in ({}, {"undecodable": "replace"}, {"encoding": "latin-1"}):
        with pytest.raises(DataError, match="encoding='utf-16-le'"):
            read_corpus(str(path), **options)
    path.write_bytes("\ufeffthe cat\nsat\n".encode("utf-16-le"))
    assert read_corpus(str(path), encoding="utf-16-le").words == ("the", "cat", "sat")
    path.write_bytes(gzip.compress(b"the cat sat " * 99)[:30] + b"\x55" * 30)
    with pytest.raises(DataError, match="cannot be decompressed"):
        read_corpus(str(path))


def test_words_of_another_normal_form_are_those_of_the_corpus(tmp_path):
    nfc, nfd = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    path = tmp_path / "text.txt"
    path.write_text(f"{nfd} tea {nfd} r\u00e9sum\u00e9", encoding="utf-8")
    corpus = read_corpus(str(path))
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    ours = WordVectors((nfc, "tea", "r\u00e9sum\u00e9", "na\u00efve"), rows, np.full(4, -1))
    found = ours.spelled_as_in(corpus)
    assert found.words == (nfd, "tea", "r\u00e9sum\u00e9", "na\u00efve")
    assert found.notes["words_in_another_normal_form"] == "1"
    assert found.counted_in(corpus).counts.tolist() == [2, 1, 1, 0]
    both = WordVectors((nfc, nfd), rows[:2], np.full(2, -1))
    assert both.spelled_as_in(corpus) is both
