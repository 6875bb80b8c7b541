"""The unit question in a sweep: the same tables however it is cut, controls, corrections, crops, and bad inputs."""

import copy
import logging
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import intriguing as ig
from intriguing.data import load_dataset
from intriguing.stages.common.sampling import drawn_positions
from intriguing.stats.multiple import holm
from intriguing.sweep import execute, prepare
from intriguing.units.scoring.scores import METRICS
from tests.sweep import user_models
from tests.sweep.small import assert_equal_tables, tables_of

UNITS: dict[str, Any] = {
    "name": "units",
    "datasets": {"mnist-sample": {}},
    "models": {
        "cnn": {"layers": ["fc1"], "train": False, "options": {"channels": [3, 4], "hidden": 32}},
        "softmax": {"layers": ["logits"], "training": {"epochs": 2}},
    },
    "units": {
        "k": 4,
        "rows": 420,
        "signs": "both",
        "bases": ["natural", "haar", "covariance", "pca", "uniform01"],
        "rotations": 9,
        "subsamples": 2,
        "doses": [],
    },
    "compute": {"slots": 32, "rows_per_shard": 210},
}


def small(sections=None, **units):
    spec = copy.deepcopy(UNITS) | (sections or {})
    spec["units"] |= units
    return spec


@pytest.fixture(scope="module")
def tested_run(tmp_path_factory):
    """An inline run with every score, control and condition; never written to."""
    out = tmp_path_factory.mktemp("units") / "run"
    assert execute(prepare(UNITS, out), "inline").complete
    return out


@pytest.fixture(scope="module")
def tests_of(tested_run):
    return ig.open_run(tested_run).pandas("rotation_tests")


@pytest.mark.usefixtures("without_page")
def test_other_shards_of_rows_and_of_rotations_give_equal_tables(tested_run, tmp_path):
    compute = UNITS["compute"] | {"rows_per_shard": 150, "rotations_per_shard": 4}
    assert execute(prepare(small({"compute": compute}), tmp_path / "run"), "strict").complete
    assert_equal_tables(tested_run, tmp_path / "run")


@pytest.mark.usefixtures("without_page")
@pytest.mark.ray
def test_rotation_tests_on_ray_give_equal_tables(tested_run, tmp_path, ray_started):
    assert execute(prepare(UNITS, tmp_path / "run"), "ray", workers=2).complete
    assert_equal_tables(tested_run, tmp_path / "run")


@pytest.mark.usefixtures("without_page")
def test_streaming_gives_equal_tables_but_none_of_activations(tested_run, tmp_path):
    assert execute(prepare(small(mode="stream"), tmp_path / "run"), "inline").complete
    stored, streamed = tables_of(tested_run), tables_of(tmp_path / "run")
    assert streamed.keys() == {name for name in stored if not name.startswith("activations")}
    for name, frame in streamed.items():
        pd.testing.assert_frame_equal(frame, stored[name], check_exact=True, obj=name)


def test_a_stream_keeps_the_activations_of_the_tested_inputs_alone(tmp_path):
    units = {"bases": ["natural"], "metrics": ["kurtosis"], "controls": [], "tested_rows": 50}
    spec = small({"models": {"cnn": UNITS["models"]["cnn"]}}, mode="stream", **units)
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    kept = [pq.read_table(path) for path in (tmp_path / "run" / "store").rglob("kept0.parquet")]
    assert len(kept) == 2
    ids = np.concatenate([np.asarray(table["example_id"]) for table in kept])
    scanned = load_dataset("mnist-sample").splits["test"]
    assert sorted(ids) == scanned.ids[drawn_positions(scanned.ids, 50, 0, "scanned inputs")].tolist()
    assert set(ig.open_run(tmp_path / "run").pandas("rotation_tests").n) == {50}


def test_every_control_and_condition_is_tested(tests_of):
    tests = tests_of[tests_of.alpha == 0]
    assert set(tests.control) == {"trained", "random_init", "shuffled_labels"}
    assert {"raw", "negated"} <= set(tests.condition) <= {"raw", "negated", "live"}
    trained = tests[(tests.control == "trained") & (tests.condition == "raw") & (tests.layer == "fc1")]
    unjudged = ("purity", "entropy", "enrichment", "unique_classes", "auroc", "kurtosis")
    judged = [name for name in METRICS if METRICS[name].judged]
    scores = set(zip(trained.metric, trained.judge.fillna("nobody"), strict=True))
    assert scores == {(name, "nobody") for name in unjudged} | {
        (name, judge) for name in judged for judge in ("encoder", "pixels")
    }
    assert (trained.rotations == 9).all()
    assert (trained.n == 420).all()


