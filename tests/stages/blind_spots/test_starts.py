"""A sweep's searches start from images of other classes, too, whatever the shards are."""

import numpy as np
import pytest
import torch

import intriguing as ig
from intriguing.data import Split
from intriguing.stages.blind_spots import tasks
from intriguing.stages.common.sampling import drawn_positions
from tests.stages.blind_spots import rugged

COUNT, CLASSES = 300, 4


@pytest.fixture(scope="module")
def split():
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 6), np.uint8)
    with torch.no_grad():
        labels = rugged.build(CLASSES)(torch.from_numpy(images / 255).float()).argmax(1).numpy()
    assert len(np.unique(labels)) == CLASSES
    return Split(images[:, None], labels, np.arange(COUNT))


@pytest.fixture(scope="module")
def spec(split, tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(file, images=split.images[:, 0], labels=split.labels)
    return {
        "name": "starts",
        "datasets": {"points": {"source": f"npz:{file}"}},
        "models": {"net": {"architecture": "tests.stages.blind_spots.rugged:build", "train": False}},
        "blind_spots": {"images": 6, "target_rules": ["untargeted", "random"]},
        "compute": {"searches_per_shard": 6},
    }


def searches(spec, out):
    run = ig.run(spec, out, "inline")
    return run.pandas("distortions").sort_values("search_id", ignore_index=True)


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory):
    return searches(spec, tmp_path_factory.mktemp("whole") / "run")


def test_a_sweep_gives_its_searches_a_draw_of_its_images(split, whole):
    found = whole[whole["target_rule"] == "untargeted"]
    at = split.positions(found["example_id"].to_numpy())
    pool = split.pixels(drawn_positions(split.ids, tasks._STARTS, 0, "starts of searches"))
    assert len(pool) == 256
    x, labels = split.pixels(at), torch.from_numpy(split.labels[at])
    expected = ig.minimal_distortion(rugged.build(CLASSES), x, labels, starts=pool)
    np.testing.assert_array_equal(found["l2"].to_numpy(np.float32), expected.l2.numpy())
    np.testing.assert_array_equal(found["forward_passes"], expected.forward_passes.numpy())
    without = ig.minimal_distortion(rugged.build(CLASSES), x, labels)
    assert not torch.equal(without.forward_passes, expected.forward_passes)


def test_searches_with_starts_do_not_depend_on_the_shards(spec, whole, tmp_path):
    shards = spec | {"compute": {"searches_per_shard": 4, "slots": 8}}
    again = searches(shards, tmp_path / "run")
    columns = ["search_id", "status", "prediction", "l2", "linf", "forward_passes", "backward_passes"]
    assert again[columns].equals(whole[columns])


@pytest.mark.parametrize(("grade", "count"), [("fast", COUNT), ("best", 2 * CLASSES - 1)])
def test_no_image_is_read_for_a_search_that_has_no_use_for_it(grade, count, split, monkeypatch):
    monkeypatch.setattr(Split, "pixels_or_nan", lambda *_: pytest.fail("an image was read"))
    few = Split(split.images[:count], split.labels[:count], split.ids[:count])
    parameters = type("Parameters", (), {"grade": grade, "classes": CLASSES})()
    assert tasks._starts(few, parameters) is None
