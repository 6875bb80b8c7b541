import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from intriguing import open_run, tables
from intriguing.errors import InputError, StoreError
from intriguing.report import Context
from intriguing.stages import STAGES
from intriguing.sweep.report import write_report
from tests.keys import duplicates
from tests.synthetic_run import NASTY, SyntheticRun, images

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Document(HTMLParser):
    """What a page holds: elements with their attributes, text, and tags that do not nest."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.open, self.faults = [], [], [], []
        self.feed(html)
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element, near {self.getpos()}")

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def rewrite(root, table, column, value):
    """Another `value` of each row in a column of a table."""
    for shard in (root / "tables" / table).glob("*.parquet"):
        rows = pq.read_table(shard)
        place, field = rows.schema.get_field_index(column), rows.schema.field(column)
        new = pa.array([value(row) for row in rows.to_pylist()], field.type)
        pq.write_table(rows.set_column(place, field, new), shard)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Names with quotes and HTML, two data sets, two layers, two seeds of one model."""
    root = tmp_path_factory.mktemp("runs") / "run"
    writer = SyntheticRun(
        root,
        datasets=("glyphs", '<b>"second"</b>'),
        models=("007", NASTY),
        layers=("hidden", 'a/b "<i>'),
        seeds={"007": (1, 2)},
    )
    return writer.write()


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return write_report(run, tmp_path_factory.mktemp("pages") / "report.html", images).read_text()


@pytest.fixture(scope="module")
def document(html):
    return Document(html)


@pytest.fixture
def small(tmp_path):
    return SyntheticRun(tmp_path / "run", models=("FC10", "007"), layers=("hidden",))


def test_the_page_is_well_formed_and_its_ids_are_unique(document):
    assert document.faults == []
    ids = Counter(attributes["id"] for _, attributes in document.elements if "id" in attributes)
    assert [name for name, n in ids.items() if n > 1 and not re.fullmatch(r"[mp][0-9a-f]{10}", name)] == []


def test_the_page_needs_no_network_and_runs_no_scripts(document, html):
    assert document.all("script") == []
    addresses = [a[k] for _, a in document.elements for k in ("src", "href", "xlink:href") if k in a]
    assert len(addresses) > 100
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not any(name.startswith("on") for _, attributes in document.elements for name in attributes)


def test_names_of_any_characters_are_escaped(document, html):
    assert "<script>" not in html
    assert NASTY in document.words
    assert '<b>"second"' not in html
    assert '<b>"second"</b>' in document.words
    assert 'a/b "<i>' in document.words


def test_every_picture_and_figure_has_a_text_alternative(document):
    assert all(len(attributes["alt"]) > 10 for attributes in document.all("img"))
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 10 for attributes in document.all("svg"))
    assert len(document.all("svg")) >= 4


def test_the_contents_link_to_every_section(document):
    links = [a["href"][1:] for a in document.all("a") if a["href"] != "#main"]
    assert links == [section["id"] for section in document.all("section")]
    assert links == ["overview", "units", "unit-tests", "blind-spots", "distortions", "transfer", "words"]


def test_headers_of_tables_have_a_scope(document):
    assert all("scope" in attributes for attributes in document.all("th"))


def test_the_page_follows_light_and_dark(html):
    assert "prefers-color-scheme: dark" in html
    assert "currentColor" in html
    assert "var(--accent)" in html.split("</style>", 1)[1]
    assert "#0708" not in html


def test_the_same_run_gives_the_same_page(small):
    first = write_report(small.write()).read_text()
    assert write_report(small.root).read_text() == first


def test_models_with_several_seeds_are_told_apart(document):
    assert "007#1" in document.words
    assert "007#2" in document.words


def test_top_images_stand_side_by_side_for_every_model_and_layer(document):
    alts = [attributes["alt"] for attributes in document.all("img")]
    tiles = [alt for alt in alts if re.match(r"(unit|direction) \d+, rank \d+: image \d+ of class \d, value", alt)]
    # 2 data sets, 3 models, 2 layers, 2 bases, 8 directions, 8 ranks.
    assert len(tiles) == 2 * 3 * 2 * 2 * 8 * 8
    assert sum(tile.startswith("unit") for tile in tiles) == len(tiles) // 2
    assert document.words.count("8 of 16 units shown.") == 12


