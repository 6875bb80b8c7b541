"""What newcomers type wrong: each gets a sentence that says what to write, and exit code 2."""

import csv
import os

import pytest

from intriguing.cli import call
from intriguing.data.factories import split_name
from intriguing.errors import DataError, ModelError
from intriguing.models import build_model
from intriguing.sweep.spec import load_spec
from tests.pages import rewrite
from tests.synthetic_run import make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run, a folder without one, photos that are none, and a spec that is not UTF-8."""
    root = tmp_path_factory.mktemp("wrong")
    make_run(root / "run", layers=("hidden",))
    (root / "empty").mkdir()
    (root / "latin.toml").write_bytes('name = "grün"'.encode("latin-1"))
    for split in ("train", "test"):
        for kind in ("a", "b"):
            (root / "photos" / split / kind).mkdir(parents=True)
            (root / "photos" / split / kind / "x.jpg").write_bytes(b"no jpeg")
    text = '[datasets.d]\nsource = "{}"\n[models.mlp]\ntraining = {{ epochs = 1 }}\nlayers = ["fc1"]\n'
    for name, source in {"bare": "photos", "file": "d.npz", "unread": "imagefolder:photos", "odd": "csv:x"}.items():
        (root / f"{name}.toml").write_text(text.format(source))
    return root


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("show", "intriguing show needs FOLDER: the run folder"),
        ("diff run", "intriguing diff needs SECOND: the run folder to compare it with. See intriguing diff --help."),
        ("export run", "intriguing export needs --adversarial: the new folder for the images."),
        ("models x", "intriguing models takes no x."),
        ("show run --schema", "--schema needs a table"),
        ("show run unitz", "Did you mean 'units'"),
        ("show empty", "it has no plan.json"),
        ("export run --adversarial new --model nix", "no adversarial image with model 'nix'. It has model: "),
        ("run demo --workers 0", "workers = 0: it must be a whole number of at least 1."),
        ("run demo --gpus-per-worker -1", "gpus_per_worker = -1.0: it must be a number of at least 0."),
        ("run demo --out s3:/bucket/x", "write s3://bucket/x"),
        ("status s3:bucket/x", "write s3://bucket/x"),
        ("plan latin.toml", "Save it as UTF-8"),
        ("plan bare.toml", "'photos' is the name of a file or folder: write 'imagefolder:photos'."),
        ("plan file.toml", "'d.npz' is the name of a file or folder: write 'npz:d.npz'."),
        (
            "plan unread.toml",
            "None of the 2 photos of 'imagefolder:photos', split 'train', can be read, such as train/a/",
        ),
    ],
)
def test_a_newcomer_is_told_what_to_write(folder, monkeypatch, capsys, typed, said):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    before = sorted(folder.iterdir())
    assert call(typed.split()) == 2
    shown = capsys.readouterr()
    assert said in " ".join(shown.err.split()) and "Traceback" not in shown.err
    assert shown.out == ""
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "line", ["run demo --out {}", "plan demo --out {}", "status {}", "show {}", "report {}", "verify {}"]
)
@pytest.mark.parametrize("whose", ["the path's", "the working folder's"])
def test_a_path_that_is_not_utf8_is_refused_before_any_work(whose, line, tmp_path, monkeypatch, capsys):
    """A run wrote its first results there, and ended with a traceback of Arrow's."""
    odd = os.fsdecode(b"r\xff")
    folder = tmp_path
    if whose == "the working folder's":
        folder = tmp_path / odd
        folder.mkdir()
    monkeypatch.chdir(folder)
    assert call(line.format("run" if folder != tmp_path else odd).split()) == 2
    told = capsys.readouterr().err
    assert "r\\xff" in told and "is not in UTF-8" in told and "Traceback" not in told
    assert list(folder.iterdir()) == []


