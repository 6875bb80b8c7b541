"""What a run says of stability, in a sentence per rule for targets and grade."""

import numpy as np

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import counted
from intriguing.stats.intervals import median_interval

_ROUNDING = 1e-5
# Searches of several models from one image share the image: the median is of images, each with its own median.
_PROVEN = f"""
with proven as materialized (
       select grade, target_rule, dataset, example_id, share::double as share, is_optimal,
              l2::double * {1 + _ROUNDING} < lower_bound as is_below
       from certificates where status = 'found' and lower_bound is not null),
     images as (select grade, target_rule, median(share) as share from proven
                group by grade, target_rule, dataset, example_id),
     medians as (select grade, target_rule, list(share) as shares from images group by all),
     totals as (select grade, target_rule, bool_or(is_below) as some_below, bool_and(is_optimal) as all_optimal
                from proven group by all)
select * from totals join medians using (grade, target_rule)"""


def verdicts(context: Context) -> list[Verdict]:
    """Per grade: how near what was found comes to what is proven, of searches for any wrong class where there are."""
    made = []
    for key, rows in context.grouped(context.query(_PROVEN), "grade"):
        rules = {row["target_rule"]: row for row in rows}
        rule = next((r for r in ("untargeted", "every", "random") if r in rules), min(rules))
        made.append(_verdict(key["grade"], rule, rules[rule]))
    return made


def _verdict(grade: str, rule: str, row: Row) -> Verdict:
    values = np.asarray(row["shares"], float)
    low, high = median_interval(values)
    sentence = "No change shorter than the proven distance fools the networks. Shorter ones than those found may exist."
    if row["all_optimal"]:
        sentence = "The changes found are proven to be the shortest that fool the networks."
    if row["some_below"]:
        sentence = "Changes were found below a distance that counts as proven: one of the two is wrong."
    interval = f"95 % interval {number(low)} to {number(high)}; " if np.isfinite([low, high]).all() else ""
    return Verdict(
        sentence,
        f"median of the proven distance over the norm of the change found ({rule}, {grade})",
        number(float(np.median(values))),
        f"{interval}{counted(len(values), 'image')}",
        "brackets",
        "a change, found in any way, that is smaller than its proven distance",
    )
