import bz2
import gzip
import lzma
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from intriguing.errors import DataError, InputError, MissingExtraError, UnknownNameError
from intriguing.words.text.corpus import Corpus, read_corpus, select_folds
from intriguing.words.text.sources import content_hash, locate


def text_of(corpus):
    return [word for sentence in corpus.sentences() for word in sentence]


def written(tmp_path, data, name='a corpus\'s "text".txt'):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def test_one_endless_line_is_cut_into_sentences(tmp_path):
    source = written(tmp_path, b" a b c d e f g\n")
    corpus = read_corpus(source, sentence_words=3)
    assert list(corpus.sentences()) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


def test_a_sentence_per_line_with_empty_lines_counted(tmp_path):
    corpus = read_corpus(written(tmp_path, b"a b\n\n  \r\nb c a\nd"))
    assert list(corpus.sentences()) == [["a", "b"], ["b", "c", "a"], ["d"]]
    assert corpus.skipped["empty_lines"] == 2
    assert corpus.counts().tolist() == [2, 2, 1, 1]


def test_lines_may_end_as_on_old_macs_also_at_the_seam_of_two_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("intriguing.words.text.sources._BLOCK", 4)
    for end in (b"\r", b"\r\n", b"\n"):
        corpus = read_corpus(written(tmp_path, end.join([b"a bb", b"c", b"d ee f", b"g"])), layout="lines")
        assert list(corpus.sentences()) == [["a", "bb"], ["c"], ["d", "ee", "f"], ["g"]]
        assert corpus.skipped["empty_lines"] == 0


def test_a_long_line_is_cut_and_counted(tmp_path):
    corpus = read_corpus(written(tmp_path, b"a b c d e\nf\n"), sentence_words=2)
    assert [len(s) for s in corpus.sentences()] == [2, 2, 1, 1]
    assert corpus.skipped["split_lines"] == 1


@pytest.mark.parametrize("layout", ["text8", "lines"])
def test_words_across_the_blocks_of_a_large_file_stay_whole(tmp_path, layout):
    words = [f"wörd{i % 997}" for i in range(700_000)]
    joined = (
        " ".join(words) if layout == "text8" else "\n".join(" ".join(words[i : i + 70]) for i in range(0, 700_000, 70))
    )
    corpus = read_corpus(written(tmp_path, gzip.compress(joined.encode(), 1)), layout=layout)
    assert text_of(corpus) == words


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compression_is_told_by_the_content(tmp_path, compress):
    assert text_of(read_corpus(written(tmp_path, compress(b"a b c"), "x.txt"))) == ["a", "b", "c"]


