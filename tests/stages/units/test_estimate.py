"""What a dry run says of the size of stored activations."""

import pytest

from intriguing.stages.common.parameters import Compute, Draw, ModelKey, Shard
from intriguing.stages.units import functions
from intriguing.stages.units.estimate import stored_bytes
from intriguing.stages.units.functions import Reading


def activations(dtype, amount):
    parameters = functions.ActivationsParameters(
        key=ModelKey("digits", "mlp", 0),
        draw=Draw("test", 100, 0),
        compute=Compute(1, 16),
        shard=Shard(0, amount),
        layers=("hidden1", "hidden2"),
        reading=Reading("max", dtype),
    )
    return functions.ACTIVATIONS.task("activations/0", parameters, amount=amount)


@pytest.mark.parametrize(("dtype", "number_bytes"), [("float32", 4), ("float16", 2)])
def test_a_task_stores_a_number_per_image_and_unit_of_its_layers(dtype, number_bytes):
    units = {"hidden1": 30, "hidden2": 10, "of another stage": 1_000}
    assert stored_bytes(activations(dtype, 7), units) == 7 * (30 + 10) * number_bytes


def test_a_stream_stores_the_share_of_its_images_that_later_tasks_read():
    parameters = functions.StreamParameters(
        key=ModelKey("digits", "mlp", 0),
        draw=Draw("test", 100, 0),
        compute=Compute(1, 16),
        shard=Shard(0, 50),
        scanned=("hidden1", "hidden2"),
        reading=Reading("max", "float32"),
        bases=("natural",),
        k=4,
        both=False,
        kept=20,
    )
    stream = functions.STREAM.task("stream/0", parameters, amount=50)
    assert stored_bytes(stream, {"hidden1": 30, "hidden2": 10}) == 10 * (30 + 10) * 4


def test_nothing_is_known_of_a_layer_that_was_not_built_and_nothing_stored_by_other_tasks():
    assert stored_bytes(activations("float32", 7), {}) == 0
    scan = functions.SCAN.task("scan/0", functions.ScanParameters("natural", 16, False, 0, 1))
    assert stored_bytes(scan, {"hidden1": 30}) == 0