def test_shuffled_labels_change_the_scores_that_use_labels(tests_of):
    softmax = tests_of[(tests_of.layer == "logits") & (tests_of.alpha == 0) & (tests_of.condition == "raw")]
    by_control = softmax[softmax.metric == "auroc"].set_index("control")
    assert by_control.null_mean["trained"] > 0.6
    assert by_control.null_mean["shuffled_labels"] < 0.3
    assert set(softmax[softmax.control == "shuffled_labels"].metric) == {
        *("purity", "entropy", "enrichment", "unique_classes", "auroc")
    }


def test_the_untrained_control_of_softmax_is_no_constant(tests_of):
    untrained = tests_of[(tests_of.control == "random_init") & (tests_of.model == "softmax")]
    assert untrained[untrained.metric == "kurtosis"].natural.notna().all()


def test_holm_s_correction_is_over_the_tests_of_a_network(tests_of):
    tests = tests_of[(tests_of.alpha == 0) & (tests_of.model == "cnn") & (tests_of.control == "trained")]
    tests = tests[tests.condition == "raw"]
    assert len(tests) == 10
    np.testing.assert_array_equal(tests.p_holm, holm(tests.p_two.to_numpy()))


def test_every_test_of_the_natural_basis_has_a_verdict(tests_of):
    assert len(tests_of) > 60
    assert tests_of.verdict.str.contains("than rotations").all()


def test_the_invalid_replica_is_seen_to_be_degenerate(tested_run):
    whole = ig.open_run(tested_run).pandas("unit_scores").query("direction == -1 and metric == 'mean_cosine'")
    cosines = whole[whole.layer == "fc1"].set_index("basis").value
    assert cosines["uniform01"] > 0.6
    assert abs(cosines["pca"]) < 1e-5
    assert abs(cosines["natural"]) < 1e-5


def test_the_error_bound_of_the_binned_selectivity_is_told(tested_run):
    bounds = ig.open_run(tested_run).pandas("unit_scores").query("metric == 'auroc_error_bound'")
    assert set(bounds.basis) == set(UNITS["units"]["bases"])
    assert (bounds.direction == -1).all()
    assert bounds.value.between(0, 1).all()


@pytest.mark.slow
def test_a_unit_s_maximum_is_placed_where_the_image_has_it(tmp_path):
    models = {"bright": {"architecture": "tests.sweep.user_models:bright", "layers": ["channels"], "train": False}}
    spec = small({"models": models}, rows=60, rotations=0, bases=["natural"])
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    run = ig.open_run(tmp_path / "run")
    top = run.pandas("topk", sign=1).query("direction == 0")
    split = load_dataset("mnist-sample").splits["test"]
    images = split.pixels(split.positions(top.example_id.to_numpy())).flatten(1)
    np.testing.assert_array_equal(top.value, images.amax(dim=1))
    np.testing.assert_array_equal(top.position, images.argmax(dim=1))
    fields = run.pandas("receptive_fields").set_index("position")
    assert len(fields) == 28 * 28
    assert fields.loc[28 * 3 + 5].to_dict() | {"model": ""} == fields.loc[28 * 3 + 5].to_dict() | {
        "model": "",
        "top": 3,
        "bottom": 4,
        "left": 5,
        "right": 6,
    }


def turned_run(out, layers, **options):
    architecture = {"architecture": "tests.sweep.user_models:channels_last", "train": False, "layers": layers}
    units = {key: options.pop(key) for key in ("dtype", "mode") if key in options}
    spec = small({"models": {"turned": architecture | {"options": options}}}, rows=60, rotations=0, **units)
    spec["units"]["bases"] = ["natural"]
    outcome = execute(prepare(spec, out), "inline")
    return ig.open_run(out), outcome.complete


@pytest.mark.slow
def test_a_map_with_its_channels_last_gives_the_same_top_images_and_crops(tmp_path):
    run, complete = turned_run(tmp_path / "run", ["channels", "turned", "turned@1"])
    assert complete
    for name in ("topk", "receptive_fields", "unit_scores"):
        frame = run.pandas(name)
        second, last = (
            frame[frame.layer == layer].drop(columns="layer").reset_index(drop=True) for layer in ("channels", "turned")
        )
        pd.testing.assert_frame_equal(second, last, check_exact=True, obj=name)
    directions = run.pandas("topk").groupby("layer").direction.nunique().to_dict()
    assert directions == {"channels": 2, "turned": 2, "turned@1": 28}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["store", "stream"])
