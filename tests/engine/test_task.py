"""Fingerprints: what changes them and what does not."""

from dataclasses import replace

import pytest

from intriguing.engine.task import Code, Function, Output, Plan, Resource, Task
from intriguing.errors import InputError

FUNCTION = Function("x:y", 1)


def fingerprint(**changes):
    base = Task("base", FUNCTION, {"n": 1})
    resource = Resource(Code("x:load"), {"hash": "abc"}, location={"root": "/here"})
    task = Task("t", FUNCTION, {"k": 16}, {"rows": Output("base", "rows")}, {"data": resource})
    return Plan([base, replace(task, **changes)]).fingerprints["t"]


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"k": 8}},
        {"function": Function("x:y", 2)},
        {"function": Function("x:z", 1)},
        {"inputs": {"rows": Output("base", "other")}},
        {"resources": {"data": Resource(Code("x:load"), {"hash": "abd"}, location={"root": "/here"})}},
    ],
)
def test_what_decides_a_result_changes_the_fingerprint(changes):
    assert fingerprint(**changes) != fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"publish": {"rows": "table"}},
        {"noun": "images", "amount": 5},
        {"affinity": "m"},
        {"resources": {"data": Resource(Code("x:load"), {"hash": "abc"}, location={"root": "/there"})}},
    ],
)
def test_where_things_lie_and_what_they_are_called_does_not(changes):
    assert fingerprint(**changes) == fingerprint()


def test_an_input_s_parameters_change_the_fingerprints_of_all_that_reads_it():
    def last(n):
        tasks = [Task("a", FUNCTION, {"n": n})]
        tasks += [
            Task("b", FUNCTION, {}, {"x": Output("a", "out")}),
            Task("c", FUNCTION, {}, {"x": Output("b", "out")}),
        ]
        return Plan(tasks).fingerprints["c"]

    assert last(1) != last(2)


def test_an_input_that_no_earlier_task_makes_is_refused():
    with pytest.raises(InputError, match="'rows' of 'later' is wanted, and no earlier task makes it"):
        Plan([Task("t", FUNCTION, {}, {"x": Output("later", "rows")}), Task("later", FUNCTION)])


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(InputError, match="Two tasks are called 't'"):
        Plan([Task("t", FUNCTION), Task("t", FUNCTION)])


def test_a_parameter_that_is_not_json_is_refused():
    with pytest.raises(InputError, match="parameters of 't' are not plain JSON"):
        Plan([Task("t", FUNCTION, {"x": object()})])
