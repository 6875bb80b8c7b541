"""What CONTRIBUTING says of the tests themselves."""

import ast
import os
from pathlib import Path

import pytest

from tests.conftest import group_of

HERE = Path(__file__).parent


def annotated(file):
    """Names of the functions in `file` that have an annotation."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            if node.returns is not None or any(argument.annotation is not None for argument in arguments):
                yield node.name


def test_functions_of_tests_carry_no_annotations():
    files = {str(file.relative_to(HERE)): list(annotated(file)) for file in HERE.rglob("*.py")}
    assert {file: names for file, names in files.items() if names} == {}


def impatient(file):
    """Lines of `file` that wait for another process for less than three minutes."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WAITS:
            limits = [k.value.value for k in node.keywords if k.arg == "timeout" and isinstance(k.value, ast.Constant)]
            if any(limit < 180 for limit in limits):
                yield node.lineno


WAITS = {"run", "communicate", "check_output", "check_call"}


def test_other_processes_are_given_the_time_that_a_busy_machine_needs():
    """A limit that is near what a quiet machine needs is a test that fails by chance."""
    files = {str(file.relative_to(HERE)): list(impatient(file)) for file in HERE.rglob("*.py")}
    assert {file: lines for file, lines in files.items() if lines} == {}


def test_a_file_s_tests_run_in_one_process_and_so_do_all_of_ray_s(request):
    """The groups of tests/conftest.py reach xdist (3.8 cannot give them to pytest 9.2)."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs the tests")
    assert request.node.nodeid.endswith(f"@{group_of(request.node)}")