def test_activations_that_float16_cannot_hold_end_the_run_with_their_size(tmp_path, mode):
    run, complete = turned_run(tmp_path / "run", ["channels"], scale=1e5, dtype="float16", mode=mode)
    assert not complete
    failures = run.pandas("failures")
    assert failures.message.str.contains(r"'channels' has activations as large as 100000, .* dtype = .float32").all()
    assert not run.pandas("topk").shape[0]
    _, complete = turned_run(tmp_path / "run", ["channels"], scale=1e5, dtype="float32", mode=mode)
    assert complete


def zoo_run(out, **model):
    models = {"zoo": {"architecture": "tests.sweep.user_models:zoo", "layers": ["0"]} | model}
    spec = small({"models": models}, rows=200, signs="positive", bases=["natural"], metrics=["kurtosis"])
    assert execute(prepare(spec, out), "inline").complete
    return ig.open_run(out)


@pytest.mark.slow
def test_a_factory_s_pretrained_weights_are_used_and_its_control_has_none(tmp_path):
    run = zoo_run(tmp_path / "run", options={"name": "small", "pretrained": True})
    vectors = np.stack(run.pandas("activations")["vector"].to_list())
    # All weights are one, so its units are one unit but for their biases.
    assert np.allclose(np.diff(vectors, axis=1), np.diff(vectors[:1], axis=1), atol=1e-4)
    tests = run.pandas("rotation_tests").set_index("control")
    assert tests.natural["trained"] != pytest.approx(tests.natural["random_init"])
    assert tests.verdict.str.contains("than rotations").all()


@pytest.mark.slow
def test_a_factory_s_weights_may_come_from_a_file_in_the_zoo_s_own_names(tmp_path):
    net = user_models.zoo("small", pretrained=True)
    torch.save(net.state_dict(), tmp_path / "zoo.pt")
    run = zoo_run(tmp_path / "run", options={"name": "small"}, weights=str(tmp_path / "zoo.pt"))
    activations = run.table("activations").to_pydict()
    split = load_dataset("mnist-sample").splits["test"]
    [block] = ig.collect_activations(net, [split.pixels(split.positions(np.array(activations["example_id"])))], "0")
    np.testing.assert_array_equal(np.array(activations["vector"], dtype=np.float32), block.vectors["0"])


def test_positions_are_rows_of_their_own_and_each_input_is_tested_once(tmp_path):
    models = {"cnn": UNITS["models"]["cnn"] | {"layers": ["conv2", "fc1"]}}
    units: dict[str, Any] = {"metrics": ["kurtosis"], "bases": ["natural"], "dtype": "float16", "doses": [0.5]}
    spec = small({"models": models}, rows=100, reduce="positions", **units)
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    run = ig.open_run(tmp_path / "run")
    layer = run.table("activations", layer="conv2")
    assert layer.num_rows == 100 * 16
    assert str(layer.schema.field("vector").type.value_type) == "halffloat"
    tests = run.pandas("rotation_tests").query("layer == 'conv2'")
    assert set(tests.n) == {100}
    assert set(tests.alpha) == {0.0, 0.5}
    assert tests[tests.alpha > 0].verdict.isna().all()
    assert run.pandas("topk").query("layer == 'conv2'").position.max() > 0


def photos(folder, count):
    """Two classes of noise; the third photo of the first class is damaged in its middle, where no header tells."""
    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        (folder / "test" / kind).mkdir(parents=True)
        for n in range(count // 2):
            image = Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8))
            image.save(folder / "test" / kind / f"{n}.png")
    bad = folder / "test" / "a" / "2.png"
    content = bytearray(bad.read_bytes())
    content[100:140] = bytes(40)
    bad.write_bytes(content)
    return folder


@pytest.mark.parametrize("mode", ["store", "stream"])
def test_a_photo_that_cannot_be_read_is_recorded_and_too_few_give_no_verdict(tmp_path, mode):
    source = f"imagefolder:{photos(tmp_path / 'photos', 20)}?size=16&resize=16&mode=L"
    models = {"cnn": {"layers": ["fc1"], "train": False, "options": {"hidden": 6}}}
    spec = small({"datasets": {"photos": {"source": source}}, "models": models}, rows=None, mode=mode)
    spec["units"]["bases"] = ["natural"]
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    run = ig.open_run(tmp_path / "run")
    skipped = run.pandas("skipped")
    assert skipped.example_id.tolist() == [2]
    assert "cannot be decoded" in skipped.reason[0]
    assert 2 not in set(run.pandas("topk").example_id)
    verdicts = run.pandas("rotation_tests", control="trained").verdict
    assert verdicts.str.contains(r"No verdict .*too few images \(19; \d+ are needed\)").all()


