"""What a run says of stability, in a sentence per rule for targets and grade."""

import numpy as np

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import counted
from intriguing.stats.intervals import median_interval

_PROVEN = """
select dataset, target_rule, grade, example_id, model, model_seed, share, l2, lower_bound,
is_optimal from certificates where status = 'found' and lower_bound is not null"""
_ROUNDING = 1e-5


def verdicts(context: Context) -> list[Verdict]:
    """Per grade: how near what was found comes to what is proven, of searches for any wrong class where there are."""
    made = []
    for key, rows in context.grouped(context.query(_PROVEN), "grade"):
        rules = {row["target_rule"] for row in rows}
        rule = next((r for r in ("untargeted", "every", "random") if r in rules), min(rules))
        made.append(_verdict(key["grade"], rule, [row for row in rows if row["target_rule"] == rule]))
    return made


def _verdict(grade: str, rule: str, rows: list[Row]) -> Verdict:
    # Searches of several models from one image share the image: the median is of images, each with its own median.
    images: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        images.setdefault((row["dataset"], row["example_id"]), []).append(row["share"])
    values = np.array([np.median(each) for each in images.values()])
    low, high = median_interval(values)
    below = sum(row["l2"] * (1 + _ROUNDING) < row["lower_bound"] for row in rows)
    sentence = "No change shorter than the proven distance fools the networks. Shorter ones than those found may exist."
    if all(row["is_optimal"] for row in rows):
        sentence = "The changes found are proven to be the shortest that fool the networks."
    if below:
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