def test_the_first_tile_is_the_top_ranked_image(run, document):
    top = open_run(run).pandas("topk", basis="natural", direction=0, sign=1, rank=1, dataset="glyphs", layer="hidden")
    first = next(a["alt"] for a in document.all("img") if a["alt"].startswith("unit 0, rank 1:"))
    assert f"image {top.example_id[0]} of class" in first


def test_strips_show_image_change_and_result(document):
    alts = [attributes["alt"] for attributes in document.all("img")]
    assert sum(alt.startswith("adversarial image, taken for class") for alt in alts) == 2 * 3 * 6
    assert sum(alt.startswith("the change, at most 0.") for alt in alts) == 2 * 3 * 6


def test_verdicts_are_plain_sentences(document):
    purity = "No evidence that single units score higher by purity than rotations, or lower: 0.71 against 0.706"
    assert purity in document.words
    assert "Single units score higher by kurtosis than rotations: 2.9 against 2.6" in document.words


def test_word_tables_show_four_words_of_each_condition_and_basis(document):
    assert document.words.count("<b> & $a$ 007") == 4
    for row in ("1 million site come files million site come files −0.10 40 230", "2 wars troops border between been"):
        assert row in document.words


def test_word_tests_have_a_verdict_a_line_per_judge_and_their_controls(document):
    assert "Nothing <b>new</b> was found." in document.words
    assert "NPMI −0.156 −0.166 ± 0.013 0.77 0.55 1.0 2.8 6.5 * 1 of 5" in document.words
    assert "After Holm's correction over all tests anything differs in 1 of 5 deals." in document.words
    assert "intruders by NPMI, of 200 lists 30.0 % 16.7 %" in document.words


def test_raw_and_normalised_vectors_are_compared_above_words_of_the_same_counts_alone(document):
    compared = "raw vectors 0.021 (rotations 0.019 ± 0.004); normalised vectors 0.021 (rotations 0.019 ± 0.004)."
    assert f"Compared through NPMI above that of random words of the same counts: {compared}" in document.words


def test_images_that_were_left_out_are_told_with_their_reasons(small, tmp_path):
    root = small.write("plan", "examples", "model_rows", "skipped")
    page = Document(write_report(root, tmp_path / "report.html", images).read_text())
    assert page.faults == []
    assert "not finite: 6, counted once for each model." in page.words
    assert "FC10 2 the input is not finite 70 FC10 1 cannot be read: a/b" in page.words.replace("# ", "#")
    assert "Each line shows" not in page.words
    small.write("topk")
    assert "Each line shows" in write_report(root, tmp_path / "report.html", images).read_text()


def test_word_norms_are_drawn_against_counts_and_what_was_skipped_is_told(document):
    assert "Spearman's rank correlation is 0.83 over 4 000 words" in document.words
    assert "12 empty lines" in document.words
    assert "split lines" not in document.words
    assert "several threads: not reproducible" in document.words


def test_coverage_constant_vectors_and_normal_forms_are_told(small, tmp_path, document):
    assert "3 055 of 4 000 words were judged: the others are missing" in document.words
    assert "3 vectors whose numbers are all equal, as in a row of zeros; 1 200 words matched" in document.words
    root = small.write("plan", "words")
    for shard in (root / "tables" / "word_vectors").glob("*.parquet"):  # as runs wrote it before
        pq.write_table(pq.read_table(shard).drop_columns("remarks"), shard)
    assert open_run(root).table("word_vectors")["remarks"].to_pylist() == [None]
    older = Document(write_report(root, tmp_path / "report.html", images).read_text())
    assert "3 055 of 4 000 words were judged" in older.words and "all equal" not in older.words


def test_the_matrix_shows_rates_with_intervals_noise_and_clean_images(small):
    html = write_report(small.write("plan", "model_rows", "searched")).read_text()
    matrix = open_run(small.root).transfer_matrix(kind="gaussian")
    rate, low, high = (100 * frame.loc["FC10", "007"] for frame in (matrix, matrix.attrs["low"], matrix.attrs["high"]))
    words = Document(html).words
    assert f"{rate:.1f} [{low:.1f}, {high:.1f}] of 21" in words
    assert "100.0 [84.5, 100.0] of 21" in words
    assert "Unchanged images 0.0 [0.0, 13.8] of 24" in words
    assert "though the search saw it do so" not in words