def test_a_data_set_that_is_missing_is_left_out_with_a_word_if_it_may(tmp_path, caplog):
    sets = {"mnist-sample": {}, "mnist": {"root": str(tmp_path), "optional": True}}
    with caplog.at_level(logging.WARNING):
        prepared = prepare(small({"datasets": sets}), tmp_path / "run")
    assert "goes on without the data set 'mnist': Data set 'mnist' is not in" in caplog.text
    assert set(prepared.spec.datasets) == {"mnist-sample"}
    assert not [t for t in prepared.plan.tasks if "/mnist/" in t]


def test_a_data_set_is_taken_from_elsewhere_where_its_own_files_are_missing(tmp_path, caplog):
    sets = {"mnist": {"root": str(tmp_path), "instead": ["mnist-sample"]}}
    with caplog.at_level(logging.WARNING):
        prepared = prepare(small({"datasets": sets}), tmp_path / "run")
    assert prepared.sweep.datasets["mnist"].source == "mnist-sample"
    assert "datasets.mnist is taken from 'mnist-sample' instead: Data set 'mnist' is not in" in caplog.text


def test_a_data_set_that_cannot_be_downloaded_is_taken_from_elsewhere(tmp_path, monkeypatch, caplog):
    def offline():
        raise OSError("no route to host")

    monkeypatch.setattr("intriguing.data.sources.torchvision", offline)
    sets = {"mnist": {"root": str(tmp_path / "new"), "download": True, "instead": ["mnist-sample"]}}
    with caplog.at_level(logging.WARNING):
        prepared = prepare(small({"datasets": sets}), tmp_path / "run")
    assert prepared.sweep.datasets["mnist"].source == "mnist-sample"
    assert "instead: Could not download mnist" in caplog.text and "no route to host" in caplog.text


def test_a_damaged_data_set_is_not_taken_from_elsewhere_nor_left_out(tmp_path):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    cut = {"source": f"npz:{tmp_path / 'cut.npz'}", "instead": ["mnist-sample"], "optional": True}
    with pytest.raises(ig.errors.DataError, match=r"cut.npz cannot be read as an npz file"):
        prepare(small({"datasets": {"mine": cut, "mnist-sample": {}}}), tmp_path / "run")


def test_a_folder_of_data_sets_that_is_not_there_is_refused_though_another_source_would_do(tmp_path):
    sets = {"mnist": {"instead": ["mnist-sample"]}}
    with pytest.raises(ig.errors.DataError, match=r"datasets.mnist: there is no folder .*nowhere"):
        prepare(small({"datasets": sets}), tmp_path / "run", tmp_path / "nowhere")


def test_a_folder_of_data_sets_that_is_not_there_matters_to_those_that_lie_in_it_alone(tmp_path, monkeypatch):
    """With INTRIGUING_DATA at a disk that is not mounted the demo was refused, whose digits are in the package."""
    monkeypatch.setenv("INTRIGUING_DATA", str(tmp_path / "nowhere"))
    assert prepare(small({"datasets": {"mnist-sample": {}}}), tmp_path / "run").plan.tasks
    with pytest.raises(
        ig.errors.DataError, match=r"no folder .*nowhere \(--data, INTRIGUING_DATA, or .*'mnist' is look"
    ):
        prepare(small({"datasets": {"mnist": {"optional": True}, "mnist-sample": {}}}), tmp_path / "run")


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("open('nowhere.csv')", "nowhere.csv"),
        ("raise RuntimeError('Dataset not found. You can use download=True to download it')", "download=True"),
    ],
    ids=["open", "torchvision"],
)
def test_a_function_that_misses_its_file_counts_as_missing_data(does, says, tmp_path, caplog, monkeypatch):
    (tmp_path / "absent_data.py").write_text(f"def load():\n    {does}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sets = {"mine": {"source": "absent_data:load", "instead": ["mnist-sample"]}}
    with caplog.at_level(logging.WARNING):
        prepared = prepare(small({"datasets": sets}), tmp_path / "run")
    assert prepared.sweep.datasets["mine"].source == "mnist-sample" and says in caplog.text
