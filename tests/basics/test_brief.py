"""No ``repr`` prints the pixels."""

import importlib
import pkgutil
from collections import Counter
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.activations import collect_activations
from intriguing.data import load_dataset
from intriguing.transfer import gaussian_noise
from intriguing.units import Directions, Moments, TopK


def test_results_are_shown_in_a_line_with_their_shapes():
    x = torch.rand(40, 1, 8, 8)
    found = ig.minimal_distortion(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), x, torch.arange(40) % 3)
    counts = ", ".join(f"{n} {status}" for status, n in Counter(found.status).items())
    median = float(found.l2[found.l2 > 0].median())
    assert repr(found) == f"SearchResult({counts}; median L2 of those found {median:.4g})"
    [block] = collect_activations(nn.Sequential(nn.Flatten()), [x], ["0"])
    assert repr(block) == "Block(ids=<int64 (40,)>, vectors={'0': <float32 (40, 64)>})"
    assert "images=<float32 (40, 64)>" in repr(gaussian_noise(x.flatten(1).numpy(), 0.1, 0, range(40)))
    top = TopK(Directions.natural(64), 5)
    top.update(x.flatten(1).numpy(), np.arange(40))
    shown = [found, block, top.result(), Directions.natural(64), load_dataset("mnist-sample")]
    assert all(len(repr(one)) < 700 for one in shown)
    assert not any("array(" in repr(one) or "tensor(" in repr(one) for one in shown)


def test_scans_say_their_directions_and_rows():
    scan, moments = TopK(Directions.natural(4), 3, both=True), Moments(4, with_covariance=True)
    rows = np.random.default_rng(0).random((1_200, 4))
    scan.update(rows, range(1_200))
    moments.update(rows)
    assert repr(scan) == f"TopK({Directions.natural(4)!r}, k=3, both=True: 1,200 rows)"
    assert repr(moments) == "Moments(4, with_covariance=True: 1,200 rows)"
    assert repr(Moments(4)) == "Moments(4: 0 rows)"


def array_holders():
    """Every dataclass and named tuple with a field of arrays that a package's `__all__` names."""
    holders = []
    for package in pkgutil.iter_modules(ig.__path__, "intriguing."):
        module = importlib.import_module(package.name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if isinstance(value, type) and any("ndarray" in kind or "Tensor" in kind for kind in shown_kinds(value)):
                holders.append(value)
    holders.remove(ig.SearchResult)  # It says what it found.
    return list(dict.fromkeys(holders))


def shown_kinds(value):
    """The types of the fields that a repr shows, but for functions."""
    if is_dataclass(value):
        kinds = [str(f.type) for f in fields(value) if f.repr]
    else:
        kinds = [str(kind) for kind in value.__annotations__.values()] if hasattr(value, "_fields") else []
    return [kind for kind in kinds if "Callable" not in kind]


@pytest.mark.parametrize("kind", array_holders(), ids=lambda kind: kind.__qualname__)
def test_whatever_holds_arrays_is_shown_by_their_shapes(kind):
    assert kind.__repr__.__name__ == "brief"
