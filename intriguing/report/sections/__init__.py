"""The parts of the page, in its order. A new one is a module here, a template, and a line below."""

from collections.abc import Callable

from intriguing.report.section import Context, Section
from intriguing.report.sections import (
    distortions,
    examples,
    failures,
    overview,
    top_images,
    transfer,
    unit_tests,
    words,
)

SECTIONS: tuple[Callable[[Context], Section | None], ...] = (
    failures.section,
    overview.section,
    top_images.section,
    unit_tests.section,
    examples.section,
    distortions.section,
    transfer.section,
    words.section,
)
"""Each makes its section from the run's tables, or None where it has nothing to show."""