def test_an_export_names_the_classes(tmp_path):
    run = make_run(tmp_path / "run", layers=("hidden",))
    rewrite(run, "examples", "class_name", lambda row: f"class {row['label']}")
    assert call(["export", str(run), "--adversarial", str(tmp_path / "new"), "--first", "3"]) == 0
    rows = list(csv.DictReader((tmp_path / "new" / "index.csv").open()))
    assert len(rows) == 3
    for row in rows:
        assert row["label_name"] == f"class {row['label']}"
        assert row["prediction_name"] == f"class {row['prediction']}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mycode.py:build", "mycode:build."),
        ("./nets/mycode.py:build", "nets.mycode:build."),
        ("nets/../mycode.py:build", "mycode:build."),
        ("{}/nets/mycode.py:build", "nets.mycode:build."),
        ("../mycode.py:build", "mycode:build, from the folder of the file."),
        ("/elsewhere/mycode.py:build", "mycode:build, from the folder of the file."),
    ],
)
def test_a_file_in_place_of_a_module_is_told_its_name(name, told, tmp_path, monkeypatch):
    """Of a whole path the root's folders were made parts of the module's name, and of .. dots."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        split_name(name.format(tmp_path))
    assert str(raised.value).endswith(f"write the module, without .py: {told}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mine", "There is no model named 'mine'. 'mine' is a module here: write mine:FUNCTION."),
        ("mine.py", "'mine' is a module here: write mine:FUNCTION."),
        ("nets/mine.py", "'nets/mine.py' is a file of Python: write nets.mine:FUNCTION."),
        ("mine.build", "'mine' is a module here: write mine:build."),
        ("code:build", "which hides your code.py: give yours another name."),
    ],
)
def test_a_model_in_a_file_here_is_told_how_it_is_named(name, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    for file in ("mine.py", "code.py", "nets/mine.py"):
        (tmp_path / file).write_text("def build(): ...")
    with pytest.raises(ModelError) as raised:
        build_model(name, (1, 4, 4), 2)
    assert told in str(raised.value)


def test_a_spec_may_begin_with_the_mark_of_windows_editors(tmp_path):
    (tmp_path / "x.toml").write_text('name = "marked"', encoding="utf-8-sig")
    assert load_spec(tmp_path / "x.toml").name == "marked"


@pytest.mark.parametrize("count", ["-1", "many", "2.5"])
def test_a_wrong_number_of_workers_in_the_environment_is_named(folder, monkeypatch, capsys, count):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INTRIGUING_WORKERS", count)
    assert call(["run", "demo", "--executor", "inline"]) == 2
    assert f"INTRIGUING_WORKERS is {count!r}: it must be a whole number" in capsys.readouterr().err
    assert not (folder / "outputs").exists()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "libtorch_cpu.so: failed to map"),
        (MemoryError(), "no memory is left"),
    ],
)
def test_too_little_memory_is_told_in_a_sentence(error, why, monkeypatch, capsys):
    """A limit that leaves no room for torch itself ended in the traceback of its import."""

    def fails(*_, **__):
        raise error

    monkeypatch.setattr("intriguing.cli.process.app", fails)
    assert call(["run", "demo"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(f"There is too little memory for this ({why}")
    assert "ulimit -v" in told


@pytest.mark.parametrize("content", ["", 'name = "x"\n', "seed = 3\n[compute]\nslots = 8\n"])
def test_a_spec_that_asks_for_nothing_is_refused(tmp_path, monkeypatch, capsys, content):
    """It said no more than: 0 tasks ran; then it warned, made a folder and ended with 0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text(content)
    for command in ("plan", "run"):
        assert call([command, "x.toml"]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert told.startswith(
            "x.toml asks for nothing: it names no data set and no question. `intriguing specs` lists"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]


@pytest.mark.parametrize("section", ["units", "blind_spots", "stability"])
def test_a_question_to_models_without_a_model_is_refused(tmp_path, monkeypatch, capsys, section):
    """One task, of the list of examples, was planned without a remark."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text(f"[datasets.mnist-sample]\n[{section}]\n")
    assert call(["plan", "x.toml"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{section}: the section asks of models, and the spec names none; add [models.NAME]" in told
