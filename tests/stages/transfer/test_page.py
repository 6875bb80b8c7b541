"""Transfer on the page: the matrix, its denominators, noise, and alarms."""

import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from intriguing import open_run, tables
from intriguing.report import Context
from intriguing.report.text import number, percent
from intriguing.stages.transfer.printed import printed
from intriguing.stages.transfer.similarity import by_similarity
from intriguing.stages.transfer.verdicts import verdicts
from intriguing.sweep.reporting.page import write_report
from tests.pages import Document, change_rows, rewrite, words_of
from tests.results.test_rays import follow


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
        "Of its 42 images, 4 were made from images that the model made for got wrong before any change: "
        "FC10 3 of 21; 007 1 of 21."
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


@pytest.fixture
def followed(small):
    """A run with rays in two grades: images of 007 never fool FC10, and `fast` needs larger changes than `best`."""
    small.rules = (("untargeted", "best"), ("untargeted", "fast"))
    small.write("plan", "model_rows", "searched")
    for grade, factor in (("best", 1.0), ("fast", 0.5)):
        for source, target, crossing in (
            ("FC10", "FC10", 0.02),
            ("FC10", "007", 0.06),
            ("007", "FC10", np.inf),
            ("007", "007", 0.03),
        ):
            follow(small, source, target, [crossing * factor] * 24, grade)
    for model in ("FC10", "007"):
        follow(small, "", model, [np.inf] * 24, kind="gaussian")
    small.write("examples")
    return small.root


def test_the_page_has_the_sizes_that_fool_half_of_the_time_and_the_curves(followed):
    html = write_report(followed).read_text()
    page = Document(html)
    assert page.faults == []
    words = page.words
    assert "How large must a change be to fool another model?" in words
    assert "Of 84 rays, 21 never fool the model" in words
    assert "FC10 0.0200 0.0600" in words
    assert "007 never 0.0300" in words
    assert "on some rays end inside the box" in words
    assert "a panel per model fed" in html
    assert "95 % interval 0.0600 to 0.0600, 21 images" in page.told and "intervals in the cells" in words


def test_the_page_and_the_text_answer_whether_a_better_search_transfers_less(followed):
    words = words_of(followed)
    # At 0.05 none of 21 images of `best` fools 007, and each of `fast` does.
    assert "image by image it fools other models less in 1 and more in 0 of 6 comparisons" in words
    text = printed(open_run(followed))
    assert "RMS that fools half of the time, made for" in text
    assert "never  0.0300" in text
    assert "(own)" in text and "(noise)" in text
    assert "Does a better search transfer less?" in text


def test_the_verdict_compares_with_noise_of_the_same_size(followed):
    said = verdicts(Context(open_run(followed)))
    assert [verdict.sentence for verdict in said] == [
        "Enlarged, changes made to fool one network into any wrong class fool others significantly more often than "
        "noise of the same size."
    ] * 2
    # So large a change is not what was found: the answer says how much larger, and what the changes do as found.
    fed = open_run(followed).pandas("transfer", target_rule="untargeted", grade="best")
    fed = fed[fed["source_model"] != fed["model"]]
    found, noise = (fed[fed["kind"] == kind] for kind in ("minimal", "gaussian"))
    median = found["rms"].median()
    enlarged = f"({number(0.1 / median, 2)} times the median change as found, {number(median)} over all searches)"
    assert f"at RMS 0.10 {enlarged}" in said[0].measure
    rates = [percent(part["is_error"].mean()) for part in (found, noise)]
    assert f"they make {rates[0]} % of answers wrong, and noise of their size {rates[1]} % (" in said[0].meaning
    assert "Half of them" not in said[0].meaning  # half of them never do
    # Of 42 pairs of an image and another model half are fooled at RMS 0.1, and none by noise.
    assert said[0].value == "+50.0"
    assert "noise of that size: 50.0 % against 0.0 %, over all pairs" in said[0].measure
    assert said[0].interval.endswith("; 21 images that both networks of a pair get right unchanged")
    # Two tests: Holm's correction doubles the least p-value of 1,000 resamples.
    assert "Holm's p = 0.004, both by a bootstrap over images" in said[0].interval


def test_the_verdict_says_from_which_size_half_of_the_changes_fool_another_network(small):
    small.write("plan", "model_rows", "searched")
    for source, target in (("FC10", "007"), ("007", "FC10")):
        follow(small, source, target, [0.06] * 24)
        follow(small, source, source, [0.01] * 24)
        follow(small, "", target, [np.inf] * 24, kind="gaussian")
    small.write("examples")
    said = verdicts(Context(open_run(small.root)))
    assert "Half of them fool another network from RMS 0.060 on; of noise less than half does at any size." in (
        said[0].meaning
    )


@pytest.mark.parametrize(
    ("found", "who"), [(0.12, "Made smaller, c"), (0.105, "C"), (0.095, "C"), (0.08, "Enlarged, c")]
)
def test_the_verdict_says_whether_changes_were_scaled_and_that_noise_may_fool_more_often(small, found, who):
    small.write("plan", "model_rows", "searched")
    for source, target in (("FC10", "007"), ("007", "FC10")):
        follow(small, source, target, [np.inf] * 24)
        follow(small, source, source, [0.01] * 24)
        follow(small, "", target, [0.06] * 24, kind="gaussian")
    small.write("examples")
    rewrite(small.root, "transfer", "rms", lambda row: found if row["kind"] == "minimal" else row["rms"])
    (said,) = verdicts(Context(open_run(small.root)))
    assert said.sentence == (
        f"{who}hanges made to fool one network into any wrong class fool others significantly less often than noise of "
        "the same size."
    )


def test_the_interval_of_the_verdict_is_that_of_a_share_of_its_images(small):
    """Every other image fools the other network: a resample of n images has a binomial number of those that do."""
    small.write("plan", "model_rows", "searched")
    follow(small, "FC10", "007", [0.06, np.inf] * 12)
    follow(small, "FC10", "FC10", [0.01] * 24)
    follow(small, "", "007", [np.inf] * 24, kind="gaussian")
    small.write("examples")
    (said,) = verdicts(Context(open_run(small.root)))
    interval = re.match(r"95 % interval \+([\d.]+) to \+([\d.]+); .*; (\d+) images", said.interval)
    assert interval is not None
    low, high, images = map(float, interval.groups())
    share = float(said.value) / 100
    rng = np.random.default_rng(0)
    more, less = rng.poisson(1, (2, 10_000))
    excess = (rng.binomial(int(images), share, 10_000) + more - less) / (images + more + less)
    assert 0.4 < share < 0.6 and low < high
    assert [low, high] == pytest.approx(100 * np.quantile(excess, [0.025, 0.975]), abs=100 / images + 0.1)


def test_a_few_images_are_no_verdict(small):
    small.write("plan", "model_rows", "searched")
    follow(small, "FC10", "007", [0.01] * 5)
    follow(small, "", "007", [np.inf] * 5, kind="gaussian")
    small.write("examples")
    assert verdicts(Context(open_run(small.root))) == []


def test_alike_models_stand_together_and_a_model_alone_keeps_its_place():
    near, far = 0.02, np.inf
    sizes = [[0.01, far, near, far], [far, 0.01, far, near], [near, far, 0.01, far], [far, near, far, 0.01]]
    matrix = pd.DataFrame(sizes, list("abcd"), list("abcd"))
    assert by_similarity(matrix) in (list("acdb"), list("acbd"), list("cabd"), list("cadb"))
    assert by_similarity(matrix.iloc[:2, :2]) == ["a", "b"]
    assert by_similarity(matrix.iloc[:2]) == list("abcd")
