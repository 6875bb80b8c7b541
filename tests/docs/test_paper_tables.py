"""The README's cells of the paper's table 2, and what is said of them, are those of docs/results/paper.md."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, README = (ROOT / name for name in ("docs/results/paper.md", "README.md"))


def _writer():
    spec = importlib.util.spec_from_file_location("paper_tables", ROOT / "docs" / "paper_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = _writer()


def test_the_readme_shows_the_cells_of_the_page():
    assert WRITER.readme_table(PAGE.read_text()) in README.read_text()


def test_both_say_how_many_cells_agree_with_the_papers():
    cells = WRITER.rows_of(PAGE.read_text(), "Table 2.")
    off = [cell for source, row in cells.items() for target, cell in row.items() if source in row and source != target]
    agree = sum("*" not in cell for cell in off)
    assert f"Of the {len(off)} cells of table 2 off the diagonal {agree} have" in PAGE.read_text()
    said = re.sub(r"\s+", " ", README.read_text())
    assert f"Of the {len(off)} cells of the paper's table 2 off the diagonal, {agree} agree" in said


def test_titles_of_tables_are_bold_and_nothing_else():
    text = "mnist.\n\n- Holds: so.\n\nTable 1. Errors\n\n| a | b |\n| - | - |\n| c | 1 |\n\nIn brackets: this.\nMore."
    bold = WRITER.with_bold_titles(text)
    assert bold == text.replace("Table 1. Errors", "**Table 1. Errors**")


def test_of_the_run_with_seeds_the_page_has_what_is_printed_before_table_1():
    text = "mnist.\n\n- Holds: so.\n\nWhat transfer depends on\n\n| a |\n| - |\n| 1 |\n\nTable 1. Errors\n\n| b |"
    assert WRITER.effects(text) == "mnist.\n\n- Holds: so.\n\n**What transfer depends on**\n\n| a |\n| - |\n| 1 |"
    page = PAGE.read_text()
    assert page.index(WRITER.BEGIN) < page.index(WRITER.SEEDS) < page.rindex(WRITER.END)
