"""Runs from before the stages became folders go on: nothing is computed again but rotation tests, and what was decided.

`before_the_move.tar.xz` is a run folder that the code of that day made; `before_the_move.json.xz` holds its spec, the
fingerprints of the specs demo and full, and the versions of all task functions then.
"""

import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest

from intriguing.engine.examination import examine
from intriguing.stages import STAGES, units
from intriguing.sweep import execute, prepare

HERE = Path(__file__).parent
BEFORE: dict[str, Any] = json.loads(lzma.decompress((HERE / "before_the_move.json.xz").read_bytes()))
TESTS = ("test_inputs", "score", "null", "rotation_tests", "correction", "model_or_data")
ROTATION_TESTS = {f.function.name for f in units.STAGE.functions if f.function.path.rpartition(":")[2] in TESTS}


def decided(plan):
    """The tasks that may be computed again: rotation tests, those of a raised version, models whose architecture has
    another recipe now, and what is made from all of these.
    """
    again: set[str] = set()
    for task in plan:
        function = task.function
        raised = BEFORE["versions"].get(function.name) != function.version or "recipe" in task.parameters
        if raised or function.name in ROTATION_TESTS or any(need.task in again for need in task.needs):
            again.add(task.name)
    return again


@pytest.fixture
def run_before(tmp_path):
    with tarfile.open(HERE / "before_the_move.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_run_of_that_day_continues(run_before):
    prepared = prepare(BEFORE["spec"], run_before)
    examination = examine(prepared.plan, run_before)
    expected = {task.name for task in prepared.plan} - decided(prepared.plan)
    assert not examination.damaged
    assert expected <= examination.records.keys()
    assert "model/mnist-sample/softmax/0" in expected
    assert "model/mnist-sample/007/0" not in expected  # an mlp, whose recipe was changed
    outcome = execute(prepared, "inline")
    assert outcome.complete
    assert not expected & set(outcome.ran)


@pytest.mark.parametrize("name", ["demo", "full"])
def test_the_fingerprints_of_that_day_stand(name):
    plan = prepare(name, "nowhere").plan
    before = BEFORE["plans"][name]
    changed = {task for task, fingerprint in before.items() if plan.fingerprints.get(task) != fingerprint}
    assert changed <= decided(plan)
    assert len(changed) < len(before)


def test_every_task_takes_the_parameters_that_the_plan_gives_it():
    from intriguing.stages.common.parameters import as_json, parse

    kinds = {each.function.name: each.parameters for stage in STAGES for each in stage.functions}
    for task in prepare("full", "nowhere").plan:
        assert as_json(parse(kinds[task.function.name], task.parameters)) == task.parameters
