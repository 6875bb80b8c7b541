"""Are single units special? `python jobs/units.py [SPEC] [OPTIONS of intriguing run]`; without a spec, `units`.

Runs the spec (where a Ray cluster is running it runs there, elsewhere in this process), then prints the verdict of
every test of a trained network, the effects in a table, and, where the design is crossed, the answer to "model or
data?" in a sentence for each score.
"""

import argparse
import sys
from typing import Any

import pandas as pd

from intriguing.cli import call
from intriguing.report.text import score_label
from intriguing.results import Run, open_run
from intriguing.sweep import prepare


def verdicts(run: Run) -> str:
    """A sentence per test of the natural basis of a trained network."""
    tests = run.pandas("rotation_tests", control="trained").query("alpha == 0")
    lines = []
    for place, rows in tests.groupby(["dataset", "model", "model_seed", "layer", "condition"], sort=False):
        assert isinstance(place, tuple)
        lines.append(" · ".join(map(str, place)))
        lines += [f"  {score_label(row)}: {row['verdict']}" for row in _rows(rows)]
    return "\n".join(lines) or f"Nothing was tested; `intriguing show {run.path} failures` may say why."


def effects(run: Run) -> str:
    """Natural minus rotated, in null standard deviations: a row per layer and score, a column per control.

    Layers with dead or saturated units have a row without these, too (condition `live`).
    """
    table = run.sql(
        "select metric, judge, dataset, model, layer, condition, control, avg(effect) as mean, min(effect) as low, "
        "max(effect) as high from rotation_tests where alpha = 0 and condition in ('raw', 'live') "
        "and effect is not null group by all order by all"
    )
    if table.empty:
        return ""
    figures = table[["mean", "low", "high"]]
    table["effect"] = ["{:+.1f} ({:+.1f} to {:+.1f})".format(*row) for row in figures.to_numpy()]
    table["score"] = [score_label(row) for row in _rows(table)]
    rows = ["score", "dataset", "model", "layer", "condition"]
    shown = table.pivot_table("effect", rows, "control", aggfunc="first", fill_value="")
    return f"Mean effects over the seeds, in null standard deviations (smallest to largest):\n{shown.to_string()}"


def answers(run: Run) -> str:
    """Model or data? A table of the shares of the spread, and a sentence per score."""
    found = run.pandas("model_or_data")
    if found.empty:
        return ""
    shares = found.query("figure == 'share' and value == value")
    figures = zip(shares["value"], shares["low"], shares["high"], shares["p"], strict=True)
    told = [
        f"{value:.0%} ({low:.0%} to {high:.0%})" + (f" p = {p:.2g}" if p == p else "")
        for value, low, high, p in figures
    ]
    shares = shares.assign(share=told, score=[score_label(row) for row in _rows(shares)])
    table = shares.pivot_table("share", ["score", "condition"], "name", aggfunc="first")
    table = table[[name for name in ("model", "data", "both", "seed") if name in table]]
    sentences = "\n".join(dict.fromkeys(found["sentence"]))
    return f"Where the spread of the effects comes from:\n{table.to_string()}\n\n{sentences}"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, with None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the unit question, and print its verdicts.")
    parser.add_argument("spec", nargs="?", default="units", help="a spec's name or path (default: units)")
    parser.add_argument("--out", help="the run folder")
    parser.add_argument("--data", help="the folder that data sets lie in (INTRIGUING_DATA)")
    arguments, rest = parser.parse_known_args()
    given = [f"--{name}={value}" for name in ("out", "data") if (value := getattr(arguments, name))]
    code = call(["run", arguments.spec, *given, *rest])
    if code in (2, 130) or "--dry-run" in rest:
        return code
    run = open_run(prepare(arguments.spec, arguments.out, arguments.data).out)
    print("\n\n".join(filter(None, ("", verdicts(run), effects(run), answers(run)))))
    return code


if __name__ == "__main__":
    sys.exit(main())
