"""Transfer on the page: matrices of errors, the sizes that fool half of the time, and amplification curves."""

from intriguing.report import Context, PagePart
from intriguing.stages.transfer.page import matrices, rays


def parts(context: Context) -> list[PagePart]:
    """The stage's parts of the page: those that have something to show."""
    made = (matrices.part(context), rays.part(context))
    return [part for part in made if part is not None]