def test_a_truncated_gzip_file_is_an_error(tmp_path):
    data = gzip.compress(b"a b c " * 10_000)
    with pytest.raises(DataError, match="cannot be decompressed"):
        read_corpus(written(tmp_path, data[: len(data) // 2]))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    assert text_of(read_corpus(written(tmp_path, "çe été".encode(encoding)))) == ["çe", "été"]


def test_a_wrong_encoding_is_named_with_the_byte(tmp_path):
    source = written(tmp_path, b"abc " * 1_200_000 + "été".encode("latin-1"))
    with pytest.raises(DataError, match=r"byte 4800000 is not utf-8 .*latin-1"):
        read_corpus(source)
    assert read_corpus(source, encoding="latin-1").words == ("abc", "été")


def test_undecodable_words_can_be_dropped_and_counted(tmp_path):
    corpus = read_corpus(written(tmp_path, b"a \xff\xe9 b \xe9 c\nd\n"), undecodable="replace")
    assert text_of(corpus) == ["a", "b", "c", "d"]
    assert corpus.skipped["undecodable_words"] == 2


def test_an_unknown_encoding_is_an_error(tmp_path):
    with pytest.raises(DataError, match="unknown to Python"):
        read_corpus(written(tmp_path, b"a"), encoding="klingon")


@pytest.mark.parametrize("data", [b"", b"  \n \n"])
def test_a_text_without_words_is_an_error(tmp_path, data):
    with pytest.raises(DataError, match="holds no words"):
        read_corpus(written(tmp_path, data))


def test_a_missing_file_names_the_other_choices(tmp_path):
    with pytest.raises(DataError, match="'embedded'"):
        read_corpus(str(tmp_path / "none"))


def test_lowercase_folds_words_together(tmp_path):
    assert read_corpus(written(tmp_path, b"The the THE"), lowercase=True).words == ("the",)


def test_a_corpus_survives_its_bytes(tmp_path):
    corpus = read_corpus(written(tmp_path, "a\u2028ß \x1fb a\n\n\U0001f600".encode()))
    again = Corpus.from_bytes(corpus.to_bytes())
    assert (again.words, again.skipped, again.name) == (corpus.words, corpus.skipped, corpus.name)
    assert list(again.sentences()) == list(corpus.sentences())
    assert again.to_bytes() == corpus.to_bytes()


@pytest.mark.parametrize("data", [b"", b"nonsense" * 40])
def test_other_bytes_are_no_corpus(data):
    with pytest.raises(DataError, match="no stored corpus"):
        Corpus.from_bytes(data)


def numbered(tmp_path, n=103, sentence=7):
    return read_corpus(written(tmp_path, " ".join(map(str, range(n))).encode()), sentence_words=sentence)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("folds", [2, 5])
def test_folds_part_the_text_into_contiguous_equal_parts(tmp_path, seed, folds):
    corpus = numbered(tmp_path)
    parts = [select_folds(corpus, [f], folds=folds, seed=seed) for f in range(folds)]
    sizes = [len(p) for p in parts]
    assert sorted(int(w) for p in parts for w in text_of(p)) == list(range(103))
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        numbers = [int(w) for w in text_of(part)]
        assert sum(b != (a + 1) % 103 for a, b in pairwise(numbers)) == 0 or 0 in numbers


@pytest.mark.parametrize("seed", range(8))
def test_no_sentence_of_a_selection_crosses_a_seam(tmp_path, seed):
    chosen = select_folds(numbered(tmp_path), [0, 2, 4], folds=5, seed=seed)
    for sentence in chosen.sentences():
        numbers = [int(w) for w in sentence]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_selection_of_all_but_one_fold_is_the_complement(tmp_path):
    corpus = numbered(tmp_path)
    held = set(text_of(select_folds(corpus, [3], folds=5, seed=1)))
    rest = set(text_of(select_folds(corpus, [0, 1, 2, 4], folds=5, seed=1)))
    assert held.isdisjoint(rest) and len(held | rest) == 103


def test_another_seed_cuts_elsewhere(tmp_path):
    corpus = numbered(tmp_path)
    assert text_of(select_folds(corpus, [0], folds=2, seed=0)) != text_of(select_folds(corpus, [0], folds=2, seed=1))


@pytest.mark.parametrize("which", [[], [2], [0, 0], [-1]])
def test_folds_that_do_not_exist_are_refused(tmp_path, which):
    with pytest.raises(InputError, match="Folds"):
        select_folds(numbered(tmp_path), which, folds=2)


def test_fewer_words_than_folds_is_an_error(tmp_path):
    with pytest.raises(DataError, match="fewer than 5 folds"):
        select_folds(numbered(tmp_path, n=3), [0], folds=5)


def test_the_content_hash_follows_the_bytes_and_imports_no_gensim(tmp_path):
    source = written(tmp_path, b"a b", "x")
    before = content_hash(source)
    written(tmp_path, b"a c", "x")
    assert content_hash(source) != before
    code = (
        "import sys; from intriguing.words.text.sources import content_hash; "
        "print(content_hash('embedded')); assert 'gensim' not in sys.modules"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == content_hash("embedded")


def test_the_embedded_sample_is_there_without_a_download():
    corpus = read_corpus()
    assert len(corpus) > 400_000
    assert set(corpus.words) > {"anarchism", "the", "philosophy"}


def test_a_cached_data_set_of_the_downloader_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSIM_DATA_DIR", str(tmp_path))
    (tmp_path / "text8").mkdir()
    (tmp_path / "text8" / "text8.gz").write_bytes(gzip.compress(b"anarchism originated as"))
    assert text_of(read_corpus("gensim:text8")) == ["anarchism", "originated", "as"]


@pytest.fixture
def downloader(tmp_path, monkeypatch):
    """gensim's downloader without a network and with nothing cached."""
    import gensim.downloader

    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setenv("GENSIM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(gensim.downloader, "BASE_DIR", str(tmp_path))
    monkeypatch.setattr(gensim.downloader, "urlopen", unreachable)
    return gensim.downloader


def test_without_a_network_the_error_says_what_to_do_and_nothing_else_is_printed(downloader, caplog, capsys):
    with pytest.raises(DataError, match=r"could not fetch 'text8' .*Without a network, put .* use 'embedded'"):
        locate("gensim:text8")
    assert not caplog.records and not capsys.readouterr().err


def test_a_name_that_the_downloader_does_not_have_names_the_nearest(downloader, tmp_path):
    (tmp_path / "information.json").write_text('{"corpora": {"text8": {}, "quora": {}}, "models": {"glove-25": {}}}')
    with pytest.raises(UnknownNameError, match=r"named 'text9'. Did you mean 'text8'"):
        locate("gensim:text9")


def test_a_data_set_of_json_is_no_text(tmp_path):
    with pytest.raises(DataError, match="holds JSON, not running text"):
        read_corpus(written(tmp_path, gzip.compress(b'{"id": 1, "data": "Of pigs"}\n'), "wiki.gz"))


def test_without_gensim_the_embedded_corpus_gives_the_pip_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install gensim"):
        locate("embedded")


def test_token_numbers_fit_the_words(tmp_path):
    corpus = numbered(tmp_path)
    assert corpus.tokens.dtype == np.int32 and corpus.tokens.max() == len(corpus.words) - 1
