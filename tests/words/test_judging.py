from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from intriguing import tables
from intriguing.errors import InputError, SpecError, UnknownNameError
from intriguing.tables.words import METRICS, EmbeddingKey
from intriguing.units.directions import haar
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.inference import verdict, word_tests
from intriguing.words.judging.judges import build_panel
from intriguing.words.judging.one_embedding import Bench, judge
from intriguing.words.judging.options import JudgeOptions
from intriguing.words.judging.rows import judged_rows
from intriguing.words.judging.statistics import Statistics
from tests.keys import duplicates
from tests.words.planted import DIM, WORDS, topic_counts, topic_vectors

QUICK = JudgeOptions(rotations=249, subsamples=10, subsample_rotations=2, matched_draws=99)
HIDDEN = haar(DIM, DIM, 5)


def judged(rotation=None, condition="raw", seed=0, fold=0, options=QUICK):
    vectors = topic_vectors(rotation=rotation)
    return judge(
        vectors,
        topic_counts(),
        topic_vectors(seed=1),
        EmbeddingKey("topics", seed, fold),
        condition,
        options,
    )


@pytest.fixture(scope="module")
def aligned():
    return judged()


@pytest.fixture(scope="module")
def hidden():
    return judged(HIDDEN)


def by_metric(statistics, control="trained"):
    rows = word_tests([statistics]).to_pylist()
    return {r["metric"]: r for r in rows if r["control"] == control}


def test_axes_that_follow_topics_are_found_by_every_coherence_judge(aligned):
    found = by_metric(aligned[1])
    for metric in ("npmi", "npmi_matched", "cosine", "dist_ratio"):
        assert found[metric]["p_high"] == 1 / 250 and found[metric]["effect"] > 3
        assert found[metric]["low"] > 0


def test_hidden_axes_are_not_found_but_varimax_brings_them_back(hidden):
    natural, varimax = by_metric(hidden[1]), by_metric(hidden[1], "varimax")
    assert all(natural[m]["p_two"] > 0.05 for m in ("npmi_matched", "cosine", "dist_ratio"))
    assert all(varimax[m]["p_high"] == 1 / 250 for m in ("npmi_matched", "cosine", "dist_ratio"))


def test_words_dealt_out_at_random_are_not_found(aligned, hidden):
    for _, statistics in (aligned, hidden):
        assert by_metric(statistics, "permuted_words")["any"]["p_high"] > 0.05


def test_the_verdict_says_both(aligned, hidden):
    assert "differ from random rotations" in verdict(word_tests([aligned[1]]))
    assert "more by cosine of raw vectors" in verdict(word_tests([aligned[1]]))
    assert "mean more or less than random rotations of them" in verdict(word_tests([hidden[1]]))


def test_intruders_are_found_above_chance_where_axes_mean_something(aligned):
    chance = by_metric(aligned[1], "chance")["intrusion_cosine"]
    assert (
        chance["p_high"] < 0.001
        and chance["rotations"] == 0
        and chance["n"] == 2 * DIM
        and chance["null_mean"] == pytest.approx(1 / 6)
    )


def test_rows_hold_every_basis_direction_and_end_once(aligned):
    rows = aligned[0]
    assert duplicates(rows, tables.WORD_ROWS.key) == 0
    assert rows.schema.equals(tables.WORD_ROWS.schema)
    assert rows.num_rows == 5 * DIM * 2
    assert set(rows["basis"].to_pylist()) == {"natural", "haar", "gaussian", "pca", "varimax"}


def test_rows_list_the_largest_projections_with_their_figures(aligned):
    vectors, known = topic_vectors(), build_panel(topic_vectors(), topic_counts(), topic_vectors(seed=1))
    for row in aligned[0].to_pylist():
        if row["basis"] != "natural":
            continue
        projections = row["sign"] * vectors.vectors[:, row["direction"]]
        best = np.argsort(-projections)[:10]
        assert row["words"] == [vectors.words[i] for i in best]
        assert row["median_count"] == np.median(vectors.counts[best])
        at = np.array([known.words.index(w) for w in row["words"]])
        i, j = np.triu_indices(10, 1)
        assert row["npmi"] == pytest.approx(known.npmi(at[i], at[j]).mean())
        if row["sign"] == 1:
            assert row["matched_percentile"] > 95


def test_the_same_call_gives_the_same_bits(aligned):
    rows, statistics = judged()
    assert rows.equals(aligned[0]) and statistics.to_bytes() == aligned[1].to_bytes()


def test_statistics_survive_their_bytes(aligned):
    again = Statistics.from_bytes(aligned[1].to_bytes())
    assert again.to_bytes() == aligned[1].to_bytes()
    assert word_tests([again]).equals(word_tests([aligned[1]]))


