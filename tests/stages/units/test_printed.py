"""What `show RUN units` prints of a run with many layers: the first of them, whole, and that there are more."""

import pytest

from intriguing.results import open_run
from intriguing.stages.units import printed as module
from intriguing.stages.units.printed import printed
from tests.synthetic_run import SyntheticRun


@pytest.fixture
def run(tmp_path):
    SyntheticRun(tmp_path / "run", models=("b", "a'\"b"), layers=("hidden", "logits"), seeds={"b": (0, 1)}).write(
        "plan", "examples", "model_rows", "topk", "scores"
    )
    return open_run(tmp_path / "run")


def test_a_run_of_many_layers_shows_the_first_of_them_with_all_their_seeds(run, monkeypatch):
    everything = printed(run)
    assert "layers are shown" not in everything
    monkeypatch.setattr(module, "_MOST", 1)
    some = printed(run)
    assert "The first 1 of 2 layers are shown." in some
    left, right = (set(text.splitlines()) for text in (some, everything))
    assert {"b#0 · hidden", "b#1 · hidden"} <= left and not any("a'" in line or "logits" in line for line in left)
    assert "a'\"b · hidden" in right
    # What is left out leaves the figures of the others as they are, but for the columns' widths.
    squeezed = {" ".join(line.split()) for line in right}
    cut = {" ".join(line.split()) for line in left} - squeezed
    assert len(cut) == 1 and cut.pop().startswith("The first 1 of 2")
