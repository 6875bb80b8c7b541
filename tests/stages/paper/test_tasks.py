"""The comparison, called by hand with answers that were planted: cells, intervals, tests, the paper's side, claims."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from intriguing.stages.paper.comparison.paper_tables import SIX, THREE, cells
from intriguing.stats.intervals import newcombe, wilson
from tests.stages.paper.planted import IMAGES, NAMES, Hand, described


@pytest.fixture(scope="module")
def hand():
    return Hand()


@pytest.fixture(scope="module")
def compared(hand):
    return hand.frames()


def one(frame, **chosen):
    for name, value in chosen.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_every_cell_of_the_paper_is_there_once_beside_ours(compared):
    rows = compared[0][compared[0]["grade"].isin(["", "best"]) & ~compared[0]["target_rule"].str.startswith("each")]
    there = rows[rows["paper"].notna()]
    keys = list(zip(there["measure"], there["source_model"], there["model"], strict=True))
    missing = {key for key in cells() if key not in keys and key[0] != "noise 0.06"}
    assert not missing
    assert len(keys) == len(set(keys)) == len(cells()) - 3


def test_the_papers_tables_are_the_reference():
    path = Path("/work/shared/reference/paper_tables.json")
    if not path.is_file():
        pytest.skip("the reference is not on this machine")
    printed = json.loads(path.read_text())
    ours = cells()
    for model, _, train, test, distortion in printed["table1"]["rows"]:
        assert [100 * ours[m, "", model].value for m in ("train_error", "test_error")] == pytest.approx([train, test])
        assert ours["distortion", "", model].value == distortion
    for source, row in printed["table2"]["rows"].items():
        kind, name = ("minimal", source) if source in SIX else (source.replace("Gaussian noise", "noise"), "")
        assert [100 * ours[kind, name, target].value for target in SIX] == pytest.approx(row[:-1])
    halves = printed["table4"]["rows"]
    for name, row in zip(THREE, [halves[k] for k in list(halves)[:3]], strict=True):
        assert [100 * ours["minimal", name, target].value for target in THREE] == pytest.approx(row)
    for name, row in zip(THREE, [halves[k] for k in list(halves)[4:7]], strict=True):
        assert [100 * ours["amplified", name, target].value for target in THREE] == pytest.approx(row)


def test_a_cell_counts_all_images_and_those_that_both_get_right(hand, compared):
    source, target = "FC100-100-10", "AE400-10"
    row = one(compared[0], measure="minimal", source_model=source, model=target)
    fed = hand.inputs["changed"].query("source_model == @source and model == @target")
    changed, noise = (fed[fed["kind"] == kind]["is_error"].to_numpy() for kind in ("minimal", "gaussian"))
    clean = hand.inputs["clean"]
    right = (
        ~clean[clean["model"] == source]["is_error"].to_numpy()
        & ~clean[clean["model"] == target]["is_error"].to_numpy()
    )
    assert row["value"] == changed.mean()
    assert (row["low"], row["high"]) == pytest.approx([float(x) for x in wilson(changed.sum(), IMAGES)])
    assert row["right_n"] == right.sum()
    assert row["right_value"] == pytest.approx(changed[right].mean())
    assert row["control_value"] == pytest.approx(noise[right].mean())
    only = int((changed & ~noise & right).sum()), int((noise & ~changed & right).sum())
    assert (row["only_change"], row["only_control"]) == only
    assert row["p"] == pytest.approx(binomtest(only[0], sum(only), 0.5).pvalue)
    assert row["p_holm"] >= row["p"]


def test_the_difference_from_the_paper_is_newcombes_with_its_256_images(compared):
    row = one(compared[0], measure="minimal", source_model="FC10(1)", model="AE400-10")
    k = round(0.344 * 256)
    low, high = newcombe(round(row["value"] * IMAGES), IMAGES, k, 256)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((float(low), float(high)))
    assert row["difference"] == pytest.approx(row["value"] - k / 256)
    assert row["overlap"]
    assert not one(compared[0], measure="minimal", source_model="FC10(1)", model="FC10(1e-2)")["overlap"]


def test_what_a_model_does_on_its_own_images_is_no_test(compared):
    own = compared[0].query("measure == 'minimal' and source_model == model")
    assert (own["value"] == 1).all()
    assert own["p"].isna().all()


def test_amplified_images_are_held_against_noise_of_their_size(compared):
    row = one(compared[0], measure="amplified", source_model="FC100-100-10 P1", model="FC100-100-10 P2")
    assert row["control_value"] == pytest.approx(1 / 20, abs=0.02)
    assert row["paper_table"] == 4
    assert row["paper"] == 0.43


def test_errors_of_halves_rest_on_halves(compared):
    rows = compared[0]
    assert one(rows, measure="train_error", model="FC100-100-10 P1")["n"] == 30_000
    assert one(rows, measure="other_error", model="FC100-100-10 P1")["n"] == 30_000
    assert one(rows, measure="train_error", model="FC100-100-10")["n"] == 60_000
    assert rows.query("measure == 'other_error'")["paper"].tolist() == [0.024, 0.025, 0.023]


def test_nearest_mean_and_hardest_target_are_rules_of_their_own(hand, compared):
    clean = hand.inputs["clean"]
    right = ~clean[clean["model"] == "AE400-10"]["is_error"].to_numpy()
    base = (0.05 + 0.0001 * np.arange(IMAGES))[right].mean()
    for rule, more in (("random", 0.0), ("each: nearest", 0.0), ("each: mean", 0.004), ("each: hardest", 0.008)):
        row = one(compared[0], measure="distortion", model="AE400-10", target_rule=rule)
        assert row["value"] == pytest.approx(base + more)
        assert row["low"] < row["value"] < row["high"]
        assert row["paper"] == 0.086


def test_the_nearest_rule_comes_first(compared):
    rules = compared[1].query("name == 'distortions of table 1'")
    assert rules["value"].is_monotonic_increasing
    assert set(rules["target_rule"]) == {"random", "each: nearest", "each: mean", "each: hardest"}
    row = one(compared[1], name="distortions of table 1", target_rule="random")
    ratio = [
        one(compared[0], measure="distortion", model=m, target_rule="random")["value"]
        / cells()["distortion", "", m].value
        for m in SIX
    ]
    assert row["value"] == pytest.approx(np.exp(np.abs(np.log(ratio)).mean()))
    assert row["low"] <= row["value"] <= row["high"]


def test_claims_are_answered_with_what_would_refute_them(compared):
    claims = compared[1].query("figure == 'claim' and kind == 'minimal'").set_index("name")
    assert claims.loc["across architectures", "outcome"] == "holds"
    assert claims.loc["across training sets", "outcome"] == "holds"
    assert claims.loc["far more than noise", "outcome"] == "holds"
    assert claims.loc["one family more", "outcome"] == "open"
    assert claims.loc["across architectures", "value"] == pytest.approx(0.22, abs=0.03)
    assert claims.loc["far more than noise", "value"] == pytest.approx(0.3 / 0.08, rel=0.15)
    assert claims["refuted_by"].str.len().min() > 20
    assert (claims["p_holm"] >= claims["p"]).all()


def test_where_nothing_transfers_the_claims_fail():
    _, claims = Hand(rate=lambda source, target: 0.02).frames()
    told = claims.query("figure == 'claim' and kind == 'minimal'").set_index("name")
    assert told.loc["across architectures", "outcome"] == "fails"
    assert told.loc["far more than noise", "outcome"] == "fails"
    assert "do not transfer" in told.loc["across architectures", "sentence"]


def test_kin_that_fool_each_other_more_are_found():
    family = {name: described(name)[2] for name in NAMES}
    _, claims = Hand(rate=lambda s, t: 0.4 if family[s] == family[t] else 0.1).frames()
    row = one(claims, name="one family more", kind="minimal")
    assert row["outcome"] == "holds"
    assert row["value"] == pytest.approx(0.3, abs=0.06)


def test_the_order_of_the_cells_is_held_against_the_papers():
    paper = cells()
    _, claims = Hand(SIX, rate=lambda s, t: paper["minimal", s, t].value).frames()
    row = one(claims, name="order of table 2", kind="minimal")
    assert row["pairs"] == 30
    assert row["value"] > 0.95
    assert row["low"] > 0.9


def test_a_users_own_models_have_all_but_the_papers_side():
    rows, claims = Hand(("a", "b", "c")).frames(beside=False)
    assert rows["paper"].isna().all()
    assert (rows["paper_table"] == 0).all()
    assert set(claims["figure"]) == {"claim", "effect"}
    assert len(rows.query("measure == 'minimal'")) == 9


def test_a_claim_that_the_networks_do_not_tell_has_no_answer():
    _, claims = Hand(("FC100-100-10", "FC200-200-10")).frames(beside=False)
    row = one(claims, name="one family more", kind="minimal")
    assert row["outcome"] == "unknown"
    assert row["value"] != row["value"]
    assert row["sentence"].startswith("No answer")


def test_without_transfer_there_are_errors_and_distortions_alone():
    hand = Hand(SIX)
    for name in ("clean", "changed", "noise", "noise_rays"):
        del hand.inputs[name]
    rows, claims = hand.frames()
    assert set(rows["measure"]) == {"train_error", "test_error", "distortion"}
    assert set(claims["name"]) == {"distortions of table 1"}


def test_changes_amplified_to_another_size_do_not_stand_beside_the_papers(hand):
    made = hand.compare(amplified_rms=0.05)
    cells_of_kind = dict(list(made["paper_comparison"].to_pandas().groupby("measure")))
    assert cells_of_kind["amplified"]["paper"].isna().all()
    assert cells_of_kind["minimal"]["paper"].notna().any()
    agreements = made["paper_claims"].to_pandas().query("figure == 'agreement'")["name"].tolist()
    assert "order of table 4" in agreements
    assert "order of table 4, amplified" not in agreements


def test_where_neither_images_nor_noise_fool_anybody_no_claim_is_refuted():
    hand = Hand(("FC10(1)", "FC100-100-10"), rate=lambda source, target: 0.0)
    fed = hand.inputs["changed"]
    right = fed["source_model"] != fed["model"]
    hand.inputs["changed"] = fed.assign(is_error=fed["is_error"] & ~right)
    _, claims = hand.frames(beside=False)
    row = one(claims, name="far more than noise", kind="minimal")
    assert row["outcome"] == "unknown"
    assert np.isnan(row["value"])
    assert row["sentence"].startswith("No answer")
    assert one(claims, name="across architectures", kind="minimal")["outcome"] == "open"


@pytest.mark.parametrize(("fooled", "outcome"), [(4, "open"), (12, "holds")])
def test_a_few_images_that_agree_are_no_evidence(fooled, outcome):
    names = ("FC10(1)", "FC100-100-10")
    hand = Hand(names)
    ids, fed = hand.inputs["clean"]["example_id"].unique()[:fooled], hand.inputs["changed"]
    for name in ("clean", "changed", "noise_rays", "distortions"):
        hand.inputs[name] = hand.inputs[name][hand.inputs[name]["example_id"].isin(ids)]
    hand.inputs["clean"] = hand.inputs["clean"].assign(is_error=False)
    hand.inputs["changed"] = hand.inputs["changed"].assign(is_error=lambda rows: rows["kind"] == "minimal")
    _, claims = hand.frames(beside=False)
    row = one(claims, name="across architectures", kind="minimal")
    assert (row["value"], row["outcome"]) == (1.0, outcome)  # every image fools, no noise does
    assert (row["low"], row["high"]) == (pytest.approx(float(newcombe(fooled, fooled, 0, fooled)[0]), abs=0.2), 1.0)
    rate = one(claims, figure="effect", name="architecture", kind="minimal")
    assert (rate["low"], rate["high"]) == (pytest.approx(float(wilson(fooled, fooled)[0]), abs=0.1), 1.0)
    ratio = one(claims, name="far more than noise", kind="minimal")
    assert (ratio["value"], ratio["low"]) == (2 * fooled, pytest.approx(fooled / 3))  # of no noise that fools: a half
    assert len(fed) > len(hand.inputs["changed"])
