"""Transfer on the page: the matrix, its denominators, noise, and alarms."""

import pyarrow.parquet as pq

from intriguing import open_run, tables
from intriguing.sweep.report import write_report
from tests.pages import Document, change_rows, rewrite, words_of


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
        size=None,
    )
    small.add("transfer", extra)
    small.write("examples")
    words = words_of(small.root)
    assert "though the search saw it do so: FC10 (1 of 22). On one kind of device this is a fault" in words


def test_the_page_says_what_the_images_of_a_matrix_started_from(small):
    small.rules = (("random", "best"),)
    small.write("plan", "model_rows", "searched")
    words = words_of(small.root)
    assert "Each of its 42 images was made from an image that the model it was made for classified rightly." in words
    assert "Every model got every image right before the change" in words
    assert "(FC10" not in words
    assert "second table" not in words
    change_rows(small.root, {"FC10": [1, 2, 3], "007": [3]})
    words = words_of(small.root)
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
    assert "Of its 42 images, 1 was made from an image that the model made for got wrong" in words_of(small.root)


def test_models_that_were_not_fed_the_unchanged_images_are_not_called_right(small):
    small.write("plan", "model_rows", "searched")
    change_rows(small.root, {}, unfed=["007"])
    words = words_of(small.root)
    assert "or were not fed them unchanged yet: the second table leaves these out, 0 to 21 per cell." in words
    assert "Every model got every image right" not in words


def test_noise_that_is_not_as_large_as_the_change_is_not_called_so(small):
    small.write("plan", "model_rows", "searched")
    assert "leaves it as large as the search's own changes" in words_of(small.root)
    rewrite(small.root, "transfer", "rms", lambda row: 0.03 if row["kind"] == "gaussian" else row["rms"])
    assert "Its mean RMS, after clipping to [0, 1], is up to 50 % off that of the changes." in words_of(small.root)


def test_what_was_not_fed_is_not_spoken_of(small):
    small.write("plan", "model_rows", "searched")
    for shard in sorted((small.root / "tables" / "transfer").glob("*.parquet")):
        rows = pq.read_table(shard)
        pq.write_table(rows.filter([kind == "minimal" for kind in rows["kind"].to_pylist()]), shard)
    words = words_of(small.root)
    assert "Gaussian noise" not in words
    assert "unchanged images are" not in words
    assert "Unchanged images" not in words
