"""The unit question on the page: top images, places in an image, and the tests against rotations."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from intriguing import open_run, tables
from intriguing.report import Context
from intriguing.stages.units.page import explorer
from intriguing.stages.units.page.explorer.reading import chosen_layers
from intriguing.stages.units.printed import printed
from intriguing.sweep.reporting.page import write_report
from tests.keys import duplicates
from tests.pages import Document, about, numbers, rewrite, words_of
from tests.synthetic_run import SyntheticRun, images


def listed(html, layer=0):
    """The top images of each side of a layer of the explorer: ids (directions, signs, ranks) by basis."""
    explorer = about(html, "units")
    found = explorer["layers"][layer]
    arrays = numbers(html, found["data"])
    ids = np.array(explorer["images"][found["dataset"]]["ids"])
    return {side["basis"]: ids[arrays[f"{i}.image"]] for i, side in enumerate(found["sides"])}


def test_every_unit_stands_beside_a_random_direction_in_every_layer(html):
    layers = about(html, "units")["layers"]
    assert len(layers) == 2 * 3 * 2  # data sets, models, layers
    for layer in layers:
        assert [(side["noun"], side["count"]) for side in layer["sides"]] == [("unit", 16), ("direction", 16)]


def test_the_listed_images_are_those_of_the_table_in_its_order(invented_run, html):
    explorer = about(html, "units")
    number = next(i for i, layer in enumerate(explorer["layers"]) if layer["dataset"] == "glyphs")
    name = explorer["layers"][number]["name"]
    _, model, layer = name.split(" · ")
    chosen = {"dataset": "glyphs", "model": model.split("#")[0], "model_seed": 1, "layer": layer}
    top = open_run(invented_run).pandas("topk", **chosen).sort_values(["direction", "sign", "rank"])
    for basis, found in listed(html, number).items():
        for at, sign in enumerate((1, -1)):
            expected = top[(top.basis == basis) & (top.sign == sign)].example_id.to_numpy().reshape(16, 8)
            np.testing.assert_array_equal(found[:, at], expected)
    images_known = explorer["images"]["glyphs"]
    assert all(images_known["labels"][i] == id_ % 10 for i, id_ in enumerate(images_known["ids"]))


def test_verdicts_are_plain_sentences(document):
    purity = "No evidence that single units score higher by purity than rotations, or lower: 0.71 against 0.706"
    assert purity in document.words
    assert "Single units score higher by kurtosis than rotations: 2.9 against 2.6" in document.words


def test_images_that_were_left_out_are_told_with_their_reasons(small, tmp_path):
    root = small.write("plan", "examples", "model_rows", "skipped")
    page = Document(write_report(root, tmp_path / "report.html", images).read_text())
    assert page.faults == []
    assert "not finite: 6, counted once for each model." in page.words
    assert "FC10 2 the input is not finite 70 FC10 1 cannot be read: a/b" in page.words.replace("# ", "#")
    assert "Each line shows" not in page.words
    small.write("topk")
    assert "Each line shows" in write_report(root, tmp_path / "report.html", images).read_text()


def test_without_a_control_the_units_stand_alone(small):
    small.write("plan", "model_rows", "topk")
    shown = words_of(small.root, images)
    assert "or another direction in the same space (right) responds to" in shown
    for shard in sorted((small.root / "tables" / "topk").glob("*.parquet")):
        rows = pq.read_table(shard)
        pq.write_table(rows.filter([basis == "natural" for basis in rows["basis"].to_pylist()]), shard)
    shown = words_of(small.root, images)
    assert "that a unit of the layer responds to most strongly" in shown
    assert "(right)" not in shown


@pytest.mark.parametrize(
    ("reduce", "places", "placed"),
    [
        ("max", (1,), [True, False]),  # a run from before random directions had places
        ("max", (1, 2), [True, True]),
        ("mean", (0,), [False, False]),
        ("positions", (0,), [True, True]),
        (None, (1,), [True, False]),
    ],
)
def test_units_and_random_directions_have_their_place_by_one_rule(small, reduce, places, placed):
    small.write("plan", "model_rows", "topk")
    columns = {"position": np.arange(4), "top": [0, 0, 14, 14], "bottom": [14, 14, 28, 28], "left": [0, 14, 0, 14]}
    keys = {"dataset": "glyphs", "model": "007", "model_seed": 1, "layer": "hidden"}
    fields = tables.RECEPTIVE_FIELDS.build({**columns, "right": [14, 28, 14, 28]}, **keys)
    small.add("receptive_fields", fields)
    small.write("plan")
    at = {"natural": places[0], "gaussian": places[-1] if len(places) > 1 else 0}
    rewrite(small.root, "topk", "position", lambda row: at[row["basis"]])
    plan = json.loads((small.root / "plan.json").read_text())
    plan["spec"]["units"] |= {"reduce": reduce} if reduce else {}
    (small.root / "plan.json").write_text(json.dumps(plan))
    html = write_report(small.root, images=images).read_text()
    layer = next(layer for layer in about(html, "units")["layers"] if layer["name"].startswith("007"))
    assert [side["placed"] for side in layer["sides"]] == placed
    arrays = numbers(html, layer["data"])
    boxes = {0: [0, 14, 0, 14], 1: [0, 14, 14, 28], 2: [14, 28, 0, 14]}
    for i, basis in enumerate(("natural", "gaussian")):
        if placed[i]:
            assert (arrays["boxes"][arrays[f"{i}.place"]] == boxes[at[basis]]).all()


def test_histograms_scores_and_dead_units_are_those_of_the_tables(small):
    small.write("plan", "model_rows", "topk", "scores")
    keys = {"dataset": "glyphs", "model": "007", "model_seed": 1, "layer": "hidden", "condition": "raw"}
    keys |= {"basis": "natural", "rotation_seed": 0, "n": 80}
    counts = np.random.default_rng(0).integers(0, 9, (16, 4))
    columns = {"direction": np.arange(16), "low": np.arange(16) / 2, "high": np.arange(16) + 1.0}
    columns |= {"counts": counts.tolist(), "zeros": [80, *range(15)]}
    small.add("unit_histograms", tables.UNIT_HISTOGRAMS.build(columns, **keys))
    dead = {"direction": np.arange(16), "value": np.array([1.0] + [0.0] * 15)}
    small.add("unit_scores", tables.UNIT_SCORES.build(dead, **keys, metric="dead", judge=None))
    root = small.write("plan")
    html = write_report(root, images=images).read_text()
    layer = next(layer for layer in about(html, "units")["layers"] if layer["name"].startswith("007"))
    arrays = numbers(html, layer["data"])
    np.testing.assert_array_equal(arrays["0.counts"], counts)
    np.testing.assert_array_equal(arrays["0.ends"][:, 1], np.arange(16) + 1.0)
    assert layer["sides"][0]["flags"] == {"dead": 1}
    assert layer["sides"][0]["silent"] == 1
    assert arrays["0.flag.dead"].tolist() == [1] + [0] * 15
    purity = open_run(root).pandas("unit_scores", metric="purity", **{k: keys[k] for k in ("model", "basis", "layer")})
    low, high = layer["sides"][0]["scores"]["purity"]
    found = low + arrays["0.score.purity"] / 65_534 * (high - low)
    np.testing.assert_allclose(found, purity.sort_values("direction").value, atol=1e-5)
    assert "007 · hidden 16 1 0" in Document(html).words


def test_a_large_run_loses_images_then_layers_and_says_so(small, monkeypatch):
    small.write("plan", "model_rows", "topk")
    monkeypatch.setattr(explorer, "_NUMBERS", 6_400)
    words = words_of(small.root, images)
    assert "of the 8 images listed for a direction 5 are here" in words
    monkeypatch.setattr(explorer, "_NUMBERS", 1)
    assert "1 layer of this run is not here" in words_of(small.root, images)


def test_where_few_layers_fit_every_model_has_some(tmp_path):
    """Of 20 networks with 50 layers each the page showed all layers of the first, and none of the others."""
    root = SyntheticRun(tmp_path / "run", models=("a", "b"), layers=("h1", "h2")).write("plan", "model_rows", "topk")
    context = Context(open_run(root))
    fitting = (chosen_layers(context, limit) for limit in range(1_000, 20_000, 500))
    two = next(chosen for chosen in fitting if len(chosen.layers) == 2)
    assert [(key["model"], key["layer"]) for key, _ in two.layers] == [("a", "h1"), ("b", "h1")]
    assert (two.images, two.left_out) == (3, 2)


def test_principal_components_are_not_called_random(small):
    small.write("plan", "model_rows", "topk")
    rewrite(small.root, "topk", "basis", lambda row: "pca" if row["basis"] == "gaussian" else row["basis"])
    html = write_report(small.root, images=images).read_text()
    titles = {side["title"] for layer in about(html, "units")["layers"] for side in layer["sides"]}
    assert titles == {"single units", "principal components"}


def test_a_score_of_a_whole_basis_stands_in_the_table_alone(small):
    small.write("plan", "model_rows", "scores")
    keys = {
        "dataset": "glyphs",
        "model": "007",
        "model_seed": 1,
        "layer": "hidden",
        "condition": "raw",
        "basis": "natural",
    }
    keys |= {"basis": "natural", "rotation_seed": 0, "direction": -1, "metric": "mean cosine", "value": 0.7531, "n": 80}
    keys |= {"judge": None}
    small.add("unit_scores", tables.UNIT_SCORES.build({}, **keys))
    small.write("plan")
    html = write_report(small.root).read_text()
    assert "mean cosine natural whole basis 0.753" in Document(html).words
    assert "mean cosine · natural" not in html


def test_a_verdict_that_the_run_wrote_is_shown_as_it_is(small):
    small.write("plan", "model_rows", "scores")
    rewrite(small.root, "rotation_tests", "verdict", lambda row: f"So says the run <of> {row['model']}.")
    assert "So says the run <of> 007." in words_of(small.root)


def test_p_of_exactly_five_percent_is_a_finding_in_mark_and_sentence(small):
    small.write("plan", "model_rows", "scores")
    rewrite(small.root, "rotation_tests", "p_holm", lambda row: 0.05 if row["metric"] == "kurtosis" else 1.0)
    html = write_report(small.root).read_text()
    assert html.count('<li class="higher">Single units score higher by kurtosis than rotations') == 2
    assert "higher by kurtosis than rotations, or lower" not in html


def test_units_beyond_all_of_too_few_rotations_are_undecided_and_not_without_evidence(small):
    """39 rotations and 20 tests: eleven null standard deviations off were told as "no evidence"."""
    small.write("plan", "model_rows", "scores")
    rewrite(small.root, "rotation_tests", "p_holm", lambda row: 1.0)
    rewrite(small.root, "rotation_tests", "p_high", lambda row: 1 / (row["rotations"] + 1))
    words = words_of(small.root)
    assert "Undecided whether single units are heavier-tailed than random directions" in words
    assert "No evidence that single units are heavier-tailed" not in words


def test_the_judge_of_a_score_is_named_where_it_is_not_the_first(small):
    small.write("plan", "model_rows", "scores")
    for table in ("rotation_tests", "unit_scores"):
        rewrite(small.root, table, "judge", lambda row: {"purity": "pixels", "kurtosis": "encoder"}[row["metric"]])
    words = words_of(small.root)
    assert "higher by purity (judged by pixels) than rotations" in words
    assert "purity (judged by pixels) natural 16" in words
    assert "kurtosis (judged" not in words


def test_a_run_of_before_the_column_of_judges_is_shown_as_it_was(small):
    small.write("plan", "model_rows", "scores")
    for shard in small.root.glob("tables/*/*.parquet"):
        rows = pq.read_table(shard)
        if "judge" in rows.column_names:
            pq.write_table(rows.drop_columns("judge"), shard)
    run = open_run(small.root)
    for name in ("rotation_tests", "unit_scores"):
        table = run.table(name)
        assert table["judge"].null_count == len(table) > 0
        assert duplicates(table, tables.named(name).key) == 0
    assert "purity natural 16" in words_of(small.root)


def test_ties_are_told(small):
    small.write("plan", "model_rows", "topk")
    rewrite(small.root, "topk", "ties", lambda row: 60 if row["direction"] == 3 else 1)
    html = write_report(small.root, images=images).read_text()
    ties = numbers(html, about(html, "units")["layers"][0]["data"])["0.ties"]
    assert ties[:, 0].tolist() == [1, 1, 1, 60, *[1] * 12]


def test_an_answer_says_in_words_what_was_found_and_what_its_measure_is(small):
    small.write("plan", "model_rows", "scores")
    words = words_of(small.root)
    said = "Single units are heavier-tailed than random directions of the same layer in 2 of 2 layers tested; whether"
    assert f"{said} those of an untrained network are so too was not tested." in words
    assert "Kurtosis: how heavy the tails of a direction's values are" in words
    assert (
        "No evidence that single units are purer than random directions of the same layer, or less so, in any" in words
    )


def test_of_layers_that_disagree_the_effect_of_each_side_is_told_by_name(small):
    """The median of effects of both signs said nothing about any layer."""
    small.write("plan", "model_rows", "scores")
    turned = {"natural": 2.3, "null_mean": 2.6, "low": -0.35, "high": -0.25, "p_high": 0.998, "p_low": 0.002}
    for column, value in (turned | {"effect": -6.5}).items():
        rewrite(
            small.root,
            "rotation_tests",
            column,
            lambda row, column=column, value=value: (
                value if row["model"] == "007" and row["metric"] == "kurtosis" else row[column]
            ),
        )
    words = words_of(small.root)
    assert "than random directions of the same layer in 1 of 2 layers tested, and lighter-tailed in 1" in words
    assert "+6.0 effect in FC10 · hidden, where units are heavier-tailed, in standard deviations of the" in words
    assert "and −6.5 in 007 · hidden, where they are lighter-tailed" in words
    assert "(95 % interval over inputs −7.0 to −5.0; Holm's p = " in words


def test_beside_the_spread_of_scores_it_is_told_what_they_and_the_tests_rest_on(small):
    """Ten directions drawn once had 0.85 where the rotations of the test had 0.683: it looked like a contradiction."""
    small.write("plan", "model_rows", "scores")
    rewrite(small.root, "unit_scores", "n", lambda row: 2000)
    words = words_of(small.root)
    [n], [rotations] = (
        {row[name] for row in open_run(small.root).table("rotation_tests").to_pylist()} for name in ("n", "rotations")
    )
    assert "each diamond is their mean, of 16 natural, 16 gaussian directions by up to 2 000 inputs." in words
    assert f"The tests compare with {rotations} whole rotations by up to {n} inputs: their means are others." in words


def test_an_untrained_control_that_two_models_share_is_told_on_the_page_and_in_text(small):
    """Two weights files of one architecture: the same figures stood under both names as if they were two controls."""
    small.write("plan", "model_rows", "scores")
    assert "share one" not in words_of(small.root)
    rewrite(small.root, "rotation_tests", "control", lambda row: "random_init")
    said = "Of the untrained networks (random_init), FC10 and 007 share one: they have the same architecture and seed"
    assert said in words_of(small.root) and said in printed(open_run(small.root))
    rewrite(small.root, "rotation_tests", "null_mean", lambda row: 0.7 if row["model"] == "007" else row["null_mean"])
    assert "share one" not in words_of(small.root) + printed(open_run(small.root))
