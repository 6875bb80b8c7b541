"""The notebooks of the documentation run as they stand, in the order in which they build on each other."""

import ast
import json

import matplotlib
import pytest

from tests.docs.pages import ROOT

NOTEBOOKS = ("own-model", "own-analysis")


def cells(name):
    body = json.loads((ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text())
    return [cell for cell in body["cells"] if cell["cell_type"] == "code"]


def executed(name):
    """What the last expression of each cell gives; names live on from cell to cell, as in a kernel."""
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells(name)):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{name}, cell {number}", "exec"), names)
        yield eval(compile(ast.Expression(last.value), f"{name}, cell {number}", "eval"), names) if last else None


def test_every_notebook_is_here_and_shows_what_it_gave():
    assert {path.stem for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)
    for name in NOTEBOOKS:
        outputs = [output for cell in cells(name) for output in cell["outputs"]]
        assert outputs and not [output for output in outputs if output["output_type"] == "error"]
        assert not {"/home/", "/tmp/", "/root/"} & {
            mark for mark in ("/home/", "/tmp/", "/root/") if mark in str(outputs)
        }


@pytest.mark.slow
def test_the_notebooks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    matplotlib.use("Agg")
    shown = {name: [value for value in executed(name) if value is not None] for name in NOTEBOOKS}
    pages = [value._repr_html_() for value in shown["own-model"] if hasattr(value, "_repr_html_")]
    assert len(pages) == 5 and all("<table" in page for page in pages)
    assert "Top 4 of 500 rows in 5 directions" in shown["own-analysis"][-1]._repr_html_()
    assert (tmp_path / "outputs" / "own" / "report.html").exists()
    matplotlib.pyplot.close("all")
