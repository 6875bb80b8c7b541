"""Models that cannot be searched are refused before a sweep does any work, and its exit code is not 0."""

import pandas as pd
import pytest

from intriguing.errors import ModelError
from intriguing.stages.blind_spots.page.distortions import _row
from intriguing.stages.blind_spots.verdicts import _verdict
from intriguing.sweep import execute, prepare
from tests.sweep.small import SMALL, call, toml

TOLD = {
    "rounded": "gradient of the logits is zero at all 8 images",
    "detached": "does not depend on its input for torch",
    "dropped": "The model is random",
    "of_the_batch": "depends on the other images of its batch",
}


def spec(name):
    return SMALL | {
        "models": {name: {"architecture": f"tests.stages.blind_spots.unsearchable:{name}", "layers": ["linear"]}}
    }


@pytest.mark.parametrize("name", TOLD)
def test_a_model_that_cannot_be_searched_is_refused_before_work(name, tmp_path):
    with pytest.raises(ModelError, match=f"models.{name} on mnist-sample: .*{TOLD[name]}"):
        execute(prepare(spec(name), tmp_path / "run"), "inline")
    assert not (tmp_path / "run" / "store").exists()


_MINE = """
import torch.nn.functional as F
from torch import nn

class Mine(nn.Linear):
    def forward(self, x):
        return F.linear(F.dropout(x.flatten(1)), self.weight, self.bias)

def mine(shape, classes):
    return Mine(shape[0] * shape[1] * shape[2], classes)
"""


@pytest.mark.slow
def test_the_command_line_says_so_with_an_exit_code(tmp_path):
    (tmp_path / "mine.py").write_text(_MINE)
    models = {"mine": {"architecture": "mine:mine"}}
    parts = {name: part for name, part in SMALL.items() if name != "units"}
    (tmp_path / "spec.toml").write_text(toml(parts | {"models": models}))
    done = call("run", "spec.toml", "--out", "run", "--executor", "inline", cwd=tmp_path)
    assert done.returncode != 0
    assert "models.mine on mnist-sample: The model is random" in " ".join(done.stderr.split())


def test_a_page_counts_what_was_not_searched_apart():
    blank = {"distortion": None, "forward_passes": 1, "backward_passes": 1}
    statuses = ["found", "not_found", "no_gradient", "no_gradient", "unstable", "bad_input"]
    searches = [blank | {"status": s, "distortion": 0.1 if s == "found" else None} for s in statuses]
    row = _row("a", pd.DataFrame(searches))
    assert row["status"]["not_found"] == 1
    assert row["unsearched"] == "1 bad input, 2 no gradient, 1 unstable"
    assert _row("a", pd.DataFrame([blank | {"status": "not_found"}]))["unsearched"] == "0"


def test_a_verdict_says_how_many_searches_had_no_answer():
    row = {"target_rule": "untargeted", "grade": "best", "found": 1, "tried": 1, "images": 1, "models": 1}
    row |= {"distortions": [0.1], "needless": 0, "missed": 0, "lost": 0}
    assert _verdict(row | {"unanswered": 5}).interval == "1 image; 5 searches without an answer"
    assert _verdict(row | {"unanswered": 0}).interval == "1 image"
