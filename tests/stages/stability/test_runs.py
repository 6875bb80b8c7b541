"""The stage at work: models that a user brings go through it, and what cannot be proven is named."""

import math

import pytest

from intriguing import open_run
from intriguing.sweep import execute, prepare
from intriguing.sweep.reporting.page import write_report
from tests.pages import words_of

MODELS = ("whole", "normalised", "gated", "branches")
SPEC = {
    "name": "stability-small",
    "datasets": {"mnist-sample": {}},
    "models": {name: {"architecture": f"tests.stages.stability.brought:{name}", "train": False} for name in MODELS},
    "blind_spots": {"images": 20, "grade": "fast", "target_rules": ["untargeted", "every", "random"]},
    "stability": {},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    prepared = prepare(SPEC, tmp_path_factory.mktemp("run") / "out")
    outcome = execute(prepared, "inline")
    assert outcome.complete, outcome.failures
    return open_run(prepared.out)


@pytest.mark.slow
def test_every_search_has_a_certificate_and_none_lies_below_it(run):
    certificates = run.pandas("certificates")
    assert len(certificates) == len(run.pandas("distortions")) == 4 * 3 * 20
    found = certificates[(certificates["status"] == "found") & certificates["lower_bound"].notna()]
    assert bool((found["lower_bound"] <= found["l2"] * (1 + 1e-6)).all())
    methods = certificates.groupby("model")["method"].agg(lambda m: set(m) - {"none"})
    assert methods.to_dict() == {"whole": {"lines"}, "normalised": {"exact"}, "gated": set(), "branches": set()}
    by_rule = (
        found[found["model"] == "whole"].pivot(index="example_id", columns="target_rule", values="lower_bound").dropna()
    )
    assert len(by_rule) and bool((by_rule["untargeted"] == by_rule["every"]).all())


@pytest.mark.slow
def test_a_model_that_cannot_be_bounded_has_null_and_the_name_of_what_stopped_it(run):
    for model, name in (("gated", "product of two inputs"), ("branches", "cannot be traced")):
        certificates = run.pandas("certificates", model=model)
        searched = certificates["status"].isin(["found", "misclassified", "not_found"])
        assert bool(certificates["lower_bound"].isna().all())
        assert bool(certificates["reason"][searched].str.contains(name).all())
        assert not bool(certificates["is_optimal"].any())
        norms = run.pandas("operator_norms", model=model)
        assert math.isinf(norms["product_bound"].iloc[-1])
        assert norms["kind"].str.contains(name).any()


@pytest.mark.slow
def test_the_layers_of_a_model_come_in_order_with_their_product(run):
    norms = run.pandas("operator_norms", model="whole").sort_values("position", ignore_index=True)
    kinds = ["scale", "convolution", "batch_norm", "relu", "convolution", "sum", "relu", "linear"]
    assert [kind for kind in norms["kind"] if kind != "scale"] == kinds[1:]
    assert norms["layer"].tolist()[-1] == "head"
    assert bool((norms["norm"] <= norms["upper_bound"] * (1 + 1e-9)).all())
    assert list(norms["stride"].iloc[1]) == [4, 4]
    assert norms["printed"].iloc[1] < norms["norm"].iloc[1] / 2
    # A sum of an input and what a convolution makes of it adds up.
    before, branch = norms["product_bound"].iloc[3], norms["product_bound"].iloc[4]
    assert norms["product_bound"].iloc[5] == pytest.approx(before + branch)


@pytest.mark.slow
def test_the_page_shows_brackets_layers_and_what_was_in_the_way(run):
    write_report(run.path)
    words = words_of(run.path)
    assert "How much smaller could a change be?" in words
    assert "No change shorter than the proven distance fools the networks. Shorter ones than those found may" in words
    assert "nothing (cannot be bounded" in words
    assert "whole, 8 layers: at most" in words
    assert "count as proven" not in words
