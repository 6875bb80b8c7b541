"""Whole hardenings: a user's own model, a real kill, Ray, and what is refused before any work."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from intriguing.errors import InputError, ModelError, UnknownNameError
from intriguing.results import open_run
from intriguing.stages.hardening.printed import printed
from intriguing.sweep import execute, prepare
from tests.pages import words_of
from tests.sweep.small import toml

_CLOCKS = ["cpu_seconds", "search_seconds"]


def spec(**rest):
    variants = {
        "weight decay": {},
        "each layer": {"method": "pools", "new_per_epoch": 6, "kept_epochs": 2, "renewals": 2},
        "pgd": {"method": "pgd"},
    }
    own = {
        "architecture": "tests.stages.hardening.own:own",
        "layers": ["hidden"],
        "train": False,
    }
    training = {"epochs": 3, "batch_size": 512, "learning_rate": 3e-3}
    section = {
        "models": ["own"],
        "seeds": [0, 1],
        "variants": variants,
        "defaults": {"training": training},
        "images": 12,
        "curve_images": 4,
        "grade": "fast",
    }
    return {
        "name": "hardened",
        "datasets": {"mnist-sample": {}},
        "models": {"own": own},
        "hardening": section,
        "compute": {"slots": 32},
    } | rest


def rows(out):
    """The table `hardening`, without what a clock measured."""
    return open_run(out).pandas("hardening").drop(columns=_CLOCKS).sort_values(["variant", "model_seed", "epoch"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hardened")
    body = spec()
    body["hardening"]["joined"] = ["each layer"]
    later = {
        "units": {"k": 2, "rows": 40, "metrics": ["kurtosis"]},
        "blind_spots": {"images": 3, "grade": "fast", "target_rules": ["untargeted"]},
        "stability": {},
        "transfer": {},
        "paper": {},
    }
    path = folder / "spec.toml"
    path.write_text(toml(body | later).replace("False", "false"))
    assert execute(prepare(path, folder / "run"), "inline").complete
    return folder


@pytest.mark.slow
def test_a_hardened_model_of_the_user_s_is_a_model_like_any_other(undisturbed):
    run = open_run(undisturbed / "run")
    names = {"own", "own, weight decay", "own, each layer", "own, pgd"}
    assert {name for name, _ in run.models()} == names
    joined = {"own", "own, each layer"}
    for table in ("topk", "unit_scores", "distortions", "operator_norms", "certificates", "transfer"):
        assert set(run.table(table)["model"].to_pylist()) == joined
    proven = run.pandas("certificates").query("model == 'own, each layer'")
    assert len(proven) == 3 * 2
    assert (proven["lower_bound"] > 0).any()
    models = run.pandas("models").query("model == 'own, pgd' and model_seed == 1")
    last = run.pandas("hardening").query("variant == 'pgd' and model_seed == 1 and epoch == 3")
    assert models["test_error"].item() == last["error"].item()
    assert models["train_error"].item() == last["train_error"].item()
    table = run.pandas("hardening")
    assert len(table) == 3 * 2 * 3
    assert set(map(len, table["distortions"])) == {4, 12}
    assert list(table.query("variant == 'each layer'")["layers"].iloc[0]) == ["input", "hidden"]
    assert table.query("epoch == 3")["distortion"].notna().all()
    for _, row in table.iterrows():
        found = np.array(row["distortions"], float)
        found = found[np.isfinite(found)]
        assert len(found) == row["distortion_images"]
        assert row["distortion"] == pytest.approx(found.mean()) if len(found) else np.isnan(row["distortion"])
    assert table.query("variant != 'weight decay'")["fooled"].between(0, 1).all()
    assert (table.groupby(["variant", "model_seed"])["cpu_seconds"].diff().dropna() > 0).all()
    assert len(run.table("hardening_claims")) == 7


@pytest.mark.slow
def test_the_page_and_the_terminal_say_what_was_found(undisturbed):
    words = words_of(undisturbed / "run")
    text = printed(open_run(undisturbed / "run"))
    assert "Does training on what the searches find help?" in words
    assert "No answer to whether training on the examples of each layer gives a lower error than dropout" in words
    assert "minimal changes of input, hidden" in words
    assert "own on mnist-sample" in text
    assert "each layer" in text
    assert max(map(len, text.splitlines())) <= 80


_KILLED = """
import os, signal, sys
from intriguing.cli import call
from intriguing.hardening.training import Hardening

backward, epochs = Hardening._backward, [0]

def killing(self, rows, step, draws):
    epochs[0] += step == 0
    if (epochs[0], step) == (2, 60):
        os.kill(os.getpid(), signal.SIGKILL)
    return backward(self, rows, step, draws)

