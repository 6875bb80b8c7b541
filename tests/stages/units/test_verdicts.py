"""What the run answers about units: dead ones do not answer, and the figure is of the layers that differ."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from intriguing.report.parts import Context
from intriguing.stages.units.verdicts import verdicts

TEST = {
    "dataset": "shapes", "model": "a", "model_seed": 0, "metric": "purity", "judge": None, "control": "trained",
    "condition": "raw", "alpha": 0.0, "natural": 0.5, "null_mean": 0.5, "null_sd": 0.05, "low": -0.1, "high": 0.1,
    "p_high": 0.5, "p_low": 0.5, "p_two": 1.0, "p_holm": 1.0, "effect": 0.2, "rotations": 999, "n": 1000,
    "detectable_effect": 2.0,
}  # fmt: skip


def differs(layer, effect, **more):
    p = {"p_high": 0.001, "p_low": 1.0} if effect > 0 else {"p_high": 1.0, "p_low": 0.001}
    own = {"layer": layer, "effect": effect, "natural": 0.5 + 0.05 * effect, "p_two": 0.002, "p_holm": 0.01}
    return TEST | own | p | more


def said_of(*tests):
    scans = []

    def table(name, columns, alpha, condition):
        scans.append(name)
        assert alpha == 0.0 and all(test["condition"] in condition for test in tests)
        return pa.Table.from_pylist(list(tests)).select(columns)

    [verdict] = verdicts(Context(SimpleNamespace(table=table, models=lambda dataset: [("a", 0)])))
    assert scans == ["rotation_tests"]  # once: of a large run it is the dearest part of the answer
    return verdict


def test_a_difference_that_dead_units_make_is_none():
    none = TEST | {"layer": "fc", "condition": "live", "effect": 0.9}
    other = TEST | {"layer": "conv", "effect": -0.4}
    verdict = said_of(differs("fc", -9.2), none, other)
    assert verdict.sentence == (
        "No evidence that single units are purer than random directions of the same layer, or less so, in any of 2 "
        "layers tested. Units whose largest value many inputs share (dead or saturated ones) are left out; 1 of 2 "
        "layers has some. With them units would be found less pure in 1 of 2 layers."
    )
    assert verdict.value == "+0.25" and verdict.measure.endswith("(median of 2 layers)")
    assert verdict.interval == "−0.40 to +0.90: a range over these layers, no interval"


def test_a_difference_that_dead_units_hide_is_found():
    verdict = said_of(TEST | {"layer": "fc"}, differs("fc", 5.0, condition="live"))
    assert verdict.sentence == (
        "Single units are purer than random directions of the same layer; whether those of an untrained network are so "
        "too was not tested. Units whose largest value many inputs share (dead or saturated ones) are left out. With "
        "them nothing would be found."
    )
    assert (
        verdict.value == "+5.0"
        and verdict.interval == "95 % interval over inputs −2.0 to +2.0; Holm's p = 0.01 by 999 rotations"
    )


@pytest.mark.parametrize(
    ("effects", "value", "of"),
    [
        ((6.0, 0.2, 0.1), "+6.0", "effect in a · 0, which differs, in standard deviations of the rotations"),
        ((6.0, 4.0, 0.1), "+5.0", "effect, in standard deviations of the rotations (median of 2 layers that differ)"),
        ((-7.9, 4.1, 0.1), "+4.1", "effect in a · 1, where units are purer, in standard deviations of the rotations"),
        ((60.0, 70.0), "above +20",
         "effect, far beyond every rotation, in standard deviations of the rotations (median of 2 layers)"),
    ],
)  # fmt: skip
def test_the_figure_is_of_the_layers_that_differ(effects, value, of):
    tests = [differs(str(i), e) if abs(e) > 1 else TEST | {"layer": str(i), "effect": e} for i, e in enumerate(effects)]
    verdict = said_of(*tests)
    assert (verdict.value, verdict.measure) == (value, of)
    assert "dead" not in verdict.sentence
    assert ("range over these layers, no interval" in verdict.interval) == ("median" in of)


def test_of_layers_that_disagree_the_figure_is_of_the_side_that_the_sentence_begins_with():
    """Beside "purer in 1 of 3 layers" stood −7.9, the effect of the layer whose units are less pure."""
    verdict = said_of(differs("a", -7.9), differs("b", 4.1), differs("c", 5.2), differs("d", -2.5))
    assert verdict.sentence.startswith("Single units are purer")
    assert (verdict.value, verdict.measure) == (
        "+5.2",
        "effect in a · c, the largest of 2 layers where units are purer, in standard deviations of the rotations",
    )
    contrast = "−7.9 in a · a, the largest of 2 layers where they are less pure (95 % interval over inputs −2.0 to +2.0"
    assert verdict.contrast.startswith(contrast)
    assert f": +5.2 ({verdict.interval}), and {contrast}" in verdict.text()


def undecided(layer, effect, **more):
    return differs(layer, effect, p_holm=0.08, **more)


@pytest.mark.parametrize(
    ("untrained", "said"),
    [
        ([], "whether those of an untrained network do so was not tested"),
        ([3.0], "in the untrained network they do so too"),
        ([3.0, 0.1], "in untrained networks they do so too in 1 of 2 layers"),
        ([-3.0, 0.1], "in untrained networks they do so in no layer tested"),
    ],
)
def test_an_undecided_answer_names_its_control(untrained, said):
    controls = [
        undecided(str(i), e, control="random_init")
        if abs(e) > 1
        else TEST | {"layer": str(i), "effect": e, "control": "random_init"}
        for i, e in enumerate(untrained)
    ]
    verdict = said_of(undecided("0", 4.0), TEST | {"layer": "1"}, *controls)
    assert verdict.sentence == (
        "Undecided whether single units are purer than random directions of the same layer: they lie beyond all "
        f"rotations in 1 of 2 layers tested, which are too few for the correction; {said}."
    )


def test_layers_that_are_undecided_beside_a_finding_are_told():
    """Two of four layers lay beyond all rotations, too few: the sentence spoke of the one that was found alone."""
    trained = [differs("a", -5.0), undecided("b", -5.9), undecided("c", 3.1), TEST | {"layer": "d"}]
    untrained = [undecided("b", -4.0), undecided("c", 3.0), TEST | {"layer": "d"}]
    verdict = said_of(*trained, *(test | {"control": "random_init"} for test in untrained))
    assert verdict.sentence == (
        "Single units are less pure than random directions of the same layer in 1 of 4 layers tested; 2 more are "
        "undecided, beyond all rotations, which are too few for the correction; in untrained networks no layer was "
        "found to be so, but 1 of 3 is undecided."
    )
    assert "Undecided: a · b (0.205, rotations 0.500); a · c (0.655, rotations 0.500)." in verdict.meaning
    both = said_of(differs("a", -5.0), differs("e", 5.0), undecided("b", -5.9)).sentence
    assert "in 1 of 3 layers tested, and less pure in 1; 1 more is undecided, beyond all rotations" in both


def test_an_untrained_network_of_two_names_counts_once():
    """Two weights files of one architecture and seed have one control; a second seed has its own."""
    untrained = undecided("fc", 3.0, control="random_init")
    own = TEST | {"model": "c", "layer": "fc", "effect": 0.1, "control": "random_init", "null_mean": 0.49}
    trained = [undecided("fc", 4.0), undecided("fc", 4.5, model="b"), undecided("fc", 4.2, model="c")]
    verdict = said_of(*trained, untrained, untrained | {"model": "b"}, own)
    assert verdict.sentence.endswith("; in untrained networks they do so too in 1 of 2 layers.")


def test_dead_units_that_change_nothing_are_told_in_the_small_print():
    verdict = said_of(differs("fc", 6.0), differs("fc", 5.0, condition="live"))
    assert "dead" not in verdict.sentence
    told = (
        " Purer: a · fc (0.750, rotations 0.500). Units whose largest value many inputs share (dead or saturated ones) "
    )
    assert verdict.meaning.endswith(f"{told}are left out.")
    assert verdict.value == "+5.0"


def test_the_untrained_network_is_judged_without_its_dead_units_too():
    untrained = {"control": "random_init"}
    trained = [differs("fc", 5.0)]
    dead = [differs("fc", 8.0, **untrained), TEST | {"layer": "fc", "condition": "live"} | untrained]
    assert "; in untrained networks no layer was found to be so." in said_of(*trained, *dead).sentence
    assert "; in the untrained network they are so too." in said_of(*trained, dead[0]).sentence


def test_untrained_networks_that_differ_in_some_of_their_layers_are_said_to():
    """It was "they are so too", whatever the other layers showed."""
    trained = [differs("fc", 5.0), differs("conv", 5.0)]
    untrained = [differs("fc", 8.0, control="random_init"), TEST | {"layer": "conv", "control": "random_init"}]
    assert "; in untrained networks they are so too in some layers." in said_of(*trained, *untrained).sentence
