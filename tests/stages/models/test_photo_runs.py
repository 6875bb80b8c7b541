"""Runs on photos: names of classes and files in the tables, and damaged photos that nothing stops for."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import intriguing as ig
from intriguing import tables
from intriguing.cli import call
from intriguing.engine.task import Plan
from intriguing.stages.common.planned import PlannedDataset
from intriguing.stages.models.plan import examples
from intriguing.sweep.runner import execute, prepare
from tests.pages import about


def photos(folder):
    """Two classes, light and dark, in train and test; one photo of each split is damaged where no header tells."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind, base in (("dark cat", 0), ("light dog", 120)):
            (folder / split / kind).mkdir(parents=True)
            for n in range(6):
                pixels = base + rng.integers(0, 120, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels.astype(np.uint8)).save(
                    folder / split / kind / f"{n}.tif", compression="tiff_lzw"
                )
        bad = folder / split / "dark cat" / "3.tif"
        bad.write_bytes(bad.read_bytes()[:20] + b"\xff" * 60 + bad.read_bytes()[80:])
        (folder / split / "light dog" / "9.bmp").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo runs")
    source = f"imagefolder:{photos(folder / 'photos')}?size=16&resize=16&mode=L"
    spec: dict[str, Any] = {
        "name": "pets",
        "datasets": {"pets": {"source": source}},
        "models": {"softmax": {"layers": ["logits"], "training": {"epochs": 100}}},
        "units": {"k": 3},
        "blind_spots": {"images": 12, "grade": "fast", "target_rules": ["untargeted"]},
        "transfer": {},
        "compute": {"slots": 32},
    }
    return ig.run(spec, folder / "run", "inline")


def test_every_input_can_be_traced_to_its_class_and_file(finished):
    frame = finished.pandas("examples").set_index("example_id")
    assert frame.loc[0, ["class_name", "path", "split"]].tolist() == ["dark cat", "train/dark cat/0.tif", "train"]
    assert frame.loc[24, ["class_name", "path", "label"]].tolist() == ["light dog", "test/light dog/5.tif", 1]
    assert finished.class_names() == {("pets", 0): "dark cat", ("pets", 1): "light dog"}


def test_damaged_photos_are_listed_and_everything_goes_on_without_them(finished):
    skipped = finished.pandas("skipped")
    told = {(row.model, row.example_id): row.reason for row in skipped.itertuples()}
    assert set(told) == {("", 12), ("", 25), ("softmax", 3), ("softmax", 16)}
    assert told["", 12] == "train/light dog/9.bmp: not an image"
    assert told["softmax", 3].startswith("train/dark cat/3.tif: left out of the training:")
    assert "cat/3.tif cannot be decoded" in told["softmax", 16]
    searched = finished.pandas("distortions").set_index("example_id").status
    assert searched[16] == "bad_input"
    assert (searched.drop(16) != "bad_input").all()
    assert set(finished.pandas("transfer", kind="clean").example_id) == set(searched.drop(16).index)
    assert finished.pandas("models").train_error[0] == 0


def test_the_page_and_show_call_classes_by_name(finished, capsys):
    page = (Path(finished.path) / "report.html").read_text()
    [images] = about(page, "units")["images"].values()
    assert images["classes"]["0"] == "0 (dark cat)"
    assert call(["show", finished.path, "topk"]) == 0
    shown = capsys.readouterr().out
    assert "class_name" in shown
    assert "light dog" in shown


def facts(names_hash):
    return PlannedDataset(
        "digits", "mnist-sample", None, "ab" * 32, {"train": 8, "test": 2}, (1, 28, 28), 10, names_hash
    )


def test_a_data_set_without_names_keeps_the_fingerprint_of_its_list():
    """Runs of earlier versions go on; only where there are names is the list made anew."""
    assert Plan([examples(facts(""))]).fingerprints == {"examples/digits": "935f6928f8c149b4f35ee6933d8d8c2e11229677"}
    assert Plan([examples(facts("ab"))]).fingerprints != Plan([examples(facts("cd"))]).fingerprints


def test_a_table_of_an_earlier_version_reads_as_without_names(tmp_path):
    spec = {"name": "x", "datasets": {"mnist-sample": {}}, "models": {}}
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    run = ig.open_run(tmp_path / "run")
    frame = run.pandas("examples")
    assert frame.class_name.isna().all()
    assert frame.path.isna().all()
    [file] = (tmp_path / "run" / "tables" / "examples").glob("*.parquet")
    pq.write_table(pq.read_table(file).drop_columns(["class_name", "path"]), file)
    assert run.table("examples").schema.names == tables.EXAMPLES.schema.names
    assert run.pandas("examples").class_name.isna().all()
    assert run.class_names() == {}
    assert run.sql("select count(*) as n from examples where path is null").n[0] == 10_000
