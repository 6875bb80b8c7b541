"""What a run says about blind spots, in a sentence per rule for targets."""

import numpy as np

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import counted
from intriguing.stats.intervals import median_interval

# Searches of several models from one image share the image: the median is of images, each with its own median.
_SEARCHES = """
with searches as materialized (
       select target_rule, grade, dataset, example_id, model, model_seed, status, distortion from distortions),
     images as (
       select target_rule, grade, median(distortion::double) filter (status = 'found') as distortion,
              bool_or(status = 'not_found') as missed, bool_or(status in ({unanswered})) as lost
       from searches group by target_rule, grade, dataset, example_id),
     medians as (
       select target_rule, grade, list(distortion) filter (distortion is not null) as distortions,
              count(*) filter (distortion is null and missed) as missed,
              count(*) filter (distortion is null and lost and not missed) as lost,
              count(*) filter (distortion is null and not missed and not lost) as needless
       from images group by all having count(distortion) > 0),
     totals as (
       select target_rule, grade, count(*) filter (status = 'found') as found,
              count(*) filter (status in ('found', 'not_found')) as tried,
              count(*) filter (status in ({unanswered})) as unanswered,
              count(distinct (model, model_seed)) filter (status = 'found') as models from searches group by all)
select * from totals join medians using (target_rule, grade)""".format(
    unanswered="'no_gradient', 'unstable', 'bad_output', 'bad_input'"
)
_RULES = {
    "untargeted": "a wrong answer",
    "random": "a wrong answer that was drawn at random beforehand",
    "every": "each wrong answer",
    "each": "every wrong answer that is asked for",
}
_WITHOUT = {
    "needless": "needed no change",
    "missed": "had none that was found",
    "lost": "could not be searched",
}
"""Images without a change: what is counted, and how it is said."""
_GRADES = {"faithful": "by the paper's procedure, grade {}"}


def verdicts(context: Context) -> list[Verdict]:
    """Per rule for targets and grade: how small a change makes the networks wrong."""
    searches = context.grouped(context.query(_SEARCHES), "target_rule", "grade")
    return [_verdict(row) for _, (row,) in searches]


def _verdict(row: Row) -> Verdict:
    values, models = row["distortions"], row["models"]
    low, high = median_interval(values)
    whose = "the network give" if models == 1 else f"the {models} networks give"
    wrong = _RULES.get(row["target_rule"], row["target_rule"])
    every = (
        "for every image searched"
        if row["found"] == row["tried"]
        else (f"for {row['found']:,} of {row['tried']:,} searches")
    )
    interval = f"95 % interval {number(low)} to {number(high)}; " if np.isfinite([low, high]).all() else ""
    searched = _GRADES.get(row["grade"], "search of grade {}").format(row["grade"])
    lost, several = row["unanswered"], models > 1
    others = "".join(
        f"; {counted(row[kind], 'other image')} {what}{' for any network' if several and kind != 'lost' else ''}"
        for kind, what in _WITHOUT.items()
        if row[kind]
    )
    needless = f"{' with a change for at least one network' if several else ''}{others}"
    without = f"; {lost:,} search{'' if lost == 1 else 'es'} without an answer" if lost else ""
    return Verdict(
        f"A small change makes {whose} {wrong}, {every}.",
        "root mean square change of a pixel, the median over images"
        f"{' of the median over networks' if models > 1 else ''} ({searched})",
        number(float(np.median(values))),
        f"{interval}{counted(len(values), 'image')}{needless}{without}",
        "distortions",
        "searches that end without a change inside the box, or a proof that none exists nearer than the images of "
        "other classes",
        "Every number of an image lies in [0, 1]: a change of 0.05 is a twentieth of the way from black to white. An "
        "image that is wrong before any change needs none; the grade says how much work a search does.",
    )
