"""A task's code does not change without a decision about its version."""

import json

import pytest

from intriguing.engine.task import Function
from intriguing.sweep.functions import FUNCTIONS
from tests.sweep.golden import GOLDEN, source_hash


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.path)
def test_the_source_is_the_one_that_its_version_was_decided_for(function: Function) -> None:
    golden = json.loads(GOLDEN.read_text()).get(function.path)
    assert golden is not None, f"{function.path} is new: run `make golden`"
    assert golden == {"version": function.version, "source": source_hash(function)}, (
        f"The code behind {function.path} changed. If results change, raise its version in sweep/functions.py"
        " (finished outputs are then computed again); then run `make golden`."
    )


def test_every_task_function_can_be_imported() -> None:
    assert all(callable(function.load()) for function in FUNCTIONS)
