from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from intriguing import tables
from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.multiple import holm
from intriguing.tables.words import METRICS
from intriguing.words.judging.inference import any_difference, pooled, verdict, word_tests
from intriguing.words.judging.statistics import Statistics
from tests.keys import duplicates

BASES = ("trained", "varimax", "pca", "gaussian")
DEALS = 5


def drawn(seed=0, fold=0, condition="raw", shift=0.0, varimax=9.0, permuted=(), rotations=999, corpus="c"):
    """Statistics whose null is standard normal; the natural basis lies `shift` above its middle, and `permuted` above
    that of the first deals of the words.
    """
    rng = generator(seed, "test statistics", fold, condition)
    null = {m: rng.standard_normal(rotations) for m in METRICS}
    dealt = {m: rng.standard_normal((DEALS, 1 + rotations)) for m in METRICS}
    for values in dealt.values():
        values[:, 0] = [*permuted, *np.linspace(-0.5, 0.5, DEALS - len(permuted))]
    lie = {"trained": shift, "varimax": varimax}
    measured = {c: {m: lie.get(c, 0.1) for m in METRICS} for c in BASES}
    found = {"intrusion_npmi": 50, "intrusion_cosine": 20}
    spread = dict.fromkeys(METRICS, 0.2)
    return Statistics(
        corpus,
        seed,
        fold,
        condition,
        1000,
        7,
        100,
        measured,
        null,
        dealt,
        spread,
        found,
        0.0,
        np.zeros(9),
    )


def rows_of(table, **keys):
    return [r for r in table.to_pylist() if all(r[k] == v for k, v in keys.items())]


def test_every_control_and_metric_has_a_row_and_keys_are_unique():
    table = word_tests([drawn(), drawn(condition="l2")])
    assert table.schema.equals(tables.WORD_TESTS.schema)
    assert duplicates(table, tables.WORD_TESTS.key) == 0
    assert table.num_rows == 2 * (5 * 6 + 2 + 1) + 1  # and the family of all dealt tests


def test_p_values_count_rotations():
    s = drawn(shift=0.4)
    (row,) = rows_of(word_tests([s]), control="trained", metric="npmi")
    null = s.null["npmi"]
    assert row["p_high"] == pytest.approx((1 + (null >= 0.4).sum()) / 1000)
    assert row["p_low"] == pytest.approx((1 + (null <= 0.4).sum()) / 1000)
    assert row["effect"] == pytest.approx((0.4 - null.mean()) / null.std(ddof=1))
    assert (row["low"], row["high"]) == pytest.approx((0.4 - null.mean() - 0.392, 0.4 - null.mean() + 0.392), abs=1e-3)


def test_holm_runs_over_statistic_and_condition_within_an_embedding_and_control():
    table = word_tests([drawn(seed, condition=c, shift=s) for seed in (0, 1) for c, s in (("raw", 0.5), ("l2", 2.0))])
    for seed in (0, 1, -1):
        family = rows_of(table, seed=seed, control="trained")
        assert len(family) == 12
        assert [r["p_holm"] for r in family] == pytest.approx(holm(np.array([r["p_two"] for r in family])).tolist())


@pytest.mark.parametrize("alarms", [0, 1, 3])
def test_permuted_words_count_the_deals_in_which_axes_differ(alarms):
    table = word_tests([drawn(permuted=(9.0,) * alarms), drawn(condition="l2")])
    rows = rows_of(table, control="permuted_words")
    assert {(r["condition"], r["metric"]) for r in rows} == {(c, m) for c in ("raw", "l2") for m in METRICS} | {
        ("all", "any")
    }
    for row in rows:
        found = 0 if row["condition"] == "l2" else alarms
        assert row["natural"] == found / DEALS and row["null_mean"] == 0.05
        assert (row["n"], row["rotations"]) == (DEALS, 999)
        assert row["p_high"] == pytest.approx(stats.binomtest(found, DEALS, 0.05, "greater").pvalue)


def test_a_single_deal_is_corrected_over_statistic_and_condition():
    s = drawn()
    nearly = np.sort(s.dealt["npmi"][0, 1:])[-8]  # p_two = 0.018: too much for one test, not for 12
    s.dealt["npmi"][0, 0] = nearly
    assert not any_difference([s, drawn(condition="l2")], 0)
    s.dealt["npmi"][0, 0] = 9.0
    assert any_difference([s, drawn(condition="l2")], 0) and not any_difference([s], 1)


