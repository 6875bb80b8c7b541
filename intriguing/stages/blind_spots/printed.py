"""The blind spots in text: how often the searches succeeded, and how small the changes are."""

from itertools import groupby
from statistics import median

from intriguing.report.parts import Context, Row
from intriguing.report.text import grid, number, shorten
from intriguing.results import Run
from intriguing.stats.intervals import median_interval

# Searches for several classes share the image: medians are of images, each with the median of its searches.
_SEARCHES = """
with images as (
       select dataset, target_rule, grade, model, model_seed, count(*) as searches,
              count(*) filter (status = 'found') as found, count(*) filter (status = 'misclassified') as needless,
              count(*) filter (status = 'not_found') as missed, sum(l2::double) filter (status = 'found') as l2,
              median(distortion::double) filter (status = 'found') as distortion
       from distortions group by dataset, target_rule, grade, model, model_seed, example_id)
select dataset, target_rule, grade, model, model_seed, sum(searches)::bigint as searches, sum(found)::bigint as found,
       sum(needless)::bigint as needless, sum(missed)::bigint as missed, sum(l2) / sum(found) as l2,
       list(distortion) filter (distortion is not null) as distortions
from images group by all"""
_HEADER = ("model", "searches", "found", "wrong before", "not found", "other", "mean L2", "median RMS", "95 % interval")


def printed(run: Run) -> str:
    """Per data set, rule and grade, a line per model."""
    context = Context(run)
    groups = context.grouped(context.query(_SEARCHES), "dataset", "target_rule", "grade", "model", "model_seed")
    blocks = []
    for (dataset, rule, grade), members in groupby(groups, lambda group: tuple(group[0].values())[:3]):
        lines = [_line(context, rows[0]) for _, rows in members]
        blocks.append(f"{dataset}, {rule}, grade {grade}\n{grid(_HEADER, lines)}")
    return "\n\n".join(blocks)


def _line(context: Context, row: Row) -> list[str]:
    found = row["distortions"] if row["found"] else []
    low, high = median_interval(found)
    middle = median(found) if len(found) else None
    counts = (row["searches"], row["found"], row["needless"], row["missed"])
    other = row["searches"] - sum(counts[1:])
    return [
        shorten(context.label(row), 40),
        *(f"{n:,}" for n in counts),
        f"{other:,}" if other else "",
        number(row["l2"]),
        number(middle),
        f"{number(low)} to {number(high)}" if len(found) > 5 else "",
    ]
