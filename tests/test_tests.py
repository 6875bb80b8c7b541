"""What CONTRIBUTING says of the tests themselves."""

import ast
from pathlib import Path

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
