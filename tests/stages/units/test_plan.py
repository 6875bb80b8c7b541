"""The plan of the unit question: judges, crossed designs, wildcards, and corrections that leave no power."""

import logging

import pyarrow as pa
import pytest

from intriguing import tables
from intriguing.stages.units.tasks.answers import correction, model_or_data
from intriguing.sweep import prepare
from intriguing.sweep.spec import load_spec
from tests.keys import duplicates
from tests.sweep.planning import digits, plan_of


def planned(seeds=(0, 1), sets=("one", "two"), **units):
    body = {
        "name": "planned",
        "model_seeds": list(seeds),
        "datasets": {name: {"source": "mnist-sample"} for name in sets},
        "models": {name: {"layers": [layer]} for name, layer in (("cnn", "fc1"), ("mlp", "hidden2"))},
        "units": {"rotations": 999} | units,
    }
    return plan_of(load_spec(body), *(digits(name, content_hash=name) for name in sets))


def test_a_judge_has_another_architecture_and_another_seed():
    plan = planned((0, 1, 2))
    judges = {need.task for need in plan.tasks["inputs/one/cnn/2/fc1"].needs if need.task.startswith("activations")}
    assert judges == {f"activations/one/{model}/{i:05d}" for model in ("cnn/2", "mlp/0") for i in range(2)}


def test_without_rotations_nothing_is_tested():
    stages = {name.partition("/")[0] for name in planned(rotations=0).tasks}
    assert stages == {"examples", "model", "activations", "scan", "top", "histograms"}


def test_a_crossed_design_has_an_answer_and_others_have_none():
    assert "model-or-data" in planned().tasks
    assert "model-or-data" not in planned((0,)).tasks
    assert "model-or-data" not in planned(sets=("one",)).tasks


def test_a_streamed_plan_collects_no_activations_of_a_trained_network():
    plan = planned(mode="stream", bases=["natural", "pca"])
    assert not [name for name in plan.tasks if name.startswith("activations") and "random_init" not in name]
    assert {need.task for need in plan.tasks["stream/one/cnn/0/00000"].needs} == {
        "model/one/cnn/0",
        "moments/one/cnn/0/fc1",
    }


@pytest.mark.parametrize(("mode", "collecting"), [("store", "activations"), ("stream", "stream")])
def test_only_the_tasks_that_collect_feed_a_network(mode, collecting):
    plan = planned(mode=mode, tested_rows=300)
    fed = {task.name.partition("/")[0] for task in plan if "model" in task.resources}
    assert fed == {collecting, "activations", "top"}  # the random control's, and what each place of a map can see
    read = {need.task.partition("/")[0] for need in plan.tasks["inputs/one/cnn/1/fc1"].needs}
    assert read == {collecting, "examples", "pixels"}


def test_rotations_too_few_for_the_correction_are_said_before_work(caplog):
    with caplog.at_level(logging.WARNING):
        planned((0, 1, 2))
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        planned(family="run")
    assert "Holm's correction over 80 tests" in caplog.text
    assert "at least 3199 rotations" in caplog.text


def test_top_inputs_that_are_most_of_all_are_said_before_work(caplog):
    with caplog.at_level(logging.WARNING):
        planned(rotations=0, rows=160)
        planned(rotations=0, rows=20, reduce="positions")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        planned(rotations=0, rows=20)
    assert "units.k = 16 of 20 inputs of 'one'" in caplog.text and "Take k = 2, or more inputs." in caplog.text


def test_inputs_too_few_for_a_test_are_said_before_work(caplog):
    """Purity takes ten times the top K, kurtosis a hundred."""
    with caplog.at_level(logging.WARNING):
        planned((0, 1, 2), rows=160, metrics=["purity", "kurtosis"])
        planned((0, 1, 2), rows=20, metrics=["purity", "kurtosis"], reduce="positions")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        planned(rows=159, metrics=["purity", "kurtosis"])
    assert "159 images are too few for a test of purity, which then has no figures (160 are needed)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        planned(rows=20, metrics=["purity", "kurtosis"])
    assert "20 images are too few for a test of purity, kurtosis" in caplog.text
    assert "(100 to 160 are needed). Write rotations = 0 for no test." in caplog.text


@pytest.mark.parametrize("name", ["demo", "full"])
def test_the_tests_of_a_shipped_spec_can_come_below_5_percent(name, caplog):
    with caplog.at_level(logging.WARNING):
        plan = prepare(name, "nowhere").plan
    assert any(task.startswith("null/") for task in plan.tasks)
    assert not caplog.records


def test_wildcards_in_layers_are_spelled_out():
    body = {"name": "wild", "datasets": {"one": {}}, "models": {"cnn": {"layers": ["conv*.conv"]}}, "units": {}}
    plan = plan_of(load_spec(body))
    assert plan.tasks["activations/one/cnn/0/00000"].parameters["layers"] == ["conv1.conv", "conv2.conv"]


LAST = dict.fromkeys(("cnn", "mlp", "softmax"), "fc1")


