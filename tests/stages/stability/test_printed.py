"""The layers and the brackets as text: seeds and data sets of one model are told apart."""

import json

from intriguing import open_run
from intriguing.stages.stability.printed import printed
from tests.stages.stability.certified import written


def test_seeds_of_a_model_are_told_apart_and_models_stand_as_the_spec_lists_them(tmp_path):
    text = printed(written(tmp_path / "run", [("one", "a", 0), ("one", "b", 0), ("one", "a", 1)]))
    blocks = text.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "b",
        "a#0",
        "a#1",
        "proven / found: untargeted, best",
        "proven / found: random, best",
    ]
    assert "3.000" in blocks[2] and "3.000" not in blocks[1]
    assert [line.split()[0] for line in blocks[3].splitlines()[2:]] == ["b", "a#0", "a#1"]


def test_of_several_data_sets_each_is_named(tmp_path):
    text = printed(written(tmp_path / "run", [("one", "a", 0), ("two", "a", 0)]))
    assert [block.splitlines()[0] for block in text.split("\n\n")][:2] == ["one, a", "two, a"]


def test_a_run_without_bounds_prints_nothing(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"spec": {"name": "x"}, "name": "x", "tasks": 0}))
    assert printed(open_run(tmp_path)) == ""
