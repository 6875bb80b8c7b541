from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intriguing.stats.comparison import Comparison, compare_with_draws
from intriguing.stats.findings import LEVEL, Wording, effect_in_words, finding, outcome_of, scored_by, significant

PURER = Wording("purer", "less pure")
NULL = np.linspace(0.4, 0.6, 999)


def says(comparison, n=10_000, wording=PURER, **more):
    return finding(comparison.row() | {"n": n} | more, wording)


def test_the_level_itself_is_a_finding():
    assert significant(LEVEL) and significant(0.0499) and not significant(0.0501)
    assert not significant(None) and not significant(float("nan"))


@pytest.mark.parametrize("column", ["p_two", "p_holm"])
def test_p_of_exactly_five_percent_is_a_finding_in_word_and_sentence(column):
    test = compare_with_draws(0.9, NULL).row() | {"n": 9, "p_two": 0.002, column: 0.05}
    assert finding(test, PURER).outcome == "higher"
    assert finding(test, PURER).sentence.startswith("Units are purer than rotations")


def test_a_null_that_just_reaches_the_level_gives_a_finding():
    # 2 / 40 = 0.05 is the smallest p-value of 39 rotations.
    assert says(compare_with_draws(0.9, NULL[:39])).outcome == "higher"
    assert says(compare_with_draws(0.9, NULL[:38])).outcome == "undecided"


@given(st.floats(-5, 5), st.floats(0.001, 1), st.none() | st.floats(0.001, 1), st.integers(1, 2000), st.floats(-3, 3))
def test_outcome_and_sentence_never_disagree(natural, p_two, p_holm, rotations, mean):
    test = {"natural": natural, "null_mean": mean, "null_sd": 1.0, "rotations": rotations, "n": 9}
    test |= {"p_two": p_two, "p_holm": p_holm}
    told = finding(test, PURER)
    assert outcome_of(test) == told.outcome
    openings = {
        "higher": "Units are purer than rotations: ",
        "lower": "Units are less pure than rotations: ",
        "none": "No evidence that units are purer than rotations, or less so: ",
        "undecided": "Undecided whether units are purer than rotations: ",
    }
    assert told.sentence.startswith(openings[told.outcome])
    assert (told.outcome in ("higher", "lower")) == ((p_two if p_holm is None else p_holm) <= LEVEL)


def test_the_sentence_has_all_figures():
    none = says(compare_with_draws(0.52, NULL, 0.01)).sentence
    assert none == (
        "No evidence that units are purer than rotations, or less so: 0.52 against 0.5, difference +0.02, 95 % "
        "interval over inputs +0.0004 to +0.0396, +0.3 null standard deviations, p = 0.802 (999 rotations, 10000 "
        "inputs; smallest detectable effect 1.8)."
    )


def test_which_way_is_said():
    assert says(compare_with_draws(0.9, NULL)).sentence.startswith("Units are purer than rotations")
    assert says(compare_with_draws(0.1, NULL)).sentence.startswith("Units are less pure than rotations")
    assert says(compare_with_draws(0.1, NULL)).outcome == "lower"


def test_beyond_all_rotations_but_too_few_for_the_correction_is_undecided():
    few = compare_with_draws(0.9, NULL[::16])
    told = says(few, p_holm=0.2)
    assert told.outcome == "undecided"
    assert told.sentence.startswith("Undecided whether units are purer than rotations: above all rotations, too few")
    assert "Holm's p = 0.2" in told.sentence


def test_the_corrected_p_value_decides():
    inside = compare_with_draws(0.597, NULL)
    assert says(inside).outcome == "higher"
    assert says(inside, p_holm=0.3).outcome == "none"


def test_too_few_rotations_and_rotations_that_do_not_differ_are_told_apart():
    assert "9 rotations are too few for any finding" in says(compare_with_draws(0.1, NULL[:9])).sentence
    assert "all rotations gave one value" in says(compare_with_draws(1.0, np.ones(99))).sentence


def test_a_dose_has_no_smallest_effect_and_is_not_said_to_have_too_few_rotations():
    dose = compare_with_draws(0.61, NULL).row() | {"n": 1_000, "alpha": 0.5, "detectable_effect": None}
    told = finding(dose, PURER).sentence
    assert "too few" not in told and "a dose, for which no smallest effect is computed" in told
    assert "smallest detectable effect" in finding(dose | {"alpha": 0.0, "detectable_effect": 2.8}, PURER).sentence


def test_a_test_without_figures_says_why():
    told = finding(Comparison().row() | {"n": 9}, PURER, "there are no labels")
    assert told.outcome == "unknown"
    assert told.sentence == "No verdict on whether units are purer than rotations: there are no labels."


def test_missing_figures_of_a_pandas_row_are_missing():
    row = {k: float("nan") if v is None else v for k, v in Comparison().row().items()}
    assert finding(row | {"n": 9}, PURER).outcome == "unknown"


def test_a_score_of_which_only_the_name_is_known_is_worded_by_it():
    words = replace(scored_by("NPMI", "single dimensions"), datum="word")
    assert says(compare_with_draws(0.9, NULL), wording=words).sentence.startswith(
        "Single dimensions score higher by NPMI than rotations: 0.9 against 0.5"
    )
    none = says(compare_with_draws(0.5, NULL), n=300, wording=words).sentence
    assert none.startswith("No evidence that single dimensions score higher by NPMI than rotations, or lower: ")
    assert "300 words" in none


def test_the_side_is_that_of_the_smaller_tail_where_the_null_is_skewed():
    skewed = compare_with_draws(3.5, np.r_[np.linspace(2.9, 3.1, 990), np.full(9, 500.0)])
    assert skewed.natural < skewed.null_mean
    assert says(skewed).outcome == "higher"
    assert says(skewed).sentence.startswith("Units are purer than rotations")


def test_the_detectable_effect_is_told_as_what_it_is_beside_a_corrected_p():
    test = compare_with_draws(0.52, NULL, 0.01)
    assert says(test, p_holm=1.0).sentence.endswith("before the correction).")
    assert "correction" not in says(test).sentence


def test_one_rotation_and_one_input_are_counted_as_such():
    tie = says(compare_with_draws(0.5, np.array([0.5])), n=1)
    assert tie.outcome == "none"
    assert tie.sentence.endswith("(1 rotation, 1 input; 1 rotation is too few for any finding).")
    assert says(compare_with_draws(0.6, np.array([0.5])), n=1).outcome == "undecided"


def test_an_effect_far_beyond_every_rotation_is_told_in_words():
    assert effect_in_words(19.96) == "+20.0 null standard deviations"
    assert effect_in_words(-2.26) == "\u22122.3 null standard deviations"
    assert effect_in_words(2339.0) == effect_in_words(-20.01) == "far beyond every rotation"
