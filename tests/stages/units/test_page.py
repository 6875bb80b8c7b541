"""The unit question on the page: top images, places in an image, and the tests against rotations."""

import base64
import io
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from intriguing import open_run, tables
from intriguing.sweep.report import write_report
from tests.keys import duplicates
from tests.pages import Document, rewrite, words_of
from tests.synthetic_run import images


def test_top_images_stand_side_by_side_for_every_model_and_layer(document):
    alts = [attributes["alt"] for attributes in document.all("img")]
    tiles = [alt for alt in alts if re.match(r"(unit|direction) \d+, rank \d+: image \d+ of class \d, value", alt)]
    # 2 data sets, 3 models, 2 layers, 2 bases, 8 directions, 8 ranks.
    assert len(tiles) == 2 * 3 * 2 * 2 * 8 * 8
    assert sum(tile.startswith("unit") for tile in tiles) == len(tiles) // 2
    assert document.words.count("8 of 16 units shown.") == 12


def test_the_first_tile_is_the_top_ranked_image(invented_run, document):
    top = open_run(invented_run).pandas(
        "topk", basis="natural", direction=0, sign=1, rank=1, dataset="glyphs", layer="hidden"
    )
    first = next(a["alt"] for a in document.all("img") if a["alt"].startswith("unit 0, rank 1:"))
    assert f"image {top.example_id[0]} of class" in first


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
    ("reduce", "cropped"), [("max", ["unit"]), ("mean", []), ("positions", ["unit", "direction"]), (None, ["unit"])]
)
def test_images_are_cut_to_a_place_only_where_a_row_has_one(small, reduce, cropped):
    small.write("plan", "model_rows", "topk")
    columns = {"position": np.arange(4), "top": [0, 0, 14, 14], "bottom": [14, 14, 28, 28], "left": [0, 14, 0, 14]}
    keys = {"dataset": "glyphs", "model": "007", "model_seed": 1, "layer": "hidden"}
    fields = tables.RECEPTIVE_FIELDS.build({**columns, "right": [14, 28, 14, 28]}, **keys)
    small.add("receptive_fields", fields)
    small.write("plan")
    if reduce:
        plan = json.loads((small.root / "plan.json").read_text())
        plan["spec"]["units"]["reduce"] = reduce
        (small.root / "plan.json").write_text(json.dumps(plan))
    document = Document(write_report(small.root, images=images).read_text())
    sizes = {"unit": set(), "direction": set()}
    for tile in document.all("img"):
        picture = Image.open(io.BytesIO(base64.b64decode(tile["src"].partition(",")[2])))
        sizes[tile["alt"].split()[0]].add(picture.size)
    assert [noun for noun, seen in sizes.items() if (14, 14) in seen] == cropped
    said = f"Of each image of a {' or '.join(cropped)} only the part is shown that its place in the map can see."
    assert (said in document.words) == bool(cropped)


def test_principal_components_are_not_called_random(small):
    small.write("plan", "model_rows", "topk")
    rewrite(small.root, "topk", "basis", lambda row: "pca" if row["basis"] == "gaussian" else row["basis"])
    shown = words_of(small.root, images)
    assert "principal components" in shown
    assert "random directions" not in shown


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
    words = words_of(small.root, images)
    told = "Tied at the last rank that was kept, so what is shown may be partly arbitrary: unit 3 (60 images)."
    assert told in words.replace("( ", "(").replace("images )", "images)")
