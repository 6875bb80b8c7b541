"""Freed memory is kept for reuse while a network is fed, and only then."""

from types import SimpleNamespace

import pytest
import torch

from intriguing.activations import collect_maps, receptive_field
from intriguing.basics.process import heap
from intriguing.models import predict

TRIM_THRESHOLD = -1


@pytest.fixture
def thresholds(monkeypatch):
    """What glibc was told, by parameter: -1 is the size of free memory from which it is given back."""
    told = {}
    libc = SimpleNamespace(mallopt=lambda parameter, value: told.update({parameter: value}))
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: libc)
    return told


def test_memory_is_kept_until_the_last_context_is_left(thresholds):
    with heap.reused_heap():
        with heap.reused_heap():
            assert thresholds[TRIM_THRESHOLD] == 2**30
        assert thresholds[TRIM_THRESHOLD] == 2**30
    assert thresholds[TRIM_THRESHOLD] == 2**26


def test_another_allocator_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: SimpleNamespace())
    with heap.reused_heap():
        pass


@pytest.mark.parametrize(
    "feed",
    [
        lambda net, x: predict(net, x, 4),
        lambda net, x: list(collect_maps(net, [x], "0")),
        lambda net, x: receptive_field(net, "0", x.shape[1:]),
    ],
)
def test_memory_is_kept_while_a_network_is_fed(feed, thresholds):
    net, seen = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), []
    net.register_forward_hook(lambda *_: seen.append(thresholds[TRIM_THRESHOLD]))
    feed(net, torch.rand(8, 1, 6, 6))
    assert set(seen) == {2**30}
    assert thresholds[TRIM_THRESHOLD] == 2**26
