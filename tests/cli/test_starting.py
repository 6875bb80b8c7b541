"""`init` and `doctor`: the first spec of somebody's model, and what is here."""

import itertools
import json
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from intriguing.activations import collect_activations
from intriguing.cli import call as run_command
from intriguing.errors import InputError, ModelError
from intriguing.models import build_model
from intriguing.sweep.first_look import Asked, Seen, look
from intriguing.sweep.first_spec import first_spec
from intriguing.sweep.spec import load_spec

MODEL = """
from torch import nn
def build(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, classes))
"""


TRAINED = """
import torch
from torch import nn
class Brightness(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 4)
        self.line.weight.data = torch.tensor([[0.0], [20.0], [40.0], [60.0]])
        self.line.bias.data = torch.tensor([0.0, -2.5, -10.0, -22.5])
    def forward(self, x):
        return self.line(x.flatten(1).mean(1, keepdim=True))
def build():
    return Brightness()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model of somebody's own and its data, in which commands are typed."""
    (tmp_path / "own_net.py").write_text(MODEL)
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), np.uint8)
    labels = np.arange(40) % 4
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_init_lists_the_layers_of_a_model_and_finds_the_data_beside_it(folder, capsys):
    assert run_command(["init", "own_net:build"]) == 0
    assert "intriguing run own_net.toml" in capsys.readouterr().out
    text = (folder / "own_net.toml").read_text()
    assert '#   "1"  Linear   20\n#   "2"  ReLU     20\n#   "3"  Linear   4\n' in text
    assert "40 train, 40 test images of shape (3, 4, 4), 4 classes" in text
    spec = load_spec(folder / "own_net.toml")
    assert list(spec.datasets) == ["own"]
    assert spec.models["own_net"].layers == ["1", "3"]
    assert spec.models["own_net"].is_trained and spec.models["own_net"].training == {"epochs": 20}
    assert "it comes untrained, and is trained here" in text
    assert run_command(["plan", "own_net.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["to_run"] > 5
    assert run_command(["init", "own_net:build"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_init_sees_that_a_model_comes_trained(folder, monkeypatch):
    """It is right on the images that are there; `init` wrote `train = false` for every model of somebody's own."""
    (folder / "brightness.py").write_text(TRAINED)
    monkeypatch.syspath_prepend(folder)
    labels = np.arange(40) % 4
    images = np.broadcast_to(labels[:, None, None, None] / 4, (40, 3, 4, 4)).astype(np.float32)
    splits = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(folder / "bright.npz", **splits)
    monkeypatch.setattr("intriguing.sweep.first_spec.in_child", lambda _, calls, *__: [look(calls[0].argument)])
    (folder / "first.toml").write_text(first_spec("brightness:build", "npz:bright.npz")[1])
    assert not load_spec(folder / "first.toml").models["brightness"].is_trained
    units = load_spec(folder / "first.toml").units
    assert units.rotations == 0 and units.k == 4  # a test takes 100 images, and ten times k are to choose from
    told = "right on 100% of 40 test images (always the commonest class: 25%): it comes trained"
    assert told in (folder / "first.toml").read_text()
    assert (
        "is the normalisation inside the model, and the size of the images right?"
        in (folder / "first.toml").read_text()
    )


@pytest.mark.parametrize(
    ("model", "data", "names"),
    [
        ("nets.small:build", "imagefolder:/my/photos?size=40&resize=40", ("nets-small", "photos")),
        ("torchvision:resnet18", "cifar10", ("resnet18", "cifar10")),
        ("cnn", "npz:sets/digits.npz", ("cnn", "digits")),
        ("own:build", "imagefolder:.", ("own", "mine")),
    ],
)
def test_init_names_model_and_data_after_what_they_are(monkeypatch, model, data, names):
    """They were "model" and "images" in every table and sentence."""
    seen = Seen((3, 8, 8), 4, {"train": 40, "test": 40}, {}, 9, ("test", 40), 0.25, 0.25, comes_trained=False)
    monkeypatch.setattr("intriguing.sweep.first_spec.in_child", lambda *_: [seen])
    name, text = first_spec(model, data)
    spec = tomllib.loads(text)
    assert (*spec["models"], *spec["datasets"]) == names and name == names[0]


def test_init_names_a_sweep_after_its_file(folder, monkeypatch):
    """Two specs of one model shared a run folder."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("intriguing.sweep.first_spec.in_child", lambda _, calls, *__: [look(calls[0].argument)])
    assert run_command(["init", "own_net:build", "--out", "other.toml"]) == 0
    assert load_spec(folder / "other.toml").name == "other"


def test_init_says_that_photos_are_enlarged_and_what_to_write(tmp_path, monkeypatch):
    for split, kind in itertools.product(("train", "test"), ("a", "b")):
        (tmp_path / split / kind).mkdir(parents=True)
        Image.new("RGB", (40, 40), "red").save(tmp_path / split / kind / "1.png")
    monkeypatch.setattr("intriguing.sweep.first_spec.in_child", lambda _, calls, *__: [look(calls[0].argument)])
    told = "# Your photos are 40 x 40 and are enlarged to"
    assert told in first_spec("softmax", f"imagefolder:{tmp_path}")[1]
    text = first_spec("softmax", f"imagefolder:{tmp_path}?size=40&resize=40")[1]
    assert "enlarged" not in text and "shape (3, 40, 40)" in text


def test_datasets_lists_the_forms_of_one_s_own_data(capsys):
    assert run_command(["datasets", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"mnist", "npz:PATH", "imagefolder:PATH", "module:factory"} <= told.keys()
    assert "resize=" in told["imagefolder:PATH"]


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(("typed", "near"), [("god.toml", "good.toml"), ("demoo.toml", "demo"), ("demoo", "demo")])
def test_a_spec_that_is_not_there_is_told_before_anything_is_imported(
    tmp_path, monkeypatch, capsys, command, typed, near
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").touch()
    monkeypatch.setitem(sys.modules, "intriguing.sweep.runner", None)  # to import it fails
    assert run_command([command, typed]) == 2
    said = capsys.readouterr().err
    assert f"Did you mean {near}" in said.replace("'", "") and "Errno" not in said


CONVOLUTIONS = """
import torch
from torch import nn
class Twice(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.zconv = nn.Conv2d(3, 6, 3)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(6, classes)
        self.scripted = torch.jit.script(nn.ReLU())
    def forward(self, x):
        x = self.relu(self.relu(self.zconv(x)) + 1)
        return self.scripted(self.head(self.pool(x).flatten(1)))
def build(classes):
    return Twice(classes)
"""


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_init_lists_every_layer_that_can_be_collected_in_the_model_s_order(folder, monkeypatch):
    """ReLUs and pools, which have no parameters, were left out, and those that run twice."""
    (folder / "twice_net.py").write_text(CONVOLUTIONS)
    monkeypatch.syspath_prepend(folder)
    layers = look(Asked("twice_net:build", "npz:own.npz")).layers
    assert {name: (layer.kind, layer.units, layer.maps) for name, layer in layers.items()} == {
        "zconv": ("Conv2d", 6, (2, 2)),
        "relu#1": ("ReLU", 6, (2, 2)),
        "relu#2": ("ReLU", 6, (2, 2)),
        "pool": ("AdaptiveMaxPool2d", 6, (1, 1)),
        "head": ("Linear", 4, ()),
    }
    assert list(layers) == ["zconv", "relu#1", "relu#2", "pool", "head"]
    monkeypatch.setattr("intriguing.sweep.first_spec.in_child", lambda _, calls, *__: [look(calls[0].argument)])
    text = first_spec("twice_net:build", "npz:own.npz")[1]
    assert '#   "relu#2"  ReLU               6 x 2 x 2\n' in text
    assert 'layers = ["zconv", "head"]' in text
    assert (
        len(
            list(
                collect_activations(
                    build_model("twice_net:build", (3, 4, 4), 4), [torch.rand(4, 3, 4, 4)], list(layers)
                )
            )
        )
        == 1
    )


HEADS = """
import torch
from torch import nn

class Heads(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fixed, self.trunk = nn.Linear(48, 64), nn.Linear(64, 20)
        self.head, self.second = nn.Linear(20, classes), nn.Linear(20, 30)

    def forward(self, x):
        with torch.no_grad():
            seen = self.fixed(x.flatten(1)).relu()
        trunk = self.trunk(seen).relu()
        self.features = self.second(trunk)
        return self.head(trunk)

def build(classes):
    return Heads(classes)
"""


def test_init_proposes_no_layer_on_which_no_logit_depends(folder, monkeypatch):
    """A second head was proposed, as the last and widest of the layers; one that is fed without gradients counts."""
    (folder / "heads.py").write_text(HEADS)
    monkeypatch.syspath_prepend(folder)
    layers = look(Asked("heads:build", "npz:own.npz")).layers
    assert {name: layer.counts for name, layer in layers.items()} == {
        "fixed": True,
        "trunk": True,
        "head": True,
        "second": False,
    }
    monkeypatch.setattr("intriguing.sweep.first_spec.in_child", lambda _, calls, *__: [look(calls[0].argument)])
    text = first_spec("heads:build", "npz:own.npz")[1]
    assert 'layers = ["trunk", "head"]' in text
    assert '#   "second"  Linear  30\n' in text  # listed, for it can be collected


def test_init_without_data_says_what_to_give(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["init", "cnn"]) == 2
    assert "Say so with --data" in capsys.readouterr().err


@pytest.mark.slow
def test_doctor_says_what_is_here_and_what_the_specs_lack(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert run_command(["doctor", "--data", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "torch 2" in told["libraries"]
    assert "mnist-sample" in told["data"]
    assert told["spec demo"] == "can run"
    assert told["spec mnist"] == "needs mnist"
    assert str(tmp_path) in told["data set mnist"]
    alone = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, timeout=250)
    assert ("torchvision" in told) == ("torchvision::" in alone.stderr)


def test_init_asks_which_of_several_files_is_meant_and_for_the_function_before_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("mine.py", "a.npz", "b.npz"):
        (tmp_path / file).touch()
    with pytest.raises(ModelError, match="no model named 'mine'. 'mine' is a module here: write mine:FUNCTION"):
        first_spec("mine")
    with pytest.raises(InputError, match=r"holds 2 npz files \(a.npz, b.npz\). Say which .*--data npz:a.npz\."):
        first_spec("mine:build")