def test_an_own_image_that_does_not_fool_its_model_raises_an_alarm(small):
    small.write("plan", "searched")
    extra = tables.TRANSFER.build(
        {"search_id": ["untargeted:best:0"], "example_id": [0]},
        dataset="glyphs",
        source_model="FC10",
        source_seed=1,
        model="FC10",
        model_seed=1,
        kind="minimal",
        rms=0.1,
        clipped_fraction=0.0,
        grade="best",
        target_rule="untargeted",
        label=0,
        prediction=0,
        is_error=False,
    )
    small.add("transfer", extra)
    small.write("examples")
    words = Document(write_report(small.root).read_text()).words
    assert "though the search saw it do so: FC10 (1 of 22). On one kind of device this is a fault" in words


def change_rows(root, wrong, unfed=()):
    """The tables as they are when each model is `wrong` on these images unchanged, and some were not fed them."""
    for shard in sorted((root / "tables" / "distortions").glob("*.parquet")):
        rows = pq.read_table(shard).to_pylist()
        for row in rows:
            row["clean_prediction"] = (row["label"] + (row["example_id"] in wrong.get(row["model"], ()))) % 10
        pq.write_table(pa.Table.from_pylist(rows, tables.DISTORTIONS.schema), shard)
    for shard in sorted((root / "tables" / "transfer").glob("*.parquet")):
        rows = pq.read_table(shard).to_pylist()
        for row in (row for row in rows if row["kind"] == "clean"):
            row["is_error"] = row["example_id"] in wrong.get(row["model"], ())
        rows = [row for row in rows if row["kind"] != "clean" or row["model"] not in unfed]
        pq.write_table(pa.Table.from_pylist(rows, tables.TRANSFER.schema), shard)


def words_of(writer):
    return words_of_run(writer.root)


def words_of_run(root):
    return Document(write_report(root).read_text()).words


def test_the_page_says_what_the_images_of_a_matrix_started_from(small):
    small.rules = (("random", "best"),)
    small.write("plan", "model_rows", "searched")
    words = words_of(small)
    assert "Each of its 42 images was made from an image that the model it was made for classified rightly." in words
    assert "Every model got every image right before the change" in words
    assert "(FC10" not in words
    assert "second table" not in words
    change_rows(small.root, {"FC10": [1, 2, 3], "007": [3]})
    words = words_of(small)
    assert (
        "Of its 42 images, 4 were made from images that the model made for got wrong before any change "
        "(FC10 3 of 21, 007 1 of 21)."
    ) in words
    assert "classified rightly" not in words
    assert "models were wrong on some images before it: the second table leaves these out, 1 to 3 per cell." in words
    assert "of 18 (3 left out)" in words
    assert "not fed them unchanged yet" not in words


def test_one_wrong_start_is_told_in_the_singular(small):
    small.rules = (("random", "best"),)
    small.write("plan", "model_rows", "searched")
    change_rows(small.root, {"007": [3]})
    assert "Of its 42 images, 1 was made from an image that the model made for got wrong" in words_of(small)


def test_models_that_were_not_fed_the_unchanged_images_are_not_called_right(small):
    small.write("plan", "model_rows", "searched")
    change_rows(small.root, {}, unfed=["007"])
    words = words_of(small)
    assert "or were not fed them unchanged yet: the second table leaves these out, 0 to 21 per cell." in words
    assert "Every model got every image right" not in words


def test_noise_that_is_not_as_large_as_the_change_is_not_called_so(small):
    small.write("plan", "model_rows", "searched")
    assert "leaves it as large as the search's own changes" in words_of(small)
    rewrite(small.root, "transfer", "rms", lambda row: 0.03 if row["kind"] == "gaussian" else row["rms"])
    assert "Its mean RMS, after clipping to [0, 1], is up to 50 % off that of the changes." in words_of(small)