class StubWork:
    """Stands in for the work of a task: one table of tests."""

    def __init__(self, rows):
        blank = {field.name: None for field in tables.ROTATION_TESTS.fields}
        blank |= {"model_seed": 0, "layer": "fc1", "condition": "raw", "control": "trained", "metric": "purity"}
        blank |= {"alpha": 0.0, "rotations": 999, "n": 100}
        self._rows = [blank | row for row in rows]

    def table(self, name):
        return pa.Table.from_pylist(self._rows, tables.ROTATION_TESTS.schema)


def crossed_rows(effect):
    return [
        {"model": model, "dataset": data, "model_seed": seed, "effect": effect(m, d, seed)}
        for m, model in enumerate(("cnn", "mlp", "softmax"))
        for d, data in enumerate(("one", "two", "three"))
        for seed in range(3)
    ]


def test_effects_that_follow_the_data_are_told_to_come_from_the_data():
    rows = crossed_rows(lambda m, d, seed: 5.0 * d + 0.1 * seed)
    answer = model_or_data(StubWork(rows), last_layers=LAST)["model_or_data"].to_pylist()
    shares = {row["name"]: row for row in answer if row["figure"] == "share"}
    assert shares["data"]["value"] > 0.99
    assert shares["data"]["low"] <= shares["data"]["value"] <= shares["data"]["high"]
    assert shares["data"]["p"] < 0.05 < shares["model"]["p"]
    assert all("The outcome comes from the data" in row["sentence"] for row in answer if row["metric"] == "purity")
    means = {row["name"]: row["value"] for row in answer if row["figure"] == "data"}
    assert means == pytest.approx({"one": 0.1, "two": 5.1, "three": 10.1})


def test_a_layer_with_dead_units_counts_without_them_and_with_them():
    dead = crossed_rows(lambda m, d, seed: -50.0 * m + 0.1 * seed)
    alive = [row | {"condition": "live"} for row in crossed_rows(lambda m, d, seed: 5.0 * d + 0.1 * seed)]
    answer = model_or_data(StubWork([*alive[:5], *dead, *alive[5:]]), last_layers=LAST)["model_or_data"].to_pylist()
    sentences = {row["condition"]: row["sentence"] for row in answer if row["metric"] == "purity"}
    assert sentences["live"].startswith(
        "purity (without dead or saturated units, which 27 of 27 layers have): The outcome comes from the data: "
    )
    assert sentences["live"].endswith(" With all units: The outcome comes from the model.")
    assert sentences["raw"].startswith("purity (all units): The outcome comes from the model: ")
    assert all(row["n"] == 27 for row in answer if row["metric"] == "purity")
    over_all = {(row["condition"], row["name"]): row for row in answer if row["metric"] == "all"}
    assert (over_all["live", "data"]["value"], over_all["live", "model"]["value"]) == (1, 0)
    assert (over_all["raw", "data"]["value"], over_all["raw", "model"]["value"]) == (0, 1)
    assert over_all["raw", "data"]["sentence"].startswith(
        "Of 1 score, with all units, the model explains a part of the effects in 1 (median share 100%)"
    )


def test_the_answer_without_dead_units_takes_the_other_layers_as_they_are():
    rows = crossed_rows(lambda m, d, seed: 5.0 * d + 0.1 * seed)
    alive = [row | {"condition": "live", "effect": 40.0} for row in rows[:1]]
    answer = model_or_data(StubWork([*alive, *rows]), last_layers=LAST)["model_or_data"].to_pylist()
    means = {(r["condition"], r["name"]): r["value"] for r in answer if r["figure"] == "data"}
    assert means["raw", "one"] == pytest.approx(0.1)
    assert means["live", "one"] == pytest.approx(0.1 + 40 / 9)
    assert means["live", "two"] == means["raw", "two"]


def test_two_judges_of_a_score_get_an_answer_each():
    rows = [
        row | {"metric": "intruder", "judge": judge}
        for judge, by_model in (("encoder", 5.0), ("pixels", 0.0))
        for row in crossed_rows(lambda m, d, seed, by=by_model: by * m + (5.0 - by) * d + 0.1 * seed)
    ]
    answer = model_or_data(StubWork(rows), last_layers=LAST)["model_or_data"]
    assert duplicates(answer, tables.MODEL_OR_DATA.key) == 0
    sentences = {row["judge"]: row["sentence"] for row in answer.to_pylist()}
    assert sentences["encoder"].startswith("intruder: The outcome comes from the model: ")
    assert sentences["pixels"].startswith("intruder judged by pixels: The outcome comes from the data: ")
    assert sentences[None].startswith("Of 2 scores, with all units, ")


def test_seeds_that_gave_one_network_are_named():
    rows = crossed_rows(lambda m, d, seed: 5.0 * d + (0.0 if m == 2 else 0.1 * seed))
    answer = model_or_data(StubWork(rows), last_layers=LAST)["model_or_data"].to_pylist()
    assert answer[-1]["sentence"].endswith(
        "All seeds of softmax gave the same network: they add nothing to the intervals."
    )


