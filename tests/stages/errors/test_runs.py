"""What one task has computed of an input is not computed by the next: a photo goes once through the network."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import intriguing as ig
from intriguing.data import Split
from intriguing.engine.task import Output
from intriguing.models import predict
from intriguing.stages.common.clean import clean_predictions
from intriguing.sweep import prepare
from tests.stages.errors import counting

COUNT, FEW = 24, 1 + 5  # a row to count what it costs, and five to learn the layer's axes


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def spec(images, tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "photos.npz"
    np.savez(file, images=images, labels=np.arange(COUNT) % 3)
    return {
        "name": "counted",
        "datasets": {"photos": {"source": f"npz:{file}"}},
        "models": {"net": {"architecture": "tests.stages.errors.counting:build", "train": False, "layers": ["conv"]}},
        "units": {"k": 2, "signs": "both"},
        "transfer": {},
        "blind_spots": {"images": 6, "target_rules": ["untargeted"], "grade": "fast"},
    }


@pytest.fixture(scope="module")
def run(spec, tmp_path_factory):
    counting.SEEN["images"] = 0
    return ig.run(spec | {"blind_spots": None, "transfer": None}, tmp_path_factory.mktemp("run"), "inline")


@pytest.mark.slow
def test_each_image_is_seen_once(run):
    assert counting.SEEN["images"] <= COUNT + FEW + 4  # four of noise before any work


@pytest.mark.slow
def test_errors_and_places_are_those_of_the_network(run, images):
    net = counting.build(3).eval()
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2) / 255.0).float()
        predictions, maps = net(x).argmax(1).numpy(), net.conv(x).flatten(2)
    [row] = run.table("models").to_pylist()
    assert row["test_error"] == np.mean(predictions != np.arange(COUNT) % 3)
    assert row["train_error"] is None
    stored = run.pandas("activations")
    assert np.array_equal(stored["prediction"], predictions[stored["example_id"]])
    top = run.pandas("topk", basis="natural")
    assert len(top) == 512 * 2 * 2
    assert np.array_equal(top["position"], maps.argmax(2).numpy()[top["example_id"], top["direction"]])


@pytest.mark.slow
def test_a_stream_finds_the_same_and_sees_each_image_once(run, spec, tmp_path):
    stream = spec | {"units": spec["units"] | {"mode": "stream"}, "blind_spots": None, "transfer": None}
    counting.SEEN["images"] = 0
    other = ig.run(stream, tmp_path / "run", "inline")
    assert counting.SEEN["images"] <= COUNT + FEW + 4
    for name in ("topk", "models", "unit_histograms"):
        assert other.table(name).equals(run.table(name))


def test_the_clean_row_reads_what_the_errors_found(spec):
    plan = prepare(spec, "nowhere").plan
    inputs = {name: task.inputs for name, task in plan.tasks.items()}
    assert inputs["clean/photos/net/0/00000"]["predictions"] == (Output("errors/photos/net/0", "predictions"),)
    collected = (Output("activations/photos/net/0/00000", "layer0"),)
    assert inputs["errors/photos/net/0"]["predictions"] == collected


class Hand:
    """The work of a task that is given these tables of predictions, and counts what it feeds."""

    def __init__(self, *found):
        self.found = found
        self.net = counting.build(3)

    def tables(self, name, columns):
        return list(self.found)

    def resource(self, name):
        return self.net


def test_only_what_no_task_has_found_is_fed(images):
    split = Split(images.transpose(0, 3, 1, 2), np.arange(COUNT) % 3, np.arange(COUNT) + 100)
    expected = predict(counting.build(3), split.pixels(np.arange(COUNT))).argmax(1).numpy()
    found = pa.table({"example_id": [119, 103, 101, 7], "prediction": [2, 2, 1, 0]})
    earlier = pa.table({"example_id": [100, 102]})  # activations that earlier code stored
    unknown = pa.table({"example_id": [100, 102], "prediction": pa.nulls(2, pa.int64())})
    work: Any = Hand(earlier, found, unknown)
    counting.SEEN["images"] = 0
    at, classes = clean_predictions(work, split, np.array([3, 0, 19, 5]), 16)
    assert counting.SEEN["images"] == 1 + 2
    assert at.tolist() == [3, 0, 19, 5]
    assert classes.tolist() == [2, expected[0], 2, expected[5]]
    at, classes = clean_predictions(work, split, np.array([], np.int64), 16)
    assert len(at) == len(classes) == 0


def test_an_input_that_the_network_answers_with_nan_is_not_one_that_cannot_be_read(images):
    split = Split(images.transpose(0, 3, 1, 2), np.arange(COUNT) % 3, np.arange(COUNT))
    work: Any = Hand()
    work.net.register_forward_hook(lambda net, args, out: out.index_fill(0, torch.tensor([1]), torch.nan))
    at, classes = clean_predictions(work, split, np.array([4, 5, 6]), 16)
    assert at.tolist() == [4, 5, 6]
    assert classes[1] == -1
    assert (classes[[0, 2]] >= 0).all()
