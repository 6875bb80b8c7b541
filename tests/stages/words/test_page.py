"""Word vectors on the page: rows of words, tests, and what was skipped."""

import pyarrow.parquet as pq

from intriguing import open_run
from intriguing.sweep.reporting.page import write_report
from tests.pages import Document, rewrite, words_of
from tests.synthetic_run import images


def test_word_tables_show_four_words_of_each_condition_and_basis(document):
    assert document.words.count("<b> & $a$ 007") == 4
    for row in ("1 million site come files million site come files −0.10 40 230", "2 wars troops border between been"):
        assert row in document.words


def test_word_tests_have_a_verdict_a_line_per_judge_and_their_controls(document):
    assert "Nothing <b>new</b> was found." in document.words
    assert "NPMI −0.156 −0.166 ± 0.013 0.77 0.55 1.0 2.8 6.5 * 1 of 5" in document.words
    assert "After Holm's correction over all tests anything differs in 1 of 5 deals." in document.words
    assert "intruders by NPMI, of 200 lists 30.0 % 16.7 %" in document.words


def test_an_answer_that_its_rotations_cannot_give_is_undecided(small):
    """It was "No evidence", where no corrected p-value could have come below 0.12."""
    small.write("plan", "words")
    rewrite(small.root, "word_tests", "p_holm", lambda row: 1.0)
    tests = open_run(small.root).pandas("word_tests", control="trained")
    count, enough = len(tests), 40 * len(tests) - 1
    rewrite(small.root, "word_tests", "rotations", lambda row: enough)
    assert f"or less, in any of {count} tests." in words_of(small.root)
    rewrite(small.root, "word_tests", "rotations", lambda row: enough - 1)
    said = f"{enough - 1} rotations cannot show it after Holm's correction over {count} tests"
    words = words_of(small.root)
    assert said in words and "No evidence that single dimensions of the word vectors" not in words


def test_of_vectors_of_the_user_s_own_the_page_claims_no_independent_judges(small):
    small.write("plan", "words")
    said = "that it did not is for you to ensure"
    rewrite(small.root, "word_vectors", "training_words", lambda row: 100)
    assert said not in words_of(small.root)
    rewrite(small.root, "word_vectors", "training_words", lambda row: None)
    assert words_of(small.root).count(said) == 1


def test_raw_and_normalised_vectors_are_compared_above_words_of_the_same_counts_alone(document):
    compared = "raw vectors 0.021 (rotations 0.019 ± 0.004); normalised vectors 0.021 (rotations 0.019 ± 0.004)."
    assert f"Compared through NPMI above that of random words of the same counts: {compared}" in document.words


def test_word_norms_are_drawn_against_counts_and_what_was_skipped_is_told(document):
    assert "Spearman's rank correlation is 0.83 over 4 000 words" in document.words
    assert "12 empty lines" in document.words
    assert "split lines" not in document.words
    assert "several threads: not reproducible" in document.words


def test_coverage_constant_vectors_and_normal_forms_are_told(small, tmp_path, document):
    assert "3 055 of 4 000 words were judged: the others are missing" in document.words
    assert "3 vectors whose numbers are all equal, as in a row of zeros; 1 200 words matched" in document.words
    root = small.write("plan", "words")
    for shard in (root / "tables" / "word_vectors").glob("*.parquet"):  # as runs wrote it before
        pq.write_table(pq.read_table(shard).drop_columns("remarks"), shard)
    assert open_run(root).table("word_vectors")["remarks"].to_pylist() == [None]
    older = Document(write_report(root, tmp_path / "report.html", images).read_text())
    assert "3 055 of 4 000 words were judged" in older.words and "all equal" not in older.words


def test_word_tests_over_all_seeds_and_folds_come_before_single_ones(small):
    small.write("plan", "words")
    rewrite(small.root, "word_tests", "seed", lambda row: -1 if row["condition"] == "raw" else 1)
    rewrite(small.root, "word_tests", "fold", lambda row: -1 if row["condition"] == "raw" else 4)
    words = words_of(small.root)
    pooled, single = words.index("all seeds and folds pooled"), words.index("l2 (seed 1, fold 4).")
    assert pooled < words.index("Every seed and fold in words") < single
