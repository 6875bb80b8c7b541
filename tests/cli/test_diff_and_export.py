"""`diff` and `export`: two runs side by side, and adversarial images as files."""

import csv
import json
import time

import numpy as np
import pytest
from PIL import Image

from intriguing import open_run
from intriguing.cli import call as run_command
from intriguing.results.diff import Difference, Measured, RunsCompared
from tests.pages import rewrite
from tests.synthetic_run import SyntheticRun


def test_a_run_differs_from_itself_in_nothing(finished, capsys):
    assert run_command(["diff", str(finished), str(finished), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["spec"] == {}
    assert len(told["figures"]) > 10
    assert all(figure["first"] == figure["second"] for figure in told["figures"])
    assert run_command(["diff", str(finished), str(finished)]) == 0
    out = capsys.readouterr().out
    assert "The specs are equal." in out
    assert f"{len(told['figures'])} of {len(told['figures'])} figures" in out


def test_two_runs_differ_in_keys_of_the_spec_and_in_figures_of_models_that_one_of_them_has(tmp_path, capsys):
    pairs = {"one": ("FC10", "007"), "two": ("FC10", "cnn")}
    one, two = (SyntheticRun(tmp_path / n, models=m, layers=("hidden",)).write() for n, m in pairs.items())
    assert run_command(["diff", str(one), str(two), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["spec"] == {
        "models.007.layers": [["hidden"], "(absent)"],
        "models.cnn.layers": ["(absent)", ["hidden"]],
    }
    both = {figure["what"] for figure in told["figures"]}
    assert {"test error of FC10#1 on glyphs", "effect of glyphs FC10 1 hidden raw purity trained"} <= both
    assert not any("007" in name or "cnn" in name for name in both)
    assert {name.replace("007", "cnn") for name in told["only_first"]} == set(told["only_second"])
    assert all("007" in name for name in told["only_first"])


def test_an_interval_without_finite_ends_is_none_in_json(tmp_path, capsys):
    few = SyntheticRun(tmp_path / "few", models=("FC10",), layers=("hidden",))
    few.searches = 4  # of so few values the median's interval has no ends
    run = str(few.write())
    assert run_command(["diff", run, run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    [median] = [figure for figure in told["figures"] if figure["what"].startswith("median distortion")]
    assert (median["first"]["low"], median["first"]["high"], median["apart"]) == (None, None, None)


def test_runs_of_thousands_of_figures_are_told_apart_in_linear_time():
    figures = [Difference(f"figure {i}", Measured(i, i, i), Measured(i + 1, i + 1, i + 1)) for i in range(6_000)]
    began = time.process_time()
    told = RunsCompared({}, tuple(figures), (), ()).text()
    assert told.count(" -> ") == 6_000
    assert time.process_time() - began < 1


def test_figures_whose_intervals_do_not_touch_are_told_apart(tmp_path, capsys):
    def written(name, scale):
        run = SyntheticRun(tmp_path / name, models=("FC10",), layers=("hidden",))
        run.searches = 40
        root = run.write()
        rewrite(root, "distortions", "distortion", lambda row: row["distortion"] and row["distortion"] * scale)
        return root

    one, two = written("one", 1.0), written("two", 50.0)
    assert run_command(["diff", str(one), str(two)]) == 0
    out = capsys.readouterr().out
    apart = out[out.index("Intervals apart:") :].split("\n\n")[0]
    assert "median distortion of FC10" in apart


def test_the_nearest_images_are_written_as_png_beside_their_originals(finished, tmp_path, capsys):
    folder = tmp_path / "worst"
    arguments = ["export", str(finished), "--adversarial", str(folder), "--first", "5", "--model", "softmax"]
    assert run_command(arguments) == 0
    assert "5 images in" in capsys.readouterr().out
    rows = list(csv.DictReader((folder / "index.csv").open()))
    distances = open_run(finished).pandas("distortions", status="found", model="softmax")["distortion"].sort_values()
    assert [float(row["l2"]) for row in rows] == pytest.approx((distances[:5] * 28).tolist(), rel=1e-5)
    stored = np.load(folder / "adversarial.npz")
    for row, exact in zip(rows, stored["images"], strict=True):
        pixels = np.asarray(Image.open(folder / row["file"]), np.float32) / 255
        assert np.abs(pixels - exact[0]).max() <= 0.5 / 255 + 1e-6
        before = np.asarray(Image.open(folder / row["original"]), np.float32) / 255
        assert float(row["l2_of_png"]) == pytest.approx(np.linalg.norm(pixels - before), rel=1e-3)
    assert run_command(arguments) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_an_export_of_what_is_not_there_lists_what_is(finished, tmp_path, capsys):
    assert run_command(["export", str(finished), "--adversarial", str(tmp_path / "x"), "--model", "cn"]) == 2
    assert "model: 007, softmax" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
