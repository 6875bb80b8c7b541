"""`diff` and `export`: two runs side by side, and adversarial images as files."""

import csv
import json
import shlex
import time

import numpy as np
import pytest
from PIL import Image

import intriguing as ig
from intriguing import open_run
from intriguing.basics.text.printable import width_of
from intriguing.cli import call as run_command
from intriguing.models import predict
from intriguing.report.text import number
from intriguing.results.diff import Difference, Measured, RunsCompared, compare
from intriguing.stats.intervals import median_interval
from intriguing.sweep.stored_models import model_reader
from tests.pages import rewrite
from tests.synthetic_run import SyntheticRun


def stored_model(run, name):
    return model_reader(str(run))("mnist-sample", name, 0)


def test_a_run_differs_from_itself_in_nothing(finished, capsys):
    assert run_command(["diff", str(finished), str(finished), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["spec"] == {}
    assert len(told["figures"]) > 10
    assert all(figure["first"] == figure["second"] for figure in told["figures"])
    fooling = [figure["what"] for figure in told["figures"] if " fool " in figure["what"]]
    kinds = {what.split()[0] for what in fooling}
    assert not [what for what in fooling if "noise from" in what or ", ," in what or what.endswith(", ")]
    assert kinds == {
        "minimal",
        "gaussian",
        "amplified",
        "noise",
    }  # of clean ones: errors
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
        "models.007": [{"layers": ["hidden"]}, "(absent)"],
        "models.cnn": ["(absent)", {"layers": ["hidden"]}],
    }
    both = {figure["what"] for figure in told["figures"]}
    assert {"test error of FC10#1 on glyphs", "effect of glyphs FC10 1 hidden raw purity trained"} <= both
    assert not any("007" in name or "cnn" in name for name in both)
    assert {name.replace("007", "cnn") for name in told["only_first"]} == set(told["only_second"])
    assert all("007" in name for name in told["only_first"])


def test_a_table_that_one_spec_lacks_is_told_in_one_line_of_what_says_something(tmp_path):
    first, second = (open_run(SyntheticRun(tmp_path / n, models=("FC10",)).write()) for n in "ab")
    first.spec.update(transfer=None, models={"a": {"options": {}}})
    second.spec.update(transfer={"kinds": ["minimal"], "sizes": [], "split": ""}, models={"a": {"options": {"k": 1}}})
    text = compare(first, second).text()
    assert "  transfer: (absent) -> {kinds: ['minimal']}\n" in text and "  models.a.options.k: (absent) -> 1\n" in text


def test_searches_for_several_classes_of_an_image_are_one_image_in_an_interval(tmp_path, capsys):
    root = SyntheticRun(tmp_path / "run", models=("FC10",), layers=("hidden",)).write()
    rewrite(root, "distortions", "example_id", lambda row: row["example_id"] // 2)
    rows = open_run(root).table("distortions", status="found").to_pandas()
    each = rows.groupby("example_id")["distortion"].median()
    assert (len(rows), len(each)) == (21, 12)
    middle, (low, high) = each.median(), median_interval(each)
    assert run_command(["diff", str(root), str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["figures"]
    [found] = [f["first"] for f in told if f["what"] == "median distortion of FC10#1 on glyphs, untargeted, best"]
    assert found == pytest.approx({"value": middle, "low": low, "high": high})
    assert run_command(["show", str(root), "blind_spots"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("FC10 "))
    mean = rows["l2"].mean()
    expected = f"FC10 24 21 1 1 1 {number(mean)} {number(middle)} {number(low)} to {number(high)}"
    assert line.split() == expected.split()


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


@pytest.mark.parametrize("width", [60, 80, None])
def test_a_difference_keeps_its_figures_however_long_names_are_and_narrow_the_terminal(width):
    name = f"median distortion of {'n' * 300}#0 on 模型, untargeted, best"
    figures = (Difference(name, Measured(0.125, 0.1, 0.2), Measured(0.5, 0.4, 0.6)),)
    spec = {f"models.{'n' * 300}.layers": (["a"] * 50, "(absent)"), "units.k": (8, 16)}
    text = RunsCompared(spec, figures, (name,), ()).text(width)
    assert "0.125 (0.1 to 0.2) -> 0.5 (0.4 to 0.6)" in text and "units.k: 8 -> 16" in text
    if width is None:
        assert text.count(name) == 2 and str(["a"] * 50) in text
    else:
        assert max(map(width_of, text.split("\n"))) <= width
        assert text.count(", untargeted, best") == 2


def test_intervals_that_share_an_end_are_not_apart():
    figures = [Measured(1, 0, 2), Measured(3, 2, 4), Measured(5, 4.5, 6)]
    told = [[Difference("", one, other).apart for other in figures] for one in figures]
    assert told == [[False, False, True], [False, False, True], [True, True, False]]


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
    distances = (
        open_run(finished)
        .pandas("distortions", status="found", model="softmax", target_rule="untargeted")["distortion"]
        .sort_values()
    )
    assert [float(row["l2"]) for row in rows] == pytest.approx((distances[:5] * 28).tolist(), rel=1e-5)
    stored = np.load(folder / "adversarial.npz")
    for row, exact in zip(rows, stored["images"], strict=True):
        pixels = np.asarray(Image.open(folder / row["file"]), np.float32) / 255
        if row["png"] == "rounded":
            assert np.abs(pixels - exact[0]).max() <= 0.5 / 255 + 1e-6
        before = np.asarray(Image.open(folder / row["original"]), np.float32) / 255
        assert float(row["l2_of_png"]) == pytest.approx(np.linalg.norm(pixels - before), rel=1e-3)
    assert run_command(arguments) == 2
    assert "not an empty folder" in capsys.readouterr().err


def exported(run, folder, *options):
    assert run_command(["export", str(run), "--adversarial", str(folder), *options]) == 0
    return list(csv.DictReader((folder / "index.csv").open()))


def test_the_pngs_are_fed_to_their_model_and_it_is_said_how_many_fool_it(finished, tmp_path, capsys):
    rows = exported(finished, tmp_path / "all")
    model = {name: stored_model(finished, name) for name in ("softmax", "007")}
    for row in rows:
        png = np.asarray(Image.open(tmp_path / "all" / row["file"]), np.float32)[None, None] / 255
        seen = int(predict(model[row["model"]], png).argmax())
        assert int(row["prediction_of_png"]) == seen
        assert row["png_fools"] == str(seen == int(row["target"]) if row["target"] else seen != int(row["label"]))
    stored = np.load(tmp_path / "all" / "adversarial.npz")["images"]
    farther = [row for row in rows if row["png"] == "farther"]
    for row, exact in zip(rows, stored, strict=True):
        rounded = np.rint(exact * 255).astype(np.float32)[None] / 255
        answer = int(predict(model[row["model"]], rounded).argmax())
        fools = answer == int(row["target"]) if row["target"] else answer != int(row["label"])
        assert row["rounded_fools"] == str(fools)
        assert (row["png"] == "farther") == (not fools and row["png_fools"] == "True")
    assert 0 < len(farther) < len(rows)
    fooling = sum(row["png_fools"] == "True" for row in rows)
    assert fooling > 0.9 * len(rows)
    times = [float(row["l2_of_png"]) / float(row["l2"]) for row in rows if row["png_fools"] == "True"]
    assert max(times) < 2.5
    out = capsys.readouterr().out
    assert f"{fooling} of {len(rows)} PNGs fool the model they were made for." in out
    assert f"The change in them is {min(times):.3g} to {max(times):.3g} times as large (L2) as the one found." in out
    assert f" {len(farther)} of them were moved farther" in out


def test_eight_bit_images_fool_as_pngs_and_are_hardly_farther(finished, tmp_path, capsys):
    options = ["--model", "softmax", "--first", "5"]
    exact, rows = (exported(finished, tmp_path / n, *options, *more) for n, more in (("a", []), ("b", ["--eight-bit"])))
    assert "5 of 5 PNGs fool" in capsys.readouterr().out
    assert [row["search_id"] for row in rows] == [row["search_id"] for row in exact]
    for row, other in zip(rows, exact, strict=True):
        assert float(row["l2"]) * 0.999 < float(row["l2_of_png"]) < float(row["l2"]) * 1.3 + 0.05
        assert float(row["l2_of_png"]) <= float(other["l2_of_png"]) * 1.000001  # the nearest of both ways


def test_the_first_images_are_of_one_rule_and_it_is_said_which(finished, tmp_path, capsys):
    rows = exported(finished, tmp_path / "one", "--first", "8")
    assert {row["target_rule"] for row in rows} == {"untargeted"} and len(rows) == 8
    assert "They are of target rule untargeted. The run has others: --target-rule random." in capsys.readouterr().out
    assert {row["target_rule"] for row in exported(finished, tmp_path / "all")} == {"untargeted", "random"}
    exported(finished, tmp_path / "random", "--first", "2", "--target-rule", "random")
    assert "The run has others" not in capsys.readouterr().out


def test_images_whose_model_is_not_to_be_had_are_written_and_it_is_said(invented_run, tmp_path, capsys):
    rows = exported(invented_run, tmp_path / "one", "--first", "3", "--dataset", "glyphs", "--model", "007")
    assert "PNGs were not fed to their model: plan.json does not say how '007' is built." in capsys.readouterr().out
    assert {row["prediction_of_png"] for row in rows} == {""} == {row["png_fools"] for row in rows}
    line = ["export", str(invented_run), "--adversarial", str(tmp_path / "x"), "--dataset", "glyphs", "--eight-bit"]
    assert run_command(line) == 2
    assert "8-bit images need the model" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def signals(tmp_path_factory):
    """A run whose inputs no PNG holds: two channels of one line."""
    folder = tmp_path_factory.mktemp("signals")
    draws = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = np.clip(draws.normal(0.3 + 0.2 * labels[:, None, None, None], 0.1, (120, 2, 1, 20)), 0, 1)
    parts = {"train": slice(0, 90), "test": slice(90, None)}
    arrays = {f"{part}_images": images[rows].astype(np.float32) for part, rows in parts.items()}
    arrays |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    np.savez(folder / "signals.npz", channels="first", **arrays)
    spec = {
        "name": "signals",
        "datasets": {"signals": {"source": f"npz:{folder / 'signals.npz'}"}},
        "models": {"softmax": {"architecture": "softmax", "training": {"epochs": 20}}},
        "blind_spots": {"images": 5},
    }
    ig.run(spec, folder / "run", "inline")
    return folder / "run"


def test_inputs_that_no_png_holds_are_exported_as_arrays(signals, tmp_path, capsys):
    rows = exported(signals, tmp_path / "all", "--first", "3")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["adversarial.npz", "index.csv"]
    assert "No PNG holds inputs of shape (2, 1, 20)" in capsys.readouterr().out
    arrays = np.load(tmp_path / "all" / "adversarial.npz")
    assert arrays["images"].shape == arrays["originals"].shape == (3, 2, 1, 20)
    changes = np.linalg.norm((arrays["images"] - arrays["originals"]).reshape(3, -1), axis=1)
    np.testing.assert_allclose(changes, [float(row["l2"]) for row in rows], rtol=1e-4)
    assert {row["file"] for row in rows} == {""} == {row["png"] for row in rows}
    line = ["export", str(signals), "--adversarial", str(tmp_path / "x"), "--eight-bit"]
    assert run_command(line) == 2
    assert "Leave out --eight-bit: adversarial.npz has the exact values." in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def own_model(tmp_path_factory):
    """A run of a model that is a function of the user's."""
    folder = tmp_path_factory.mktemp("own model")
    labels = np.arange(60) % 2
    images = np.clip(np.random.default_rng(0).normal(0.3 + 0.3 * labels[:, None, None], 0.1, (60, 4, 4)), 0, 1)
    parts = {"train": slice(0, 40), "test": slice(40, None)}
    arrays = {f"{part}_images": images[rows].astype(np.float32) for part, rows in parts.items()}
    np.savez(folder / "own.npz", **arrays, **{f"{part}_labels": labels[rows] for part, rows in parts.items()})
    model = {"architecture": "tests.sweep.user_models:linear", "training": {"epochs": 10}}
    spec = {
        "name": "own",
        "datasets": {"own": {"source": f"npz:{folder / 'own.npz'}"}},
        "models": {"mine": model},
        "blind_spots": {"images": 5},
    }
    ig.run(spec, folder / "run", "inline")
    return folder / "run"


def test_an_export_that_needs_code_of_the_user_s_stops_before_it_writes(own_model, tmp_path, capsys):
    """It wrote PNGs that do not fool, and typed again with --trust it found the folder full."""
    assert run_command(["export", str(own_model), "--adversarial", str(tmp_path / "a"), "--first", "2"]) == 2
    assert not (tmp_path / "a").exists()
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  intriguing export")]
    typed = shlex.split(line)
    assert typed[-3:] == ["--first", "2", "--trust"]
    assert run_command(typed[1:]) == 0
    rows = list(csv.DictReader((tmp_path / "a" / "index.csv").open()))
    assert [row["png_fools"] for row in rows] == ["True", "True"]
    rows = exported(own_model, tmp_path / "b", "--first", "2", "--no-trust")
    assert [row["png_fools"] for row in rows] == ["", ""]
    assert "PNGs were not fed to their model" in capsys.readouterr().out


def test_an_export_of_what_is_not_there_lists_what_is(finished, tmp_path, capsys):
    assert run_command(["export", str(finished), "--adversarial", str(tmp_path / "x"), "--model", "cn"]) == 2
    assert "model: 007, softmax" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
