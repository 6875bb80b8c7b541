"""What a run says about blind spots, in a sentence per rule for targets."""

import numpy as np

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import counted
from intriguing.stats.intervals import median_interval

_FOUND = """
select dataset, target_rule, grade, example_id, model, model_seed, distortion
from distortions where status = 'found'"""
_TRIED = """
select target_rule, grade, count(*) filter (status = 'found') as found,
       count(*) filter (status in ('found', 'not_found')) as tried
from distortions group by all"""
_RULES = {
    "untargeted": "a wrong answer",
    "random": "a wrong answer drawn at random",
    "every": "each wrong answer",
    "each": "every wrong answer that is asked for",
}


def verdicts(context: Context) -> list[Verdict]:
    """Per rule for targets and grade: how small a change makes the networks wrong."""
    tried = {(row["target_rule"], row["grade"]): row for row in context.query(_TRIED)}
    found = context.grouped(context.query(_FOUND), "target_rule", "grade")
    return [_verdict(key, rows, tried[key["target_rule"], key["grade"]]) for key, rows in found]


def _verdict(key: Row, rows: list[Row], tried: Row) -> Verdict:
    # Searches of several models from one image share the image: the median is of images, each with its own median.
    images: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        images.setdefault((row["dataset"], row["example_id"]), []).append(row["distortion"])
    values = np.array([np.median(each) for each in images.values()])
    low, high = median_interval(values)
    models = len({(row["model"], row["model_seed"]) for row in rows})
    whose = "the network give" if models == 1 else f"the {models} networks give"
    wrong = _RULES.get(key["target_rule"], key["target_rule"])
    every = (
        "for every image searched"
        if tried["found"] == tried["tried"]
        else (f"for {tried['found']:,} of {tried['tried']:,} searches")
    )
    interval = f"95 % interval {number(low)} to {number(high)}; " if np.isfinite([low, high]).all() else ""
    return Verdict(
        f"A small change makes {whose} {wrong}, {every}.",
        f"median root mean square change of a pixel ({key['grade']})",
        number(float(np.median(values))),
        f"{interval}{counted(len(values), 'image')}",
        "distortions",
        "searches that end without a change inside the box, or a proof that none exists nearer than the images of "
        "other classes",
    )
