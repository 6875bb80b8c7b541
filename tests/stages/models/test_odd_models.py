"""Models in odd forms: fed as they need it through every stage, or refused before work with what to write."""

import numpy as np
import pandas as pd
import pytest
import torch

from intriguing.data import load_dataset
from intriguing.errors import ModelError
from intriguing.models import build_model
from intriguing.results import open_run
from intriguing.sweep import execute, prepare
from tests.sweep.small import SMALL

_HERE = "tests.stages.models.odd_models"
_TYPES = {"half": torch.float16, "brain": torch.bfloat16, "double": torch.float64}


def spec(models, *without, **more):
    sections = {name: part for name, part in SMALL.items() if name not in without}
    return (
        sections
        | {"models": {name: {"architecture": f"{_HERE}:{name}", **kind} for name, kind in models.items()}}
        | more
    )


@pytest.mark.slow
def test_weights_of_every_float_type_go_through_all_stages(tmp_path):
    """A call took such models, and a sweep refused them."""
    models = {name: {"train": False, "layers": ["0"]} for name in _TYPES}
    prepared = prepare(spec(models, stability={}), tmp_path / "run")
    assert execute(prepared, "inline").failures == ()
    run = open_run(tmp_path / "run")
    digits = load_dataset("mnist-sample").split("test")
    clean = run.sql("select * from transfer where kind = 'clean'")
    layers = run.activation_layers().set_index("model")["folder"]
    for name, dtype in _TYPES.items():
        net = build_model(f"{_HERE}:{name}", (1, 28, 28), 10).eval()
        rows = clean[clean["model"] == name]
        kept = pd.read_parquet(layers[name])
        for frame in (rows, kept):
            images = digits.pixels(digits.positions(frame["example_id"].to_numpy())).to(dtype)
            with torch.no_grad():
                assert frame["prediction"].tolist() == net(images).argmax(1).tolist()
                maxima = net[0](images).float().amax((2, 3))
        torch.testing.assert_close(torch.tensor(np.stack(kept["vector"])), maxima, rtol=1e-2, atol=1e-3)
    assert set(run.pandas("distortions")["model"]) == set(_TYPES)
    assert set(run.pandas("distortions")["status"]) <= {"found", "misclassified", "not_found"}
    assert set(run.pandas("certificates")["model"]) == set(_TYPES)


@pytest.mark.slow
def test_an_exported_program_is_searched_in_a_sweep(tmp_path):
    prepared = prepare(spec({"program": {"train": False}}, "units"), tmp_path / "run")
    assert execute(prepared, "inline").failures == ()
    assert set(open_run(tmp_path / "run").pandas("distortions")["status"]) <= {"found", "misclassified", "not_found"}


@pytest.mark.slow
def test_batches_of_one_size_are_fed_where_the_spec_says_which(tmp_path):
    models = {"of_rows": {"train": False, "options": {"rows": 4}, "layers": ["net.0"]}}
    prepared = prepare(spec(models, compute={"slots": 4}), tmp_path / "run")
    assert execute(prepared, "inline").failures == ()


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("half", {}, "it is trained in float32, and its weights are float16"),
        ("program", {}, "It has no training mode, as it was exported: write train = false"),
        (
            "of_rows",
            {"train": False, "options": {"rows": 1}},
            "it takes one image at a time, and a sweep feeds it several",
        ),
        (
            "of_rows",
            {"train": False, "options": {"rows": 6}},
            r"it takes batches of 6 alone: write slots = 6 under \[comp",
        ),
    ],
)
def test_what_cannot_be_fed_is_told_before_work(name, kind, said, tmp_path):
    with pytest.raises(ModelError, match=f"models.{name} on mnist-sample: .*{said}"):
        execute(prepare(spec({name: kind}, "units"), tmp_path / "run"), "inline")
    assert not (tmp_path / "run" / "store").exists()
