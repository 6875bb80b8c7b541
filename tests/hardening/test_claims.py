"""What is said of a claim: held, contradicted, open or unknown, from differences paired by seed."""

import numpy as np
import pytest

from intriguing.hardening.claims import CLAIMS, Outcomes, distortion_ratio, judge


def runs(**errors):
    """Trainings by variant and seed; a variant's errors in percent, or (error, distortions, epochs, seconds)."""
    made = {}
    for variant, values in errors.items():
        made[variant.replace("_", " ")] = {
            seed: Outcomes(value[0] / 100, 10_000, np.atleast_1d(value[1]), *value[2:])
            for seed, value in enumerate(v if isinstance(v, tuple) else (v, 0.03, 5, 10.0) for v in values)
        }
    return made


def answer(name, found):
    return next(one for one in judge(found) if one.claim.name == name)


def test_a_difference_in_the_claimed_direction_holds_and_one_in_the_other_contradicts():
    lower, higher = [1.2, 1.25, 1.22, 1.21, 1.24], [1.9, 1.92, 1.94, 1.9, 1.95]
    held = answer("lower error than weight decay", runs(each_layer=lower, weight_decay=higher))
    assert held.outcome == "held"
    assert held.value == pytest.approx(-0.00698)
    assert held.low < held.value < held.high < 0
    assert held.seeds == 5
    assert held.test_noise == pytest.approx(np.sqrt((0.01224 * 0.98776 + 0.01922 * 0.98078) / 10_000), rel=1e-3)
    assert held.sentence.startswith("Training on the examples of each layer gives a lower error")
    other = answer("lower error than weight decay", runs(each_layer=higher, weight_decay=lower))
    assert other.outcome == "contradicted"
    assert "gives a higher error" in other.sentence


def test_no_significant_difference_is_open_and_never_equality():
    found = answer("lower error than dropout", runs(each_layer=[1.5, 1.9, 1.6], dropout=[1.6, 1.7, 1.8]))
    assert found.outcome == "open"
    assert found.sentence.startswith("It was not shown that")
    assert found.refuted_by.endswith("that is significant after Holm's correction over the claims")


def test_an_open_claim_is_not_said_to_be_refuted_by_the_interval_that_stands_beside_it():
    """An interval is of one claim, the answer of all of them: +0.36 to +0.99 points with a corrected p of 0.16."""
    found = runs(each_layer=[1.9, 2.0], weight_decay=[1.5, 1.62], dropout=[1.6, 1.9], noise=[1.7, 1.819])
    open_one = next(one for one in judge(found) if one.claim.name == "lower error than noise of the same size")
    assert open_one.outcome == "open" and open_one.low is not None
    assert "interval" not in open_one.refuted_by


def test_the_correction_is_over_all_claims_that_have_figures():
    found = runs(each_layer=[1.50, 1.60, 1.55], weight_decay=[1.9, 1.95, 2.0], dropout=[1.58, 1.64, 1.7])
    judged = {one.claim.name: one for one in judge(found)}
    assert judged["lower error than dropout"].p > judged["lower error than weight decay"].p
    alone = answer("lower error than weight decay", runs(each_layer=[1.50, 1.60, 1.55], weight_decay=[1.9, 1.95, 2.0]))
    assert judged["lower error than weight decay"].p == pytest.approx(2 * alone.p)


def test_a_difference_within_the_noise_of_the_test_set_is_remarked():
    found = answer(
        "lower error than weight decay",
        runs(each_layer=[1.80, 1.81, 1.80, 1.81], weight_decay=[1.90, 1.905, 1.90, 1.905]),
    )
    assert found.outcome == "held"
    assert "below 1.96 binomial deviations of two test sets of this size" in found.remark


def test_robustness_and_speed_are_ratios():
    ours = [(1.5, 0.060, 4, 8.0), (1.6, 0.062, 4, 8.2), (1.5, 0.0581, 5, 8.2)]
    theirs = [(1.9, 0.030, 8, 16.0), (1.9, 0.031, 9, 16.4), (1.8, 0.029, 8, 16.2)]
    found = runs(each_layer=ours, weight_decay=theirs)
    robust, faster = answer("more robust", found), answer("faster", found)
    assert (robust.outcome, faster.outcome) == ("held", "held")
    assert robust.value == pytest.approx(2.0, rel=1e-2)
    assert faster.value == pytest.approx(0.5, rel=1e-2)
    assert "3 of 3 reach the goal after 4.3 epochs" in faster.remark


def test_distortions_are_compared_over_the_images_that_both_networks_get_right():
    none = np.nan
    ours = [(1.5, [0.04, 0.06, none, 0.50], 1, 1.0), (1.5, [0.05, 0.06, 0.07, none], 1, 1.0)]
    theirs = [(1.9, [0.02, 0.03, 0.90, none], 1, 1.0), (1.9, [0.02, 0.03, none, 0.90], 1, 1.0)]
    robust = answer("more robust", runs(each_layer=ours, weight_decay=theirs))
    assert robust.value == pytest.approx(np.sqrt((0.05 / 0.025) * (0.055 / 0.025)))
    assert distortion_ratio([np.array([none, 0.1])], [np.array([0.1, none])]) is None
    assert distortion_ratio([np.zeros(0)], [np.zeros(0)]) is None
    alone = answer("more robust", runs(weight_decay=theirs)).remark
    assert alone == "no run of the variant 'each layer': the spec has none, or none has ended"
    nothing = answer("more robust", runs(each_layer=[(1.5, none, 1, 1.0)], weight_decay=[(1.9, none, 1, 1.0)]))
    assert (nothing.outcome, nothing.remark) == ("unknown", "nothing was found to compare")


def test_equal_differences_of_all_seeds_give_no_verdict():
    found = answer("lower error than dropout", runs(each_layer=[1.50, 1.60], dropout=[1.53, 1.63]))
    assert (found.outcome, found.low, found.p) == ("open", None, None)
    assert found.value == pytest.approx(-0.0003)
    assert "its spread cannot be told" in found.remark


def test_seeds_that_never_reach_the_goal_are_not_left_out_of_a_mean():
    ours = [(1.5, 0.06, 4, 8.0), (2.5, 0.06, None, None), (1.5, 0.06, 5, 8.1)]
    found = answer("faster", runs(each_layer=ours, weight_decay=[1.9, 1.9, 1.9]))
    assert found.outcome == "open"
    assert found.value is None
    assert found.seeds == 3
    assert "each layer: 2 of 3 reach the goal" in found.remark


def test_a_variant_that_is_missing_and_a_single_seed_give_no_verdict():
    judged = judge(runs(each_layer=[1.5], weight_decay=[1.9]))
    assert len(judged) == len(CLAIMS)
    by_name = {one.claim.name: one for one in judged}
    assert by_name["higher layers help most"].outcome == "unknown"
    assert "'top layers'" in by_name["higher layers help most"].remark
    one = by_name["lower error than weight decay"]
    assert (one.outcome, one.low, one.p) == ("open", None, None)
    other = {
        "each layer": runs(each_layer=[1.5])["each layer"],
        "dropout": {7: Outcomes(0.02, 100, np.zeros(0), None, None)},
    }
    assert "no seed in common" in answer("lower error than dropout", other).remark
