"""The unit question on the page: top images, and the tests."""

from intriguing.report import Context, PagePart
from intriguing.report.text import figure
from intriguing.stages.units.page import explorer, rotation_tests

_DIRECTIONS = """
select count(*) as n
from (select distinct dataset, model, model_seed, layer, basis, rotation_seed, direction from topk)"""


def parts(context: Context) -> list[PagePart]:
    """The stage's parts of the page: those that have something to show."""
    parts_or_none = (explorer.part(context), rotation_tests.part(context))
    return [part for part in parts_or_none if part is not None]


def headline(context: Context) -> list[tuple[str, str]]:
    """How many directions were looked at."""
    directions = context.query(_DIRECTIONS)[0]["n"]
    return [figure(directions, "direction", " looked at")] if directions else []
