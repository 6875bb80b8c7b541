"""Amplification curves, sizes that fool half of the time, and grades in pairs, from invented rays."""

import numpy as np
import pytest

import intriguing as ig
from intriguing import tables
from intriguing.errors import InputError, UnknownNameError
from intriguing.stats.intervals import median_interval, wilson
from tests.synthetic_run import SyntheticRun

SIZES = np.array([0.05, 0.1, 0.2])


def follow(writer, source, target, crossings, grade="best", kind="adversarial", rule="untargeted"):
    """Rays of the images 0, 1, ... that cross at these sizes; None: wrong before, infinity: never."""
    before = [c is None for c in crossings]
    sizes = [np.nan if c is None else c for c in crossings]
    status = ["wrong_before" if c is None else "never" if c == np.inf else "crossed" for c in crossings]
    wrong = [c <= SIZES if c is not None else SIZES > 0 for c in crossings]
    n = len(crossings)
    columns = {
        "search_id": [f"{rule}:{grade}:{i}" if source else f"noise/{i}" for i in range(n)],
        "example_id": range(n),
        "label": [0] * n,
        "clean_error": before,
        "sizes": [SIZES.tolist()] * n,
        "rms": [(0.9 * SIZES).tolist()] * n,
        "predictions": [w.astype(int).tolist() for w in wrong],
        "status": status,
        "crossing": [None if not np.isfinite(c) else c for c in sizes],
        "right_below": [None if not np.isfinite(c) else 0.99 * c for c in sizes],
        "forward_passes": [10] * n,
    }
    keys = {"dataset": "glyphs", "source_model": source, "source_seed": 1 if source else -1, "model": target}
    keys |= {"model_seed": 1, "grade": grade if source else "", "target_rule": rule if source else "", "kind": kind}
    writer.add("rays", tables.RAYS.build(columns, **keys))


@pytest.fixture
def run(tmp_path):
    """Five rays per pair. FC10 resists: 007's images cross there late, if at all, and one was wrong before."""
    writer = SyntheticRun(tmp_path / "run")
    writer.rules = (("untargeted", "best"), ("untargeted", "fast"))
    writer.write("plan", "model_rows", "searched")
    for grade, shift in (("best", 0.0), ("fast", 0.06)):
        follow(writer, "FC10", "FC10", [0.02, 0.03, 0.04, 0.05, 0.06], grade)
        follow(writer, "FC10", "007", [0.07, 0.08, 0.12, 0.15, 0.3], grade)
        follow(writer, "007", "FC10", [None, 0.15 - shift, np.inf, np.inf, 0.04], grade)
        follow(writer, "007", "007", [0.01, 0.02, 0.03, 0.04, 0.05], grade)
    for model in ("FC10", "007"):
        follow(writer, "", model, [0.15, None, 0.3, np.inf, np.inf], kind="gaussian")
    return ig.open_run(writer.write("examples"))


def test_a_curve_has_a_row_per_pair_and_size_with_the_noise_of_the_same_images(run):
    curve = run.amplification(grade="best")
    assert len(curve) == 4 * 3
    assert curve["size"].unique().tolist() == [0.05, 0.1, 0.2]
    row = curve[(curve.source == "007") & (curve.target == "FC10")].set_index("size")
    # One of the five was wrong before: of the others one is fooled at 0.05 and 0.1, two at 0.2.
    assert row["n"].tolist() == [4, 4, 4]
    assert row["rate"].tolist() == [0.25, 0.25, 0.5]
    assert row.loc[0.2, ["low", "high"]].tolist() == [float(end) for end in wilson(2, 4)]
    assert row["rms"].tolist() == pytest.approx([0.045, 0.09, 0.18], rel=1e-5)
    # The noise of images 1 to 4: the network is wrong on image 1 with any noise.
    assert row["noise_rate"].tolist() == [0.25, 0.25, 0.25]
    assert row["noise_n"].tolist() == [4, 4, 4]


def test_the_size_that_fools_half_of_the_time_counts_those_that_never_do(run):
    matrix = run.half_rms(grade="best")
    assert matrix.loc["FC10", "007"] == pytest.approx(0.12)
    assert matrix.loc["007", "007"] == pytest.approx(0.03)
    # 0.04, 0.15, never, never: the lower middle one, since the upper is infinite.
    assert matrix.loc["007", "FC10"] == pytest.approx(0.15)
    assert matrix.attrs["never"].loc["007", "FC10"] == 2
    assert matrix.attrs["n"].loc["007"].tolist() == [4, 5]
    assert matrix.attrs["left_out"].loc["007"].tolist() == [1, 0]
    assert matrix.attrs["noise"].tolist() == pytest.approx([0.3, 0.3])
    own = run.pandas("distortions", model="007", grade="best", status="found")["distortion"].median()
    assert matrix.attrs["own"]["007"] == pytest.approx(own)
    assert (matrix.attrs["low"].loc["FC10", "007"], matrix.attrs["high"].loc["FC10", "007"]) == median_interval(
        [0.07, 0.08, 0.12, 0.15, 0.3]
    )


def test_where_most_images_never_fool_the_median_is_infinite(run, tmp_path):
    writer = SyntheticRun(tmp_path / "other")
    writer.write("plan", "model_rows", "searched")
    follow(writer, "FC10", "007", [0.1, np.inf, np.inf])
    matrix = ig.open_run(writer.write("examples")).half_rms()
    assert matrix.loc["FC10", "007"] == np.inf


def test_grades_are_compared_image_by_image_at_equal_size(run):
    rows = run.grade_comparison("best", "fast").set_index(["source", "target", "size"])
    assert len(rows) == 2 * 3
    row = rows.loc["007", "FC10", 0.1]
    # Image 1 crosses at 0.15 by best and at 0.09 by fast.
    assert (row["n"], row["only_first"], row["only_second"], row["p"]) == (4, 0, 1, 1.0)
    assert (row["first"], row["second"]) == (0.25, 0.5)
    assert (rows.loc["FC10"][["only_first", "only_second"]] == 0).all(axis=None)
    assert rows["p_holm"].tolist() == [1.0] * 6


def test_choices_that_are_open_and_runs_without_rays_are_told(run, tmp_path):
    with pytest.raises(InputError, match="grade= one of 'best', 'fast'"):
        run.half_rms()
    with pytest.raises(InputError, match=r"no rays with grade 'faithful'"):
        run.half_rms(grade="faithful")
    with pytest.raises(UnknownNameError, match="denominator"):
        run.half_rms(grade="best", among="both")
    # Among all images one that the network got wrong before any change is fooled at size 0.
    found = run.half_rms(grade="best", among="found")
    assert found.attrs["n"].loc["007"].tolist() == [5, 5]
    assert found.loc["007", "FC10"] == pytest.approx(0.15)
    SyntheticRun(tmp_path / "none").write("plan")
    with pytest.raises(InputError, match="no rays: they are followed where"):
        ig.open_run(tmp_path / "none").amplification()
