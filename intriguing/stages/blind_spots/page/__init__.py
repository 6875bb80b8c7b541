"""The blind spots on the page: example images, and how large the changes are."""

from functools import partial

from intriguing.report import Context, PagePart
from intriguing.report.room import Explorer
from intriguing.report.text import count, figure, number, percent
from intriguing.stages.blind_spots.page import distortions, explorer

_TOTALS = """
select count(*) as searches, count(*) filter (status = 'found') as found,
       count(*) filter (status in ('found', 'not_found')) as tried,
       count(*) filter (status = 'misclassified') as needless,
       count(*) filter (status not in ('found', 'not_found', 'misclassified')) as unsearched
from distortions"""
# As in the verdict: the median over images, each with the median of its models; of the best grade.
_TYPICAL = """
select target_rule, min(median) as median from (
    select target_rule, grade, median(distortion) as median from (
        select target_rule, grade, median(distortion::double) as distortion from distortions where status = 'found'
        group by target_rule, grade, dataset, example_id)
    group by all)
group by all"""

_RULES = {"every": "nearest of every wrong class", "each": "over each wrong class"}


def parts(context: Context) -> list[PagePart | Explorer]:
    """The stage's parts of the page: those that have something to show."""
    sizes = distortions.part(context)
    searches = Explorer("blind-spots", explorer.MOST_BYTES, partial(explorer.part, context))
    return [searches, *([sizes] if sizes else [])]


def headline(context: Context) -> list[tuple[str, str]]:
    """How many searches there were, how many succeeded, and how large their changes are."""
    figures = []
    total = context.query(_TOTALS)[0]
    if total["searches"]:
        figures.append(figure(total["searches"], "search", " for blind spots"))
    if total["unsearched"]:
        figures.append((count(total["unsearched"]), "of them could not be searched: no sign of robustness"))
    if total["tried"]:
        needless = total["needless"]
        left_out = f", {count(needless)} left out whose image needed no change" if needless else ""
        figures.append((f"{percent(total['found'] / total['tried'])} %", f"of searches succeeded{left_out}"))
    for key, (row, *_) in context.grouped(context.query(_TYPICAL), "target_rule")[:1]:
        rule = {"every": "nearest of every wrong class", "each": "over each wrong class"}.get(
            key["target_rule"], key["target_rule"]
        )
        figures.append((number(row["median"]), f"median distortion of an image, {rule}, pixels in [0, 1]"))
    return figures
