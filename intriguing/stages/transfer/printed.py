"""Transfer in text: who is fooled by whose images, and how large a change it takes."""

import pandas as pd

from intriguing.report.parts import Context
from intriguing.report.text import grid, number, percent, shorten
from intriguing.results import Run
from intriguing.results.matrices import WITHOUT_SOURCE, Fed
from intriguing.stages.transfer.grades import compared

_KEY = ("dataset", "target_rule", "grade")
_TITLES = {
    "minimal": "errors, %, on adversarial images made for",
    "amplified": "errors, %, on amplified adversarial images made for",
    "gaussian": "errors, %, on Gaussian noise as large as the changes made for",
}


def printed(run: Run) -> str:
    """A matrix per data set, rule, grade and kind of image, then the sizes that fool half of the time."""
    context = Context(run)
    kinds_fed = context.groups("transfer")
    followed = [tuple(row[name] for name in _KEY) for row in context.groups("rays")]
    blocks = []
    sources = (row for row in kinds_fed if row["kind"] not in WITHOUT_SOURCE)
    for key, rows in context.grouped(sources, *_KEY):
        blocks.append(f"{key['dataset']}, {key['target_rule']}, grade {key['grade']}")
        present = {row["kind"] for row in rows}
        titles = {kind: title for kind, title in _TITLES.items() if kind in present}
        fed = Fed(run, list(titles), {name: str(value) for name, value in key.items()}, run.in_order)
        blocks += [_matrix(fed.matrix(kind), title) for kind, title in titles.items()]
        if tuple(key.values()) in followed:
            blocks.append(_half(run.half_rms(**key)))
    for dataset in dict.fromkeys(row["dataset"] for row in kinds_fed if row["kind"] in WITHOUT_SOURCE):
        fed = Fed(run, list(WITHOUT_SOURCE), {"dataset": dataset}, run.in_order)
        here = {row["kind"] for row in kinds_fed if row["dataset"] == dataset}
        frames = [fed.matrix(kind) for kind in WITHOUT_SOURCE if kind in here]
        blocks.append(_matrix(pd.concat(frames), f"{dataset}: errors, %, on images made for no model"))
    return "\n\n".join([*blocks, *compared(context)])


def _matrix(matrix: pd.DataFrame, title: str) -> str:
    rows = [[shorten(str(source), 30), *(percent(v) for v in matrix.loc[source])] for source in matrix.index]
    return f"{title}\n{grid(['', *(shorten(str(name), 16) for name in matrix.columns)], rows)}"


def _half(matrix: pd.DataFrame) -> str:
    """The matrix of `Run.half_rms`, with what each target's own searches need, and noise."""

    def shown(value: float) -> str:
        return "never" if value == float("inf") else number(value)

    rows = [[shorten(str(source), 30), *(shown(v) for v in matrix.loc[source])] for source in matrix.index]
    rows += [[f"({name})", *(shown(v) for v in matrix.attrs[name])] for name in ("own", "noise")]
    header = ["", *(shorten(str(name), 16) for name in matrix.columns)]
    return f"RMS that fools half of the time, made for\n{grid(header, rows)}"
