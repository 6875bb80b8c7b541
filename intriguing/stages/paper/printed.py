"""The comparison as text: our tables 1 to 4 beside the paper's, and what a run says of each claim.

Tables are Markdown, so that they can be read in a terminal and kept in a document.
"""

from collections.abc import Sequence

from intriguing.basics.text.printable import filled, width_of
from intriguing.report.text import number, percent
from intriguing.results import Run
from intriguing.stages.paper.reading import Name, Reading, Row, readings
from intriguing.stages.paper.wording import OUTCOMES, WHAT_DIFFERS, amplified, claim_figure, opening, rule_sentence

_ERRORS = {"train_error": "train", "other_error": "other half", "test_error": "test"}


def printed(run: Run) -> str:
    """What `intriguing show RUN paper` and `python jobs/transfer.py` print."""
    return "\n\n".join(_text(reading) for reading in readings(run))


def _text(reading: Reading) -> str:
    parts = [opening(reading), _verdicts(reading), _effects(reading), _first(reading)]
    whole, halves = reading.models(1), reading.models(3)
    if whole:
        parts.append(
            _matrix(reading, "Table 2. Errors on images made for (rows) and fed to (columns), in %", "minimal", whole)
        )
    if halves:
        parts.append(_errors(reading, "Table 3. Errors of models of the halves, in %", halves))
        title_amplified = f"Table 4. Amplified to RMS {reading.amplified_rms:g}"
        for kind, title in (("minimal", "Table 4. As found"), ("amplified", title_amplified)):
            parts.append(_matrix(reading, f"{title}: errors, in %", kind, halves))
    if not whole and not halves:
        for kind, title in (("minimal", "As found"), ("amplified", "Amplified")):
            parts.append(
                _matrix(reading, f"{title}: errors on images made for (rows) and fed to (columns), in %", kind)
            )
    parts += [amplified(reading), _legend(reading)]
    return "\n\n".join(part for part in parts if part)


def _verdicts(reading: Reading) -> str:
    lines = [
        f"- {OUTCOMES[row['outcome']]}: {row['sentence']} {claim_figure(row)} It would have been refuted by "
        f"{row['refuted_by']}."
        for row in reading.of_figure("claim")
    ]
    lines += [
        f"- Agreement, {row['name']}: {row['measure']} {number(row['value'], 2)} ({number(row['low'], 2)} to "
        f"{number(row['high'], 2)}; {row['pairs']} cells)."
        for kind in ("minimal", "amplified")
        for row in reading.of_figure("agreement", kind)
        if row["name"].startswith("order")
    ]
    return "\n".join(lines)


def _effects(reading: Reading) -> str:
    rows = []
    for kind, title in (("minimal", "as found"), ("amplified", "amplified")):
        rows += [
            [
                WHAT_DIFFERS[row["name"]],
                title,
                f"{percent(row['value'])} ({percent(row['low'])} to {percent(row['high'])})",
                str(row["pairs"]),
            ]
            for row in reading.of_figure("effect", kind)
        ]
    if not rows:
        return ""
    over = (
        "images and seeds" if any(row["by_seed"] for row in reading.of_figure("effect")) else "images alone (one seed)"
    )
    head = ["source and target differ in", "images", "errors, % (95 % interval)", "pairs"]
    return f"What transfer depends on; intervals over {over}\n\n{_table(head, rows)}"


def _first(reading: Reading) -> str:
    """Table 1: errors, distortions by rule and grade, and which rule comes nearest."""
    models = reading.models(1) or reading.models()
    table = "Table 1. " if reading.models(1) else ""
    parts = [_errors(reading, f"{table}Errors, in %", models, ("train_error", "test_error"))]
    rules = list(dict.fromkeys(r["target_rule"] for r in reading.cells if r["measure"] == "distortion"))
    for grade in reading.grades:
        rows = []
        for name in models:
            found = [reading.cell("distortion", name, rule=rule, grade=grade) for rule in rules]
            paper = next((row["paper"] for row in found if row and row["paper"] is not None), None)
            beside = [number(paper, 2)] if reading.has_paper else []
            rows.append([reading.label(name), *beside, *(_distortion(row) for row in found)])
        head = ["model", *(["paper"] if reading.has_paper else []), *rules]
        parts.append(f"{table}Mean minimal distortion by rule for targets, grade {grade}\n\n{_table(head, rows)}")
    nearest = reading.nearest_rules()
    if nearest:
        parts.append("\n".join(f"- {rule_sentence(row)}" for row in nearest))
    return "\n\n".join(parts)


def _errors(reading: Reading, title: str, models: Sequence[Name], measures: Sequence[str] = tuple(_ERRORS)) -> str:
    rows = []
    for name in models:
        found = [reading.cell(measure, name) for measure in measures]
        if any(found):
            rows.append([reading.label(name), *(_share(row, 2) for row in found)])
    return f"{title}\n\n{_table(['model', *(_ERRORS[m] for m in measures)], rows)}" if rows else ""


def _matrix(reading: Reading, title: str, kind: str, models: Sequence[Name] = ()) -> str:
    models = models or reading.models()
    matrix = reading.matrix(kind, models)
    if not any(cell for row in matrix for cell in row):
        return ""
    rows = [
        [f"{reading.label(name)} ({_rms(row)})", *(_share(cell) for cell in row)]
        for name, row in zip(models, matrix, strict=True)
    ]
    if kind == "minimal" or not reading.has_paper:
        rows += [
            [f"Gaussian {name}", *(_share(cell) for cell in row)] for name, row in reading.noise(models) if any(row)
        ]
    head = ["made for (RMS)", *(reading.label(name) for name in models)]
    return f"{title}\n\n{_table(head, rows)}"


def _rms(row: Sequence[Row | None]) -> str:
    return next((number(cell["rms"], 2) for cell in row if cell and cell["rms"] is not None), "–")


def _share(row: Row | None, digits: int = 1) -> str:
    """Ours, the paper's in brackets, and a star where their intervals do not meet."""
    if row is None:
        return "–"
    paper = "" if row["paper"] is None else f" ({percent(row['paper'], digits)})"
    return f"{percent(row['value'], digits)}{paper}{'*' if row['overlap'] is False else ''}"


def _distortion(row: Row | None) -> str:
    return "–" if row is None else number(row["value"], 3)


def _legend(reading: Reading) -> str:
    if not reading.has_paper:
        return ""
    return (
        "In brackets: the paper's figure. A star: the 95 % intervals of the two do not meet (Wilson; the paper's with\n"
        "256 images a cell, and with the whole sets for errors of models)."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(width_of(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [[filled(cell, width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