def test_an_effect_that_is_missing_gives_no_answer_and_says_why():
    rows = crossed_rows(lambda m, d, seed: None if m == d == seed == 0 else 1.0)
    [row] = model_or_data(StubWork(rows), last_layers=LAST)["model_or_data"].to_pylist()
    assert row["value"] is None
    assert row["sentence"].startswith("purity: No answer: 'cnn' on 'one' has no effect (nan)")


def test_networks_too_few_for_the_correction_over_scores_are_told_before_work_and_in_the_answer(caplog):
    with caplog.at_level(logging.WARNING):
        planned((0, 1))
        planned((0, 1, 2))
    [told] = [record.getMessage() for record in caplog.records if "are too few for an answer" in record.getMessage()]
    assert told == (
        "units: 2 models on 2 data sets with 2 seeds are too few for an answer of the model and the data: Holm's "
        "correction over 10 scores cannot come below 5 %. Take 3 seeds or more."
    )
    rows = [row for row in crossed_rows(lambda m, d, seed: 100.0 * m + 0.1 * seed + d) if row["model"] != "softmax"]
    scored = [row | {"metric": metric} for metric in ("purity", "auroc") for row in rows if row["model_seed"] < 2]
    over_all, *_ = model_or_data(StubWork(scored), last_layers=LAST)["model_or_data"].to_pylist()
    assert over_all["sentence"].endswith("seeds 0%.")  # of 12 networks
    few = [row for row in scored if row["dataset"] != "three"]
    over_all, *_ = model_or_data(StubWork(few), last_layers=LAST)["model_or_data"].to_pylist()
    assert over_all["sentence"].endswith(
        " Of 8 networks nothing can be found for the model and the data after Holm's correction over 2 scores: "
        "take more seeds."
    )


def row_of(control, effect, p, half=None):
    high, low = (p / 2, 1.0) if effect > 0 else (1.0, p / 2)
    figures = {"natural": 0.5 + effect / 10, "null_mean": 0.5, "null_sd": 0.1, "p_high": high, "p_low": low, "p_two": p}
    if half is not None:
        figures |= {"low": effect / 10 - half, "high": effect / 10 + half}
    return {"dataset": "one", "model": "cnn", "control": control, "effect": effect, "metric": "auroc"} | figures


@pytest.mark.parametrize(
    ("effect", "p", "told"), [(-9.0, 0.002, True), (9.0, 0.002, False), (-1.0, 0.4, False)], ids=str
)
def test_a_verdict_says_where_its_control_differs_as_well(effect, p, told):
    rows = [row_of("trained", -12.0, 0.002), row_of("shuffled_labels", effect, p), row_of("random_init", effect, p)]
    found = correction(StubWork(rows), family="network")["rotation_tests"].to_pylist()
    assert found[0]["verdict"].startswith("Units are less selective than rotations")
    same = "such a difference too, \u22120.9 (\u22129.0 null standard deviations): not all of it"
    assert (f"Shuffled labels give {same} is of the classes." in found[0]["verdict"]) == told
    assert (f"The untrained network has {same} was learned." in found[0]["verdict"]) == told
    assert not any("too, " in row["verdict"] for row in found[1:])


@pytest.mark.parametrize(
    ("half", "told"),
    [
        (0.1, "what lies beyond, \u22120.3 (95 % interval \u22120.441 to \u22120.159), is of the classes."),
        (0.3, "nothing shows that any of it is of the classes."),
    ],
    ids=str,
)
def test_what_lies_beyond_a_control_is_told_with_its_interval(half, told):
    rows = [row_of("trained", -12.0, 0.002, half), row_of("shuffled_labels", -9.0, 0.002, half)]
    found = correction(StubWork(rows), family="network")["rotation_tests"].to_pylist()
    assert found[0]["verdict"].endswith(told)


@pytest.mark.parametrize("family", ["metric", "run"])
def test_a_control_that_two_models_share_is_corrected_for_once(family):
    """Two weights files of one architecture have one untrained network, whose test stood in the family twice."""
    rows = [row_of("random_init", 4.0, 0.01) | {"model": model} for model in ("first", "second")]
    rows.append(row_of("random_init", 3.0, 0.04) | {"model": "third"})
    found = correction(StubWork(rows), family=family)["rotation_tests"].to_pylist()
    assert [row["p_holm"] for row in found] == pytest.approx([0.02, 0.02, 0.04])
    apart = [rows[0], rows[1] | {"null_mean": 0.51}, rows[2]]
    found = correction(StubWork(apart), family=family)["rotation_tests"].to_pylist()
    assert [row["p_holm"] for row in found] == pytest.approx([0.03, 0.03, 0.04])


def test_tests_without_spread_are_not_taken_for_one():
    rows = [row_of("random_init", 4.0, 0.01) | {"model": model, "null_sd": 0.0} for model in ("first", "second")]
    found = correction(StubWork(rows), family="run")["rotation_tests"].to_pylist()
    assert [row["p_holm"] for row in found] == pytest.approx([0.02, 0.02])