def test_the_rate_of_success_says_what_it_leaves_out(small):
    small.write("plan", "model_rows", "searched")
    # Of 24 searches of each of two models one needed no change, one could not be made, and 21 found one.
    assert "of searches succeeded, 2 left out whose image needed no change 95.5 %" in words_of(small)
    assert "rightly classified" not in words_of(small).split("Do the same images")[0]
    ended = {"misclassified": "not_found"}
    rewrite(small.root, "distortions", "status", lambda row: ended.get(row["status"], row["status"]))
    assert "of searches succeeded 91.3 %" in words_of(small)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (["untargeted"], "the model gives a wrong class on the unchanged image, so"),
        (["random"], "the model gives the target on the unchanged image, so"),
        (
            ["every", "random"],
            "a wrong class on the unchanged image, or the model gives the target on the unchanged image (random), so",
        ),
    ],
)
def test_what_needs_no_change_is_told_for_the_rules_of_the_run(small, rules, told):
    small.rules = tuple((rule, "best") for rule in rules)
    small.write("plan", "model_rows", "searched")
    assert told in words_of(small)


def test_an_image_that_its_model_got_wrong_before_the_change_shows_what_it_gave_then(small):
    small.rules = (("random", "best"),)
    small.write("plan", "model_rows", "searched")
    assert "before:" not in Document(write_report(small.root, images=images).read_text()).words
    change_rows(small.root, {"007": range(24)})
    words = Document(write_report(small.root, images=images).read_text()).words
    assert words.count("before: ") == 6
    assert "Where the model was wrong on the image before the change" in words


def test_counts_of_one_are_in_the_singular(tmp_path):
    writer = SyntheticRun(tmp_path / "run", models=("007",), layers=("hidden",))
    writer.searches = 1
    words = words_of_run(writer.write("plan", "model_rows", "searched"))
    assert "model 1 search for blind spots 1" in words
    assert "searches for blind spots" not in words
    assert "search for blind spots" in words
    assert "Its one image was made from an image" in words


def test_without_a_control_the_units_stand_alone(small):
    small.write("plan", "model_rows", "topk")
    shown = Document(write_report(small.root, images=images).read_text()).words
    assert "or another direction in the same space (right) responds to" in shown
    for shard in sorted((small.root / "tables" / "topk").glob("*.parquet")):
        rows = pq.read_table(shard)
        pq.write_table(rows.filter([basis == "natural" for basis in rows["basis"].to_pylist()]), shard)
    shown = Document(write_report(small.root, images=images).read_text()).words
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
    shown = Document(write_report(small.root, images=images).read_text()).words
    assert "principal components" in shown
    assert "random directions" not in shown


def test_what_was_not_fed_is_not_spoken_of(small):
    small.write("plan", "model_rows", "searched")
    for shard in sorted((small.root / "tables" / "transfer").glob("*.parquet")):
        rows = pq.read_table(shard)
        pq.write_table(rows.filter([kind == "minimal" for kind in rows["kind"].to_pylist()]), shard)
    words = words_of(small)
    assert "Gaussian noise" not in words
    assert "unchanged images are" not in words
    assert "Unchanged images" not in words


def test_failures_come_first_and_in_red(small):
    small.write("plan", "model_rows", "failures")
    document = Document(write_report(small.root).read_text())
    assert [section["id"] for section in document.all("section")] == ["failures", "overview"]
    assert any(attributes.get("role") == "alert" for attributes in document.all("div"))
    assert "1 task gave up" in document.words
    assert "ModelError : The logits of <i>FC10</i> are not finite." in document.words
    assert "intriguing run synthetic" in document.words


def test_without_images_the_page_says_so(small):
    document = Document(write_report(small.write("plan", "topk", "searched")).read_text())
    assert document.all("img") == []
    assert document.words.count("written from the run's tables alone, without its data") == 2


def test_an_unfinished_run_is_reported_as_far_as_it_got(small):
    small.write("plan")
    words = Document(write_report(small.root, images=images).read_text()).words
    assert "0 / 42 tasks done: the run is not finished" in " ".join(
        reversed(re.findall(r"0 / 42|tasks done: .*? finished", words))
    )


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
    assert "So says the run <of> 007." in Document(write_report(small.root).read_text()).words


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
    words = Document(write_report(small.root).read_text()).words
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
    assert "purity natural 16" in Document(write_report(small.root).read_text()).words


