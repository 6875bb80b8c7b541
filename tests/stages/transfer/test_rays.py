"""The tasks that follow rays, called by hand, and what a sweep plans of them."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import torch

from intriguing import tables
from intriguing.errors import SpecError
from intriguing.stages.transfer import feeding, ray_tasks
from intriguing.sweep.spec import load_spec
from intriguing.transfer import rays as rays_module
from tests.stages.transfer.test_tasks import Hand
from tests.sweep.planning import plan_of

SIZES = [0.02, 0.1, 0.3]


class Following(Hand):
    """A worker whose model was fed the images unchanged, too."""

    def table(self, name, columns):
        if name == "clean":
            said = self.answers(self.split.pixels(np.arange(len(self.split))))
            return pa.table({"example_id": self.split.ids, "prediction": said}).select(columns)
        return super().table(name, columns)

    def answers(self, images):
        with torch.no_grad():
            return self.model(images).argmax(1).numpy()

    def follow(self, slots):
        parameters = {"dataset": "d", "model": "m", "model_seed": 0, "source_model": "n", "source_seed": 3}
        parameters |= {"split": "test", "sizes": SIZES, "threads": 1, "slots": slots}
        return ray_tasks.follow_rays(self, **parameters)["rays"]

    def noise(self, slots, noise, sizes):
        parameters = {
            "dataset": "d",
            "model": "m",
            "model_seed": 0,
            "split": "test",
            "images": len(self.split),
            "seed": 5,
        }
        parameters |= {
            "start": 0,
            "stop": len(self.split),
            "noise": noise,
            "sizes": sizes,
            "threads": 1,
            "slots": slots,
        }
        return ray_tasks.feed_noise(self, **parameters)


@pytest.mark.parametrize("kept", [0, 1 << 28])
@pytest.mark.parametrize("slots", [4, 8])
def test_rays_do_not_depend_on_batches(monkeypatch, kept, slots):
    torch.manual_seed(0)
    whole = Following().follow(8)
    monkeypatch.setattr(feeding, "KEPT_BYTES", kept)
    torch.manual_seed(0)
    assert Following().follow(slots).equals(whole)
    assert whole.num_rows == 8
    assert set(whole["status"].to_pylist()) <= {"crossed", "wrong_before", "never"}


def test_each_ray_is_of_its_own_image_and_its_crossing_fools():
    torch.manual_seed(0)
    hand = Following()
    rows = hand.follow(4).to_pandas()
    stored = np.stack(hand.images["image"].to_numpy()).reshape(9, 3, 8, 8)
    for row in rows.itertuples():
        clean = hand.split.images[row.example_id] / np.float32(255)
        assert row.clean_error == (hand.answers(torch.from_numpy(clean)[None])[0] != row.label)
        assert (row.status == "wrong_before") == row.clean_error
        change = stored[int(row.search_id[1:])].astype(float) - clean
        if row.status == "crossed":
            factor = row.crossing / np.sqrt((change**2).mean())
            for _ in range(50):  # the change that has this size after clipping
                moved = np.clip(clean + factor * change, 0, 1)
                factor *= row.crossing / np.sqrt(((moved - clean) ** 2).mean())
            said = hand.answers(torch.from_numpy((1.0005 * (moved - clean) + clean).astype(np.float32))[None])[0]
            assert said != row.label
            assert row.right_below < row.crossing
        assert list(row.rms) == pytest.approx(SIZES, rel=1e-3)
        assert len(row.predictions) == 3


def test_noise_of_fixed_sizes_is_clipped_and_told_and_its_rays_are_the_control_at_every_size():
    torch.manual_seed(0)
    outputs = Following().noise(4, [0.1, 0.3], SIZES)
    rows = outputs["transfer"].to_pandas()
    assert rows.search_id.tolist()[:2] == ["noise/0.1/0", "noise/0.1/1"]
    assert rows.groupby("size").rms.max().tolist() < [0.1, 0.3]
    assert (rows.rms > 0.6 * rows["size"]).all() and (rows.clipped_fraction > 0).all()
    assert rows.kind.unique().tolist() == ["noise"]
    rays = outputs["rays"].to_pandas()
    assert np.stack(rays.rms.tolist()) == pytest.approx(np.tile(SIZES, (9, 1)), rel=1e-3)
    assert (rays.kind.unique().tolist(), rays.source_model.unique().tolist()) == (["gaussian"], [""])


def test_images_are_in_memory_once_and_their_rays_twice(monkeypatch):
    hand = Following(64, (3, 48, 48))
    size = 64 * 3 * 48 * 48 * 4
    for module in (feeding, rays_module):
        monkeypatch.setattr(module, "_AT_ONCE", size // 256)
    peaks = []
    for task in (lambda: hand.follow(16), lambda: hand.noise(64, [0.1], []), lambda: hand.noise(64, [], SIZES)):
        tracemalloc.start()
        try:
            task()
            peaks.append(tracemalloc.get_traced_memory()[1] / size)
        finally:
            tracemalloc.stop()
    # What was found, the directions of the rays, and their points; without a source no images were found.
    assert peaks[0] < 3.7
    assert peaks[1] < 1.7
    assert peaks[2] < 2.7


def test_noise_without_rays_and_rays_without_noise():
    torch.manual_seed(0)
    neither = Following().noise(4, [], [])
    assert [neither[name].num_rows for name in ("transfer", "rays")] == [0, 0]
    assert neither["rays"].schema.equals(tables.RAYS.schema)
    assert Following().noise(4, [0.1], [])["transfer"].num_rows == 9


def test_a_shard_in_which_nothing_was_found_has_no_rays():
    hand = Following()
    hand.searches = hand.searches.slice(0, 1)
    rows = hand.follow(4)
    assert rows.num_rows == 0
    assert rows.schema.equals(tables.RAYS.schema)


def spec_of(**transfer):
    models = {name: {"architecture": "softmax"} for name in ("a", "b", "c")}
    body = {"name": "s", "datasets": {"mnist-sample": {}, "alone": {"source": "mnist-sample"}}, "transfer": transfer}
    lone = {"architecture": "softmax", "datasets": ["alone"]}
    shared = {name: model | {"datasets": ["mnist-sample"]} for name, model in models.items()}
    return load_spec(body | {"models": shared | {"lone": lone}, "blind_spots": {"images": 600}})


def kinds_of(plan):
    names = [task.name for task in plan]
    return {kind: sum(name.startswith(f"{kind}/") for name in names) for kind in ("clean", "noise", "transfer", "rays")}


def test_one_task_per_source_shard_and_target_and_nothing_along_rays_for_a_lone_model():
    plan = plan_of(spec_of())
    # 3 shards of images, 2 rules, 3 models and a lone one.
    assert kinds_of(plan) == {"clean": 4 * 3, "noise": 3 * 3, "transfer": (9 + 1) * 6, "rays": 9 * 6}
    ray = plan.tasks["rays/mnist-sample/a/0/random/00001/to/b/0"]
    assert {need.task for need in ray.needs} == {
        "search/mnist-sample/a/0/random/00001",
        "clean/mnist-sample/b/0/00001",
        "model/mnist-sample/b/0",
    }
    assert kinds_of(plan_of(spec_of(sizes=[], noise=[])))["noise"] == 0
    assert kinds_of(plan_of(spec_of(sizes=[])))["rays"] == 0


def test_all_models_are_fed_a_shard_before_the_next_one_and_it_is_their_affinity():
    plan = plan_of(spec_of())
    fed = [task for task in plan if task.name.startswith("transfer/mnist-sample")]
    shards = [task.affinity for task in fed]
    assert shards == [shard for shard in dict.fromkeys(shards) for _ in range(3)]
    targets = [task.name.split("/to/")[1] for task in fed[:6]]
    assert targets == ["a/0", "b/0", "c/0", "c/0", "b/0", "a/0"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"sizes": [0.1, 1.5]}, r"transfer.sizes.1: .*less than or equal to 1"),
        ({"sizes": [0.2, 0.1]}, r"transfer.sizes: sizes must ascend, each once: write \[0.1, 0.2\]"),
        ({"noise": [0.0]}, r"transfer.noise.0: .*greater than 0"),
        ({"noise": [float("nan")]}, r"'transfer.noise.0' is nan, and every number of a spec is finite"),
    ],
)
def test_sizes_that_the_box_does_not_allow_are_refused_by_key(section, message):
    with pytest.raises(SpecError, match=message):
        spec_of(**section)
