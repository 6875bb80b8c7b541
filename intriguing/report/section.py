"""What a section of the page is made of and made from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from intriguing.report import text
from intriguing.report.pictures import as_pictures
from intriguing.results import Run

Images = Callable[[str, np.ndarray], np.ndarray]
"""images(dataset, ids) -> (n, C, H, W), uint8, or float in [0, 1]: the unchanged inputs with these example ids."""

NO_IMAGES = "The images themselves are not shown: this page was written from the run's tables alone, without its data."


@dataclass(frozen=True)
class Section:
    """A part of the page: the name of its anchor, its heading, and its HTML (already escaped)."""

    slug: str
    title: str
    html: Markup


@dataclass(frozen=True)
class Context:
    """What every section is given: the run, and where its images come from (None: tables only)."""

    run: Run
    images: Images | None = None

    def pictures(self, dataset: str, ids: list[int]) -> dict[int, np.ndarray]:
        """The images with these ids as (C, H, W) float in [0, 1], C = 1 or 3, each asked for once; {} without images."""
        wanted = np.array(sorted(set(ids)), np.int64)
        if self.images is None or not len(wanted):
            return {}
        return dict(zip(wanted.tolist(), as_pictures(self.images(dataset, wanted), len(wanted)), strict=True))

    def label(self, dataset: str, model: str, seed: int) -> str:
        """What a model is called on the page: its name, with the seed where it has several."""
        several = sum(name == model for name, _ in self.run.models(dataset)) > 1
        return f"{model}#{seed}" if several else model


def render(template: str, **values: Any) -> Markup:
    """The HTML of one of `templates/`; every value is escaped unless it is Markup."""
    return Markup(_environment().get_template(template).render(**values))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intriguing.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=text.number, percent=text.percent, count=text.count, plural=text.plural)
    return environment