Hardening._backward = killing
call(sys.argv[1:])
"""
"""The command line in a process that is killed in the middle of the second epoch, however fast it is."""


@pytest.mark.slow
def test_kill_9_in_mid_epoch_loses_that_epoch_alone_and_changes_no_result(tmp_path):
    body = spec()
    body["models"] = {
        "own": {"architecture": "mlp", "layers": ["hidden1"], "options": {"hidden": [12]}, "train": False}
    }
    training = {"epochs": 4, "batch_size": 64, "learning_rate": 3e-3}  # 125 steps an epoch
    pools = {"method": "pools", "layers": ["hidden1"], "new_per_epoch": 6, "renewals": 1}
    body["hardening"] |= {"seeds": [0], "variants": {"weight decay": pools}, "defaults": {"training": training}}
    path = tmp_path / "spec.toml"
    path.write_text(toml(body).replace("False", "false"))
    arguments = ["run", str(path), "--out", str(tmp_path / "run"), "--executor", "inline"]
    command = [sys.executable, "-c", _KILLED, *arguments]
    killed = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=250)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    begun = "hardening/mnist-sample/own/weight decay/0/"
    before = stored(tmp_path / "run")
    assert f"{begun}epoch/0001" in before and f"{begun}epoch/0002" not in before
    outcome = execute(prepare(path, tmp_path / "run"), "inline")
    assert outcome.complete
    assert not before & set(outcome.ran)
    every = {f"{begun}{kind}/{n:04d}" for kind in ("epoch", "measures") for n in (1, 2, 3, 4)}
    assert every <= before | set(outcome.ran)
    assert execute(prepare(path, tmp_path / "undisturbed"), "inline").complete
    assert rows(tmp_path / "run").equals(rows(tmp_path / "undisturbed"))
    assert weights(tmp_path / "run") == weights(tmp_path / "undisturbed")


def stored(out):
    """The tasks whose outputs are in the store."""
    return {json.loads(record.read_text())["task"] for record in (out / "store").glob("[!.]*/record.json")}


def weights(out):
    table = open_run(out).pandas("models")
    return dict(zip(zip(table["model"], table["model_seed"], strict=True), table["weights_hash"], strict=True))


@pytest.mark.slow
@pytest.mark.ray
def test_seeds_and_variants_side_by_side_on_ray_give_the_same(undisturbed, tmp_path, ray_started):
    path = tmp_path / "spec.toml"
    path.write_text(toml(spec()).replace("False", "false"))
    assert execute(prepare(path, tmp_path / "run"), "ray", workers=2).complete
    assert rows(tmp_path / "run").equals(rows(undisturbed / "run"))
    assert weights(tmp_path / "run") == weights(undisturbed / "run")


@pytest.mark.parametrize(
    ("model", "variant", "error", "told"),
    [
        ({"architecture": "mlp", "layers": ["hidden3"]}, {"method": "pools"}, UnknownNameError, "hidden3"),
        (
            {"architecture": "softmax", "layers": ["logits"]},
            {"method": "pools"},
            InputError,
            "write optimizer = 'adam'",
        ),
        ({"architecture": "autoencoder"}, {}, ModelError, "cannot be hardened"),
        ({"architecture": "mlp"}, {"method": "pools", "layers": ["logits"]}, ModelError, "no weights lie above"),
        ({"architecture": "mlp", "layers": ["hidden1", "logits"]}, {"dropout": [0.1]}, ModelError, "drop classes"),
        (
            {"architecture": "tests.stages.hardening.own:stubborn", "layers": ["hidden"]},
            {"dropout": [0.1]},
            ModelError,
            r"hardening\.variants\.weight decay: Stubborn: \('hidden', 3\)",
        ),
    ],
)
def test_what_cannot_be_hardened_is_refused_before_any_work(model, variant, error, told, tmp_path):
    body = spec()
    body["models"] = {"own": model}
    body["hardening"]["variants"] = {"weight decay": variant}
    with pytest.raises(error, match=told) as raised:
        execute(prepare(body, tmp_path / "run"), "inline")
    assert "models.own on mnist-sample" in str(raised.value)
    assert not (tmp_path / "run" / "store").exists()


def test_an_interval_over_seeds_is_read_from_the_last_epochs(undisturbed):
    table = rows(undisturbed / "run").query("variant == 'pgd' and epoch == 3")
    text = printed(open_run(undisturbed / "run"))
    assert f"{100 * float(np.mean(table['error'])):.2f} ±" in text
