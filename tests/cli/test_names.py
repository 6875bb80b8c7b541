"""Names that people give: spaces, slashes, quotes, other scripts, HTML, 300 characters, through every command."""

import csv

import numpy as np
import pytest

import intriguing as ig
from intriguing.cli import call as run_command
from tests.pages import Document

ODD = "../up/a b\\c:d*?|é 模型 🙂 \u202ertl <b onclick=alert(1)>bold</b> & \"two\" 'one' {{x}}"
LONG = "n" * 300
MODELS = (ODD, LONG)
DATA = "data/<i>set</i> 'x' \"y\" é"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A spec with such names, with the line ends of Windows, in such a folder; its run."""
    folder = tmp_path_factory.mktemp("a b 'q' é模")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (rng.random((60, 1, 5, 5)) * 0.3 + labels[:, None, None, None] * 0.3).astype(np.float32)
    splits = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(folder / "da ta's.npz", **splits)

    def quoted(text):
        return '"' + "".join(f"\\U{ord(c):08X}" if c in '"\\' or not c.isprintable() else c for c in text) + '"'

    model = ["architecture = 'softmax'", "training = { epochs = 20 }", "layers = ['logits']"]
    source = f"npz:{folder}/da ta's.npz"
    lines = ["name = 'names'", f"[datasets.{quoted(DATA)}]", f"source = {quoted(source)}"]
    for name in MODELS:
        lines += [f"[models.{quoted(name)}]", *model]
    lines += ["[units]", "k = 3", "rows = 30", "[blind_spots]", "images = 4", "grade = 'fast'"]
    lines += ["target_rules = ['untargeted']", "[transfer]", "kinds = ['minimal']", "sizes = []", "noise = []"]
    spec = folder / "spec 1.toml"
    spec.write_bytes("\r\n".join(lines).encode())
    assert run_command(["plan", str(spec), "--out", str(folder / "run")]) == 0
    assert run_command(["run", str(spec), "--out", str(folder / "run"), "--executor", "inline"]) == 0
    return folder / "run"


@pytest.mark.slow
def test_every_command_takes_such_names(run, tmp_path, capsys):
    opened = ig.open_run(run)
    assert {name for name, _ in opened.models()} == set(MODELS)
    matrix = opened.transfer_matrix(target_rule="untargeted")
    assert set(matrix.index) == set(MODELS) and "<b onclick" not in matrix._repr_html_()
    for name in MODELS:
        assert len(opened.table("distortions", model=name, dataset=DATA)) == 4
    for line in (["status"], ["show"], ["verify"], ["prune"], ["diff", str(run)], ["report"]):
        assert run_command([line[0], str(run), *line[1:]]) == 0, capsys.readouterr().err
    for what in ("units", "distortions", "transfer", "models", "verdicts"):
        assert run_command(["show", str(run), what]) == 0
    out = capsys.readouterr().out
    assert "\u202e" not in out and "模型" in out
    for number, name in enumerate(MODELS):
        folder = tmp_path / f"out {number}"
        assert run_command(["export", str(run), "--adversarial", str(folder), "--model", name, "--eight-bit"]) == 0
        assert "PNGs fool the model" in capsys.readouterr().out
        rows = list(csv.DictReader((folder / "index.csv").open(encoding="utf-8")))
        assert {row["model"] for row in rows} == {name} and {row["dataset"] for row in rows} == {DATA}


@pytest.mark.slow
def test_the_page_has_such_names_as_text(run):
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "<b onclick" not in html and "<i>set</i>" not in html
    assert "&lt;b onclick" in html
    assert Document(html)


def test_a_name_of_more_characters_is_refused_by_its_key(tmp_path, capsys):
    spec = tmp_path / "long.toml"
    spec.write_text(f"[datasets.mnist-sample]\n[models.{'n' * 301}]\narchitecture = 'softmax'\n")
    assert run_command(["plan", str(spec)]) == 2
    assert "at most 300 characters" in capsys.readouterr().err
