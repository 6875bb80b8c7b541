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
       from images group by all),
     totals as (
       select target_rule, grade, count(*) filter (status = 'found') as found,
              count(*) filter (status in ('found', 'not_found')) as tried,
              count(*) filter (status in ({unanswered})) as unanswered,
              count(distinct (model, model_seed)) filter (status = 'found') as models,
              count(distinct (model, model_seed)) as searched from searches group by all)
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
    return [_verdict(row) if row["found"] else _nothing(row) for _, (row,) in searches]


def _nothing(row: Row) -> Verdict:
    """The answer of a rule under which no search found a change, by what kept the searches from it."""
    networks = row["searched"]
    any_of, wrong = "the network" if networks == 1 else f"any of the {networks} networks", _wrong(row)
    if row["missed"]:
        sentence = f"No change was found by which {any_of} gives {wrong}."
        refuted_by = "a change inside the box, found in any way, by which a network gives such an answer"
    elif row["needless"]:
        sentence = f"No change was needed: {'the network' if networks == 1 else 'every network'} gives {wrong} already."
        refuted_by = "an image for which a network gives none without a change"
    else:
        sentence = f"No image could be searched for a change by which {any_of} gives {wrong}."
        refuted_by = "an image that can be searched"
    counts = [f"{counted(row[kind], 'image')} {what}" for kind, what in _WITHOUT.items() if row[kind]]
    return Verdict(
        sentence,
        f"images for which a change was found ({_searched(row)})",
        f"0 of {sum(row[kind] for kind in _WITHOUT):,}",
        "; ".join(counts),
        "distortions",
        refuted_by,
    )


def _wrong(row: Row) -> str:
    """The answer that a search wants."""
    return _RULES.get(row["target_rule"], str(row["target_rule"]))


def _searched(row: Row) -> str:
    """How much work the searches do."""
    return _GRADES.get(row["grade"], "search of grade {}").format(row["grade"])


def _verdict(row: Row) -> Verdict:
    values, models = row["distortions"], row["models"]
    low, high = median_interval(values)
    whose = "the network give" if models == 1 else f"the {models} networks give"
    wrong = _wrong(row)
    every = (
        "for every image searched"
        if row["found"] == row["tried"]
        else (f"for {row['found']:,} of {row['tried']:,} searches")
    )
    interval = f"95 % interval {number(low)} to {number(high)}; " if np.isfinite([low, high]).all() else ""
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
        f"{' of the median over networks' if models > 1 else ''} ({_searched(row)})",
        number(float(np.median(values))),
        f"{interval}{counted(len(values), 'image')}{needless}{without}",
        "distortions",
        "searches that end without a change inside the box, or a proof that none exists nearer than the images of "
        "other classes",
        "Every number of an image lies in [0, 1]: a change of 0.05 is a twentieth of the way from black to white. An "
        "image that is wrong before any change needs none; the grade says how much work a search does.",
    )