def test_pooling_averages_statistics_rotation_by_rotation():
    group = [drawn(seed, fold, shift=0.3 * seed) for seed in (0, 1) for fold in (0, 1)]
    pool = pooled(group)
    assert (pool.seed, pool.fold) == (-1, -1)
    assert pool.measured["trained"]["npmi"] == pytest.approx(0.15)
    assert np.allclose(pool.null["npmi"], np.mean([s.null["npmi"] for s in group], axis=0))
    assert (pool.lines, pool.intruders_found["intrusion_npmi"]) == (400, 200)


def test_a_small_shift_in_every_embedding_is_found_by_the_pool_alone():
    table = word_tests([drawn(seed, shift=1.3) for seed in range(12)])
    single = [r["p_holm"] for r in rows_of(table, control="trained") if r["seed"] >= 0]
    assert min(single) > 0.05
    assert all(r["p_holm"] < 0.1 for r in rows_of(table, seed=-1, control="trained"))


def test_one_embedding_has_no_pooled_rows():
    assert not rows_of(word_tests([drawn()]), seed=-1)


def test_nulls_of_different_lengths_are_not_pooled():
    with pytest.raises(InputError, match=r"\[99, 999\]"):
        word_tests([drawn(0), drawn(1, rotations=99)])
    fewer = replace(drawn(1), dealt={m: values[:2] for m, values in drawn(1).dealt.items()})
    with pytest.raises(InputError, match="one number of rotations, deals and draws"):
        word_tests([drawn(0), fewer])


def test_repeated_statistics_are_refused():
    with pytest.raises(InputError, match="give each once"):
        word_tests([drawn(), drawn()])
    with pytest.raises(InputError, match="give each once"):
        word_tests([])


def test_the_verdict_reads_no_difference_with_working_controls():
    said = verdict(word_tests([drawn(seed, condition=c) for seed in (0, 1) for c in ("raw", "l2")]))
    assert said.startswith("In none of 12 tests") and "2 embeddings, pooled" in said
    assert "beat rotations in 12 of 12" in said and said.endswith("axes differ in any test in 0 of 5 deals.")


def test_the_verdict_names_what_differs_and_which_way():
    said = verdict(word_tests([drawn(shift=-9.0, rotations=999)]))
    assert "differ from random rotations in 6 of 6" in said and "less by npmi of raw vectors" in said


def test_too_few_rotations_for_the_correction_are_said():
    said = verdict(word_tests([drawn(rotations=99, shift=9.0)]))
    assert "no corrected p-value can fall below 0.12" in said and "Use at least 239" in said


def test_a_null_without_spread_gives_a_verdict_without_an_effect():
    s = drawn()
    flat = {m: np.zeros(999) for m in METRICS}
    said = verdict(word_tests([replace(s, null=flat, measured={c: dict.fromkeys(METRICS, 1.0) for c in BASES})]))
    assert "more by npmi of raw vectors (p = " in said


def test_the_verdict_counts_what_there_is():
    table = word_tests([drawn(rotations=9)])
    rows = [r for r in table.to_pylist() if r["control"] == "permuted_words" or r["metric"] == "npmi"]
    rows = [r for r in rows if r["control"] != "varimax"]
    said = verdict(pa.Table.from_pylist(rows, table.schema))
    assert said.startswith("In none of 1 test (1 judge x 1 condition; 1 embedding; 9 rotations) do single axes")
    assert "(varimax) beat rotations in no test: none was made;" in said
    assert "not even varimax" not in said


def test_tests_without_figures_are_not_counted_in_silence():
    table = word_tests([drawn(condition=c) for c in ("raw", "l2")])
    rows = [r | ({"p_two": None} if (r["metric"], r["condition"]) == ("npmi", "l2") else {}) for r in table.to_pylist()]
    assert "of 11 tests (6 judges x 2 conditions, 1 without figures;" in verdict(
        pa.Table.from_pylist(rows, table.schema)
    )


def test_without_power_nothing_follows():
    assert "no power" in verdict(word_tests([drawn(varimax=0.0)]))


def test_dealt_words_that_differ_more_often_than_the_tests_claim_are_said():
    one, two, all_ = (verdict(word_tests([drawn(permuted=(9.0,) * n)])) for n in (1, 2, DEALS))
    assert one.endswith("in 1 of 5 deals.")
    assert "in 2 of 5 deals. As random words differ more often than the 5% that the tests claim (p = 0.023)" in two
    assert "in 5 of 5 deals" in all_ and "something else than meaning is measured: nothing follows" in all_


def test_several_corpora_must_be_named():
    table = word_tests([drawn(), drawn(corpus="d", shift=9.0)])
    with pytest.raises(InputError, match="2 corpora"):
        verdict(table)
    assert "In none of" in verdict(table, "c") and "differ" in verdict(table, "d")
    with pytest.raises(InputError, match="no tests of 'e'"):
        verdict(table, "e")
