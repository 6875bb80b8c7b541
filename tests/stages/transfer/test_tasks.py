"""The task that feeds found images, called by hand: equal rows whatever the batch, and no Python numbers."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from intriguing import tables
from intriguing.data import Split
from intriguing.errors import InputError
from intriguing.stages.transfer import feeding
from intriguing.stages.transfer import tasks as transfer

KINDS = ["minimal", "amplified", "gaussian"]


class Hand:
    """What a worker gives a task: a data set of noise, a linear model, and searches of which one found nothing."""

    def __init__(self, count=9, shape=(3, 8, 8)):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        self.split = Split(images, np.arange(count) % 10, np.arange(count))
        self.splits = {"test": self.split}
        self.device = "cpu"
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 10)).eval()
        order = rng.permutation(count)
        status = ["not_found", *["found"] * (count - 1)]
        columns = {"search_id": [f"s{i}" for i in order], "example_id": order, "status": status}
        self.searches = pa.table({**columns, "grade": ["fast"] * count, "target_rule": ["untargeted"] * count})
        changed = np.clip(images / np.float32(255) + rng.normal(0, 0.03, images.shape), 0, 1).astype(np.float32)
        flat = pa.array(changed.reshape(-1))
        offsets = np.arange(count + 1, dtype=np.int32) * int(np.prod(shape))
        stored = {
            "search_id": [f"s{i}" for i in range(count)],
            "shape": [list(shape)] * count,
            "image": pa.ListArray.from_arrays(offsets, flat),
        }
        self.images = tables.ADVERSARIAL.build(stored, dataset="d", model="m", model_seed=0)

    def resource(self, name):
        return self if name == "dataset" else self.model

    def table(self, name, columns):
        return (self.searches if name == "distortions" else self.images).select(columns)

    def slices(self, name, columns):
        whole = self.table(name, columns)
        return (whole.slice(start, 4) for start in range(0, len(whole), 4))

    def kept(self, name, inputs, make, part=""):
        return make()[0]

    def feed(self, slots, kinds=KINDS):
        parameters = {"dataset": "d", "model": "m", "model_seed": 0, "source_model": "m", "source_seed": 0, "seed": 0}
        parameters |= {"split": "test", "kinds": list(kinds), "amplified_rms": 0.1, "threads": 1, "slots": slots}
        return transfer.predict_changed(self, **parameters)["transfer"]


@pytest.mark.parametrize("at_once", [1, 400, 1 << 22])
@pytest.mark.parametrize("slots", [4, 8])
def test_rows_do_not_depend_on_batches_or_on_how_many_images_are_changed_at_once(monkeypatch, at_once, slots):
    monkeypatch.setattr(feeding, "_AT_ONCE", at_once)
    hand = Hand()
    rows = hand.feed(slots).to_pandas()
    torch.manual_seed(0)
    whole = Hand().feed(8).to_pandas()
    assert rows.drop(columns="prediction").equals(whole.drop(columns="prediction"))
    assert rows.kind.tolist() == [kind for kind in KINDS for _ in range(8)]
    assert rows.search_id.tolist() == hand.searches["search_id"].to_pylist()[1:] * 3
    assert np.allclose(rows.rms[rows.kind == "gaussian"], rows.rms[rows.kind == "minimal"], rtol=1e-5)


def test_each_row_is_of_its_own_image():
    hand = Hand()
    rows = hand.feed(4, ["minimal"]).to_pandas()
    stored = np.stack(hand.images["image"].to_numpy()).reshape(9, 3, 8, 8)
    for row in rows.itertuples():
        change = stored[int(row.search_id[1:])] - hand.split.images[row.example_id] / np.float32(255)
        assert row.rms == pytest.approx(np.sqrt((change.astype(float) ** 2).mean()), rel=1e-6)
        guess = hand.model(torch.from_numpy(stored[int(row.search_id[1:])])[None]).argmax()
        assert (row.prediction, row.is_error) == (guess, guess != row.label)


class Blind(nn.Module):
    """A model that answers NaN to an image whose first pixel is above a half, and class 0 to all others."""

    def forward(self, x):
        logits = torch.eye(10)[0].repeat(len(x), 1)
        logits[:, 3] += torch.where(x[:, 0, 0, 0] > 0.5, torch.nan, 0.0)
        return logits


def test_what_a_model_answers_with_nan_is_never_right():
    hand = Hand()
    hand.model = Blind()
    hand.split.labels[:] = 3  # where NaN stands
    rows = hand.feed(4, ["minimal"]).to_pandas()
    stored = np.stack(hand.images["image"].to_numpy()).reshape(9, 3, 8, 8)
    is_nan = np.array([stored[int(row.search_id[1:]), 0, 0, 0] > 0.5 for row in rows.itertuples()])
    assert 0 < is_nan.sum() < 8
    assert rows.prediction.tolist() == np.where(is_nan, -1, 0).tolist()
    assert rows.is_error.all()


def test_a_shard_in_which_nothing_was_found_gives_no_rows():
    hand = Hand()
    hand.searches = hand.searches.slice(0, 1)
    rows = hand.feed(4)
    assert rows.num_rows == 0
    assert rows.schema.equals(tables.TRANSFER.schema)


def test_images_of_another_shape_than_the_data_sets_are_refused():
    hand = Hand()
    hand.images = Hand(shape=(3, 4, 4)).images
    with pytest.raises(InputError, match=r"Stored images of shape \(3, 4, 4\) for a data set of \(3, 8, 8\)"):
        hand.feed(4)


# How often the images are in memory at most, of what NumPy and Python hold (torch's and Arrow's is not counted): those
# found, once; of amplified ones and noise once more; and some thirty times what is changed at once, 1/64 of the images.
@pytest.mark.parametrize(("kinds", "times"), [(["minimal"], 1.5), (["amplified"], 2.6), (["gaussian"], 2.6)])
def test_images_are_in_memory_once_and_those_of_a_kind_once_more(monkeypatch, kinds, times):
    hand = Hand(64, (3, 48, 48))
    size = 64 * 3 * 48 * 48 * 4
    monkeypatch.setattr(feeding, "_AT_ONCE", size // 256)
    tracemalloc.start()
    try:
        hand.feed(16, kinds)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < times * size
