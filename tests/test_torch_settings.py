"""Settings of torch that a caller may have made: autocast, inference mode and another default type change no figure."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.errors import InputError
from intriguing.stability import excluded_classes, layer_norms, lower_bounds


@contextlib.contextmanager
def doubles():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "float64 by default": doubles,
}


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
ROWS = np.random.default_rng(0).normal(size=(200, 40)).astype(np.float32)


NET = model()


def scanned():
    scan = ig.TopK(ig.Directions.haar(40, 1), k=3)
    scan.update(ROWS, range(200))
    return scan.result().values


def rotated():
    tests = ig.rotation_test(ROWS, np.arange(200) % 3, rotations=9, subsamples=0, k=2, metrics=["auroc", "kurtosis"])
    return np.array([[test.figures.natural, test.figures.null_mean] for test in tests])


def normed():
    return np.array([ig.operator_norm(NET[1], (16,)).kind == "linear",
                     layer_norms(NET, (1, 4, 4)).product_bound])  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("figure", [scanned, rotated, normed])
def test_figures_do_not_hang_on_the_callers_settings(setting, figure):
    expected = figure()
    with SETTINGS[setting]():
        assert np.array_equal(figure(), expected)


@pytest.mark.parametrize("setting", ["inference mode", "float64 by default"])
def test_bounds_and_searches_do_not_hang_on_the_callers_settings(setting):
    net, labels = model(), model()(X).argmax(1)
    bounds = lower_bounds(net, X, labels).bound
    options = ig.SearchOptions(grade="fast", bounds="fast")
    found = ig.minimal_distortion(net, X, labels, options=options)
    with SETTINGS[setting]():
        images, classes = X + torch.zeros_like(X), labels + 0
        assert torch.equal(lower_bounds(net, images, classes).bound, bounds)
        assert excluded_classes(net, images, classes, bounds / 2).sum() == 8
        assert torch.equal(ig.minimal_distortion(net, images, classes, options=options).l2, found.l2)


def test_a_search_under_autocast_is_of_the_network_as_it_computes_there():
    """It ended with a traceback; the grade faithful did its own arithmetic in bfloat16."""
    net = model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        labels = net(X).argmax(1)
        result = ig.minimal_distortion(net, X, labels, options=ig.SearchOptions(grade="fast"))
        assert "found" in result.status and result.l2.dtype == torch.float32
        for row, status in enumerate(result.status):
            if status == "found":
                assert int(net(result.adversarial[row : row + 1]).argmax(1)) == int(result.prediction[row])
                assert int(result.prediction[row]) != int(labels[row])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "every"}, "targets is 'every'"),
        ({"found": torch.ones(2)}, "found must be 4 numbers"),
        ({"lower": "a"}, "lower is no number"),
        ({"upper": torch.ones(5)}, "upper is no number, and no tensor that broadcasts"),
        ({"lower": float("nan")}, "must have lower <= upper"),
    ],
)
def test_arguments_of_bounds_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        lower_bounds(model(), X, [0, 1, 2, 0], **options)


def test_bounds_take_arrays_and_lists():
    labels = model()(X).argmax(1)
    plain = lower_bounds(model(), X, labels, found=torch.ones(4)).bound
    given = lower_bounds(model(), X.numpy(), labels.tolist(), lower=np.zeros((1, 1, 1)), found=[1.0] * 4).bound  # type: ignore[arg-type]
    assert torch.equal(plain, given)
