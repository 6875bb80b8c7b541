"""What a run says about blind spots, in a sentence per rule for targets."""

import numpy as np

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import counted
from intriguing.stats.intervals import median_interval

# Searches of several models from one image share the image: the median is of images, each with its own median.
_FOUND = """
select target_rule, grade, dataset, example_id, median(distortion::double) as distortion
from distortions where status = 'found' group by all"""
_TRIED = """
select target_rule, grade, count(*) filter (status = 'found') as found,
       count(*) filter (status in ('found', 'not_found')) as tried,
       count(distinct (model, model_seed)) filter (status = 'found') as models
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
    found = context.run.sql(_FOUND)
    groups = {key: rows["distortion"].to_numpy() for key, rows in found.groupby(["target_rule", "grade"])}
    made = []
    for key, (row,) in context.grouped(tried.values(), "target_rule", "grade"):
        rule, grade = key["target_rule"], key["grade"]
        if (rule, grade) in groups:
            made.append(_verdict(rule, grade, groups[rule, grade], row))
    return made


def _verdict(target_rule: str, grade: str, values: np.ndarray, tried: Row) -> Verdict:
    low, high = median_interval(values)
    models = tried["models"]
    whose = "the network give" if models == 1 else f"the {models} networks give"
    wrong = _RULES.get(target_rule, target_rule)
    every = (
        "for every image searched"
        if tried["found"] == tried["tried"]
        else (f"for {tried['found']:,} of {tried['tried']:,} searches")
    )
    interval = f"95 % interval {number(low)} to {number(high)}; " if np.isfinite([low, high]).all() else ""
    return Verdict(
        f"A small change makes {whose} {wrong}, {every}.",
        f"median root mean square change of a pixel ({grade})",
        number(float(np.median(values))),
        f"{interval}{counted(len(values), 'image')}",
        "distortions",
        "searches that end without a change inside the box, or a proof that none exists nearer than the images of "
        "other classes",
    )
