"""What the run answers about words: the largest effect of those that differ, and the pool of several seeds."""

from types import SimpleNamespace

import pyarrow as pa

from intriguing.report.parts import Context
from intriguing.stages.words.verdicts import verdicts

TEST = {
    "corpus": "news", "seed": 0, "metric": "purity", "condition": "raw", "effect": 0.5, "low": -0.02, "high": 0.1,
    "null_sd": 0.05, "p_holm": 1.0, "rotations": 999,
}  # fmt: skip


def said_of(*tests):
    def table(name, control):
        assert (name, control) == ("word_tests", "trained")
        return pa.Table.from_pylist([TEST | test for test in tests])

    return verdicts(Context(SimpleNamespace(table=table)))


def test_the_figure_is_the_largest_effect_of_those_that_differ_in_standard_deviations():
    """A larger effect that Holm's correction did not leave is no finding."""
    [verdict] = said_of(
        {"effect": -4.0, "p_holm": 0.02, "low": -0.3, "high": -0.1, "metric": "kurtosis"},
        {"effect": 3.0, "p_holm": 0.04},
        {"effect": 6.0, "p_holm": 0.06},
    )
    assert verdict.sentence.endswith("of news differ from random directions, in 2 of 3 tests.")
    assert (verdict.value, verdict.interval) == ("−4.0", "95 % interval over words −6.0 to −2.0")
    assert verdict.measure.endswith("(kurtosis, raw)")


def test_where_nothing_differs_the_figure_is_the_largest_effect_of_all():
    [verdict] = said_of({"effect": -0.4}, {"effect": 1.5, "metric": "entropy"}, {"effect": None})
    assert verdict.sentence.endswith("or less, in any of 2 tests.")
    assert verdict.value == "+1.5" and verdict.measure.endswith("(entropy, raw)")


def test_the_pool_of_the_seeds_answers_where_there_is_one_and_each_corpus_for_itself():
    found = {"effect": 5.0, "p_holm": 0.01}
    pooled, other = said_of(found, {"seed": 1} | found, {"seed": -1}, {"corpus": "wiki"} | found)
    assert pooled.sentence.startswith("No evidence") and "in any of 1 tests" in pooled.sentence
    assert other.sentence.endswith("of wiki differ from random directions, in 1 of 1 tests.")


def test_rotations_that_cannot_decide_are_told_with_how_many_can():
    """Holm's correction over 3 tests multiplies the smallest p, 2 / (rotations + 1), by 3."""
    assert said_of(*3 * [{"rotations": 119}])[0].sentence.startswith("No evidence")
    [verdict] = said_of(*3 * [{"rotations": 118}])
    assert verdict.sentence.startswith("Undecided") and "118 rotations cannot show it" in verdict.sentence
    assert verdict.refuted_by.endswith("takes 119 of them")
