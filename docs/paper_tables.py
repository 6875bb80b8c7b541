"""What runs of `paper` and `paper-seeds` say, written into docs/results/paper.md and README.md:

    python docs/paper_tables.py RUN [RUN_OF_SEEDS]

The page gets all that `python jobs/transfer.py paper` prints, the README the cells of table 2 that it shows. Of
`python jobs/transfer.py paper-seeds` the page gets the verdicts and the effects. What is said about them by hand is not
changed: the counts that these sentences need are printed.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

import intriguing as ig
from intriguing.stages.paper.printed import printed

ROOT = Path(__file__).resolve().parent.parent
SEEDS = "<!-- Printed by the command for paper-seeds: docs/paper_tables.py writes it. -->"
BEGIN, END = "<!-- Printed by the command: docs/paper_tables.py writes it. -->", "<!-- To here. -->"
SHOWN = ("FC10(1e-4)", "FC100-100-10", "FC200-200-10", "AE400-10")
"""The models of the README's table, in rows and columns."""
NOISE = "Gaussian noise 0.1"


def main(arguments: list[str]) -> int:
    """Write both files, and print what the sentences about them need."""
    if len(arguments) not in (1, 2):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    run = ig.open_run(arguments[0])
    text = printed(run)
    _replace(ROOT / "docs" / "results" / "paper.md", with_bold_titles(text))
    _replace(ROOT / "README.md", readme_table(text))
    for each in (run, *map(ig.open_run, arguments[1:])):
        sys.stdout.write(f"{each.path}\n{_agreement(each)}\n{_seconds(each)}\n")
    for path in arguments[1:]:
        _replace(ROOT / "docs" / "results" / "paper.md", effects(printed(ig.open_run(path))), SEEDS)
    return 0


def effects(text: str) -> str:
    """What is printed before table 1: the verdicts, and what transfer depends on."""
    return with_bold_titles(text.partition("\nTable 1.")[0].strip())


def with_bold_titles(text: str) -> str:
    """The printed text with the title of each table in bold."""
    lines = text.splitlines()
    titles = {i for i, line in enumerate(lines) if line and lines[i + 2 : i + 3] and lines[i + 2].startswith("|")}
    return "\n".join(
        f"**{line}**" if i in titles and not line.startswith(("|", "-")) else line for i, line in enumerate(lines)
    )


def rows_of(text: str, title: str) -> dict[str, dict[str, str]]:
    """The cells of the table below the line that begins with `title`, by the first column, without sizes, and model."""
    lines = text[re.search(rf"^\**{re.escape(title)}", text, re.M).start() :].splitlines()[2:]  # type: ignore[union-attr]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]
    return {re.sub(r" \([\d.]+\)$", "", row[0]): dict(zip(table[0][1:], row[1:], strict=True)) for row in table[2:]}


def readme_table(text: str) -> str:
    """The README's cells of table 2."""
    cells = rows_of(text, "Table 2.")
    rows = [[name, *(cells[name][target].rstrip("*") for target in SHOWN)] for name in (*SHOWN, NOISE)]
    lines = [["made for", *SHOWN], *rows]
    shown = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([shown[0], "|---" * (len(SHOWN) + 1) + "|", *shown[1:]])


def _replace(path: Path, text: str, beginning: str = BEGIN) -> None:
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(beginning)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} lacks the lines that say where the text goes: {beginning} and {END}")
    path.write_text(f"{before}{beginning}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _agreement(run: ig.Run) -> str:
    """How many cells off the diagonal of table 2 have intervals that meet the paper's, by rule and grade."""
    rows = run.pandas("paper_comparison").query("measure == 'minimal' and paper_table == 2 and source_model != model")
    counts = rows.groupby(["target_rule", "grade"])["overlap"].agg(["sum", "count"])
    return f"Cells of table 2 off the diagonal whose intervals meet the paper's:\n{counts.to_string()}"


def _seconds(run: ig.Run) -> str:
    """The seconds of all tasks, by the first word of their names."""
    seconds = defaultdict[str, float](float)
    for name, took in run.pandas("tasks")[["task", "seconds"]].itertuples(index=False):
        seconds[str(name).partition("/")[0]] += float(took)
    listed = ", ".join(f"{name} {took / 60:.1f}" for name, took in sorted(seconds.items(), key=lambda each: -each[1]))
    return f"Minutes of tasks, {sum(seconds.values()) / 60:.1f} in all: {listed}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
