"""Does a better search transfer less? Grades in pairs, image by image, at equal size."""

from itertools import combinations

import pandas as pd

from intriguing.report.parts import Context, Row
from intriguing.report.text import number
from intriguing.stats.findings import LEVEL


def compared(context: Context) -> list[str]:
    """A sentence per data set, rule and pair of grades; none where the run has one grade."""
    if all(len(grades) < 2 for _, grades in context.grouped(context.groups("rays"), "dataset", "target_rule")):
        return []
    rows = context.query(
        "select dataset, target_rule, grade, median(distortion) as size from distortions "
        "semi join (select * from rays where kind = 'adversarial') using (dataset, target_rule, grade) "
        "where status = 'found' group by all order by all"
    )
    sentences = []
    for key, grades in context.grouped(rows, "dataset", "target_rule"):
        for one, other in combinations(sorted(grades, key=lambda row: row["size"]), 2):
            pairs = context.run.grade_comparison(one["grade"], other["grade"], **key)
            sentences += [_sentence(pairs, one, other, key)] if len(pairs) else []
    return sentences


def _sentence(pairs: pd.DataFrame, one: Row, other: Row, key: Row) -> str:
    """The answer for two grades, of which `one` finds the smaller changes."""
    found = pairs["p_holm"].to_numpy(float) <= LEVEL
    surplus = pairs["only_first"].to_numpy(int) - pairs["only_second"].to_numpy(int)
    less, more = int((found & (surplus < 0)).sum()), int((found & (surplus > 0)).sum())
    difference = 100 * float(surplus.sum()) / max(1, int(pairs["n"].to_numpy(int).sum()))
    if less and more:
        answer = "transfers less in some places and more in others"
    elif less:
        answer = "transfers less"
    elif more:
        answer = "does not transfer less, but more"
    else:
        answer = "transfers neither less nor more, as far as these images tell"
    return (
        f"Does a better search transfer less? On {key['dataset']}, {key['target_rule']}, grade {one['grade']} finds "
        f"the smaller changes (median RMS {number(one['size'])}, {other['grade']} {number(other['size'])}). At equal "
        f"size it {answer}: image by image it fools other models less in {less} and more in {more} of {len(pairs)} "
        "comparisons (source, target and size; McNemar's exact test, Holm's correction). Over all of them it fools "
        f"{abs(difference):.2f} points {'less' if difference < 0 else 'more'}."
    )