def test_word_tests_over_all_seeds_and_folds_come_before_single_ones(small):
    small.write("plan", "words")
    rewrite(small.root, "word_tests", "seed", lambda row: -1 if row["condition"] == "raw" else 1)
    rewrite(small.root, "word_tests", "fold", lambda row: -1 if row["condition"] == "raw" else 4)
    words = Document(write_report(small.root).read_text()).words
    pooled, single = words.index("all seeds and folds pooled"), words.index("l2 (seed 1, fold 4).")
    assert pooled < words.index("Every seed and fold in words") < single


def test_searches_that_found_nothing_are_no_error(small):
    small.write("plan", "model_rows", "searched")
    rewrite(small.root, "distortions", "status", lambda row: "not_found")
    shutil.rmtree(small.root / "tables" / "transfer")
    words = Document(write_report(small.root, images=images).read_text()).words
    assert "No search found an adversarial image." in words


def test_ties_are_told(small):
    small.write("plan", "model_rows", "topk")
    rewrite(small.root, "topk", "ties", lambda row: 60 if row["direction"] == 3 else 1)
    words = Document(write_report(small.root, images=images).read_text()).words
    told = "Tied at the last rank that was kept, so what is shown may be partly arbitrary: unit 3 (60 images)."
    assert told in words.replace("( ", "(").replace("images )", "images)")


def test_images_are_asked_for_by_data_set_and_id(small):
    asked = []

    def recorded(dataset, ids):
        asked.append((dataset, ids.dtype, len(set(ids.tolist())) == len(ids)))
        return images(dataset, ids)

    write_report(small.write("plan", "topk", "searched"), images=recorded)
    assert asked
    assert set(asked) == {("glyphs", np.dtype(np.int64), True)}


@pytest.mark.parametrize(
    "bad", [lambda d, ids: np.zeros((len(ids), 28, 28)), lambda d, ids: np.zeros((1, 1, 28, 28), int)]
)
def test_images_of_another_form_are_refused(small, bad):
    small.write("plan", "topk")
    with pytest.raises(InputError, match=r"images\(\) gave"):
        write_report(small.root, images=bad)


def test_colour_images_and_large_ones_are_shown(small):
    def photos(dataset, ids):
        return np.random.default_rng(0).uniform(0, 1, (len(ids), 3, 224, 200)).astype(np.float32)

    small.write("plan", "topk")
    html = write_report(small.root, images=photos).read_text()
    assert html.count("data:image/jpeg") == 2 * 2 * 64
    assert len(html) < 4_000_000


def test_the_page_goes_where_it_is_told_else_into_the_run(small, tmp_path):
    small.write("plan")
    assert write_report(small.root) == small.root / "report.html"
    assert write_report(str(small.root), tmp_path / "a" / "b.html") == tmp_path / "a" / "b.html"
    assert write_report(open_run(small.root), tmp_path / "c.html").exists()
    assert sorted(p.name for p in small.root.iterdir()) == ["plan.json", "report.html"]


def test_a_page_that_cannot_be_written_is_explained(small, tmp_path):
    small.write("plan")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Choose another file with out="):
        write_report(small.root, tmp_path / "file" / "report.html")


def test_a_run_on_an_object_store_needs_a_place_for_its_page(small):
    small.write("plan")
    with pytest.raises(InputError, match="out='report.html'"):
        write_report(small.root.as_uri())


def test_parts_are_independent_of_each_other(small):
    context = Context(open_run(small.write()))
    alone = [stage.page_parts(context) for stage in reversed(STAGES)]
    slugs = [part.slug for parts in reversed(alone) for part in parts]
    assert slugs == ["overview", "units", "unit-tests", "blind-spots", "distortions", "transfer", "words"]


def test_writing_a_report_imports_neither_torch_nor_ray(small):
    small.write("plan")
    code = (
        "import sys; from intriguing.sweep.report import write_report; write_report(sys.argv[1]);"
        "assert not {'torch', 'ray', 'matplotlib.pyplot'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-c", code, str(small.root)], check=True)
