"""A task's identity is its name, not the place of its code."""

import importlib
from dataclasses import replace

from intriguing.engine.driver import Driver, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.task import Code, Function, Output, Plan, Resource, Task

SOURCE = """
import pyarrow as pa

def load(step):
    return step, 0

def count(work, n):
    return {"numbers": pa.table({"n": [i * work.resource("step") for i in range(n)]})}
"""


def plan_with_code_in(module):
    count = Function("toys:count", 1, path=f"{module}:count")
    step = Resource(Code("toys:load", f"{module}:load"), {"step": 3})
    first = Task("first", count, {"n": 4}, resources={"step": step})
    second = Task("second", count, {"n": 2}, {"before": Output("first", "numbers")}, {"step": step})
    return Plan([first, second])


def run(plan, folder):
    examination = examine(plan, folder)
    folder.mkdir(exist_ok=True)
    write_plan(folder, plan, {"name": "identity"})
    return Driver(plan, folder, examination, lambda: InlinePool(folder)).run().ran


def test_a_module_that_moved_computes_nothing_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "place_of_old.py").write_text(SOURCE)
    assert run(plan_with_code_in("place_of_old"), tmp_path / "run") == ("first", "second")
    (tmp_path / "place_of_old.py").rename(tmp_path / "place_of_new.py")
    importlib.invalidate_caches()
    moved = plan_with_code_in("place_of_new")
    assert run(moved, tmp_path / "run") == ()
    third = replace(moved.tasks["first"], name="third", parameters={"n": 5})
    assert run(Plan([*moved, third]), tmp_path / "run") == ("third",)


def test_code_without_a_path_is_found_by_its_name():
    assert Code("intriguing.engine.task:Plan").load() is Plan
