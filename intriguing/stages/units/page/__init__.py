"""The unit question on the page: top images, and the tests."""

from functools import partial

from intriguing.report import Context, PagePart
from intriguing.report.room import Explorer
from intriguing.report.text import figure
from intriguing.stages.units.page import explorer, rotation_tests

_DIRECTIONS = """
select count(*) as n from (
    select distinct dataset, model, model_seed, layer, basis, rotation_seed, direction from topk
    where rank = 1 and sign = 1)"""


def parts(context: Context) -> list[PagePart | Explorer]:
    """The stage's parts of the page: those that have something to show."""
    tests = rotation_tests.part(context)
    return [Explorer("units", explorer.MOST_BYTES, partial(explorer.part, context)), *([tests] if tests else [])]


def headline(context: Context) -> list[tuple[str, str]]:
    """How many directions were looked at."""
    directions = context.query(_DIRECTIONS)[0]["n"]
    return [figure(directions, "direction", " looked at")] if directions else []
