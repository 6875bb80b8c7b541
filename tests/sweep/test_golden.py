"""A task's code does not change without a decision about its version."""

import json

import pytest

from tests.sweep.golden import FUNCTIONS, GOLDEN, source_hash


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_the_source_is_the_one_that_its_version_was_decided_for(function):
    golden = json.loads(GOLDEN.read_text()).get(function.name)
    assert golden is not None, f"{function.name} is new: run `make golden`"
    assert golden == {"version": function.version, "source": source_hash(function)}, (
        f"The code behind {function.name} changed. If results change, raise its version in its stage's functions.py"
        " (finished outputs are then computed again); then run `make golden`."
    )


def test_every_task_function_can_be_imported():
    assert all(callable(function.code.load()) for function in FUNCTIONS)