def test_another_number_of_rotations_keeps_the_first_ones(aligned):
    fewer = judged(options=replace(QUICK, rotations=13))[1]
    for metric in METRICS:
        assert np.array_equal(fewer.null[metric], aligned[1].null[metric][:13])
        assert np.array_equal(fewer.dealt[metric], aligned[1].dealt[metric][:, :14])


def test_another_number_of_deals_changes_nothing_but_their_number(aligned):
    fewer = judged(options=replace(QUICK, rotations=13, deals=2))[1]
    for metric in METRICS:
        assert np.array_equal(fewer.null[metric], aligned[1].null[metric][:13])
        assert np.array_equal(fewer.dealt[metric], aligned[1].dealt[metric][:2, :14])


def test_other_embeddings_draw_other_rotations(aligned):
    other = judged(seed=1, options=replace(QUICK, rotations=9, subsamples=0))[1]
    assert not np.array_equal(other.null["npmi"], aligned[1].null["npmi"][:9])
    assert other.spread == {}


@pytest.mark.parametrize("condition", ["l2", "centred"])
def test_the_other_conditions_are_judged_alike(condition):
    rows, statistics = judged(condition=condition, options=replace(QUICK, rotations=19, subsamples=0))
    assert set(rows["condition"].to_pylist()) == {condition}
    assert by_metric(statistics)["npmi_matched"]["effect"] > 2


def test_words_that_the_judges_do_not_know_are_left_out_of_a_rows_figures():
    known = build_panel(topic_vectors(), topic_counts(), topic_vectors(seed=1))
    lists = np.array([[0, 1, 2, -1], [5, -1, -1, -1], [-1, -1, 7, 9]])
    npmi, percentile, null = judged_rows(known, lists, 50, np.random.default_rng(0))
    assert npmi[0] == pytest.approx(known.npmi(np.array([0, 0, 1]), np.array([1, 2, 2])).mean())
    assert np.isnan(npmi[1]) and np.isnan(percentile[1]) and not np.isnan(npmi[2])
    assert null.shape == (50,)


def test_a_basis_scores_alike_alone_and_among_others():
    known = build_panel(topic_vectors(), topic_counts(), topic_vectors(seed=1))
    bench = Bench(known, topic_vectors().vectors[known.rows], 0, 200, 2)
    bases = [haar(DIM, DIM, s).astype(np.float32) for s in range(3)]
    together = bench._scored(bench._lists(np.hstack(bases), 3), bases, ["a", "b", "c"])[0]
    alone = bench.measure(bases[1], "b")[0]
    assert all(np.array_equal(alone[m], together[m][2 * DIM : 4 * DIM]) for m in METRICS)


def test_many_dimensions_are_sampled_alike_in_every_arm(monkeypatch):
    monkeypatch.setattr("intriguing.units.rotation.MOST_COLUMNS", 6)
    statistics = judged(options=replace(QUICK, rotations=3, subsamples=0))[1]
    assert statistics.lines == 12
    assert by_metric(statistics, "chance")["intrusion_npmi"]["n"] == 12


def test_vectors_without_counts_are_sent_to_a_corpus():
    bare = WordVectors(topic_vectors().words, topic_vectors().vectors, np.full(len(WORDS), -1))
    with pytest.raises(InputError, match="counted_in"):
        judge(bare, topic_counts(), bare, EmbeddingKey("c", 0, 0), "raw")


def test_options_are_checked():
    with pytest.raises(UnknownNameError, match="'rotations'"):
        JudgeOptions.from_mapping({"rotation": 9})
    with pytest.raises(SpecError, match="pool_words = 3"):
        JudgeOptions.from_mapping({"pool_words": 3})
    with pytest.raises(SpecError, match="subsamples = 1"):
        JudgeOptions.from_mapping({"subsamples": 1})
    with pytest.raises(SpecError, match="at most 40"):
        JudgeOptions.from_mapping({"row_words": 41})
    with pytest.raises(SpecError, match="most_words = 10"):
        JudgeOptions.from_mapping({"most_words": 10})


def test_a_row_that_is_like_every_matched_one_is_in_their_middle():
    panel = SimpleNamespace(stratum=np.zeros(6, int), npmi=lambda first, second: np.full(first.shape, 0.25))
    npmi, percentile, null = judged_rows(panel, np.array([[0, 1, 2], [3, -1, 4]]), 20, np.random.default_rng(0))
    assert npmi.tolist() == [0.25, 0.25] and percentile.tolist() == [50.0, 50.0]
    assert null == pytest.approx(np.full(20, 0.25))
