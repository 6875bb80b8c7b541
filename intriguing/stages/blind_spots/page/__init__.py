"""The blind spots on the page: example images, and how large the changes are."""

from intriguing.report import Context, PagePart
from intriguing.report.text import count, number, percent
from intriguing.stages.blind_spots.page import distortions, examples

_TOTALS = """
select count(*) as searches, count(*) filter (status = 'found') as found,
       count(*) filter (status <> 'misclassified') as tried
from distortions"""
_TYPICAL = """
select target_rule, median(distortion) as median from distortions where status = 'found' group by all"""


def parts(context: Context) -> list[PagePart]:
    """The stage's parts of the page: those that have something to show."""
    made = (examples.part(context), distortions.part(context))
    return [part for part in made if part is not None]


def headline(context: Context) -> list[tuple[str, str]]:
    """How many searches there were, how many succeeded, and how large their changes are."""
    figures = []
    total = context.query(_TOTALS)[0]
    if total["searches"]:
        figures.append((count(total["searches"]), "searches for blind spots"))
    if total["tried"]:
        share = percent(total["found"] / total["tried"])
        figures.append((f"{share} %", "of searches on rightly classified images succeeded"))
    for key, (row, *_) in context.grouped(context.query(_TYPICAL), "target_rule")[:1]:
        figures.append((number(row["median"]), f"median distortion, {key['target_rule']}, pixels in [0, 1]"))
    return figures
