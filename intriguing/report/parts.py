"""What a part of the page is made of and made from."""

import logging
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from intriguing.errors import DataError
from intriguing.report import text
from intriguing.report.attachments import Attachment
from intriguing.report.pictures import as_pictures
from intriguing.results import Run
from intriguing.stats.findings import significant

if TYPE_CHECKING:
    import jinja2

log = logging.getLogger(__name__)

Images = Callable[[str, np.ndarray], np.ndarray]
"""images(dataset, ids) -> (n, C, H, W), uint8, or float in [0, 1]: the unchanged inputs with these example ids.

It may raise `DataError`: then the page leaves that data set's images out, and says why.
"""

Row = dict[str, Any]
"""A row of a table, by column."""

LAYER = ("dataset", "model", "model_seed", "layer", "condition")
"""What names a layer's vectors in every table about units."""

_SHORT = 16
"""Characters of a name that is not broken."""
_FIRST = ("natural", "raw", "untargeted", "trained")

NO_IMAGES = "The images themselves are not shown: this page was written from the run's tables alone, without its data."


@dataclass(frozen=True)
class PagePart:
    """A part of the page: the name of its anchor, its heading, and its HTML (already escaped).

    attachments: the data that its script reads. scripts: files of JavaScript, named from the package's root.
    """

    slug: str
    title: str
    html: Markup
    attachments: tuple[Attachment, ...] = ()
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """What every part of the page is made from: the run, and where its images come from (None: tables only).

    whole: whether everything is shown however large, for the folder form; else a part keeps to its share of one file.
    """

    run: Run
    images: Images | None = None
    whole: bool = False
    _models_of: dict[str | None, list[tuple[str, int]]] = field(default_factory=dict, repr=False)
    _left_out: dict[str, str] = field(default_factory=dict, repr=False)

    def limit(self, most_bytes: float) -> float:
        """How many bytes a part may take: `most_bytes` of the one-file form; no limit in the folder form."""
        return math.inf if self.whole else most_bytes

    def most(self, rows: int) -> int:
        """How many rows of a table are shown: `rows` in the one-file form, all in the folder form."""
        return sys.maxsize if self.whole else rows

    def pictures(self, dataset: str, ids: Iterable[int]) -> dict[int, np.ndarray]:
        """The images with these ids as (C, H, W) float in [0, 1], C = 1 or 3; {} where there are none to show."""
        distinct = np.array(sorted(set(ids)), np.int64)
        if self.images is None or not len(distinct) or dataset in self._left_out:
            return {}
        try:
            images = self.images(dataset, distinct)
        except DataError as error:
            self._left_out[dataset] = str(error)
            log.warning("The page leaves out the images of %r: %s", dataset, error)
            return {}
        return dict(zip(distinct.tolist(), as_pictures(images, len(distinct)), strict=True))

    def no_images(self) -> str | None:
        """Why images are left out, after they were asked for; None where none was."""
        if self.images is None:
            return NO_IMAGES
        reasons = (f"The images of {name!r} are not shown: {why}." for name, why in self._left_out.items())
        return " ".join(reasons) or None

    def query(self, sql: str, *parameters: object, **named: object) -> list[Row]:
        """The rows that a query gives, with values in the order of its question marks, or by the names after $."""
        return _rows(self.run.own_query(sql, parameters or named or None))

    def groups(self, table: str) -> list[Row]:
        """Of which data sets, grades and rules the images of the table `transfer` or `rays` are."""
        return _rows(self.run.groups(table))

    def grouped(self, rows: Iterable[Row], *keys: str) -> list[tuple[Row, list[Row]]]:
        """Rows that share the values of `keys`, as (those values, rows): models as the spec lists them, else sorted."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
        return sorted(
            ((dict(zip(keys, values, strict=True)), members) for values, members in groups.items()),
            key=lambda group: [self._sort_key(key, value) for key, value in group[0].items()],
        )

    def label(self, row: Row) -> str:
        """What a row's model is called on the page: its name, with the seed where it has several."""
        several = sum(name == row["model"] for name, _ in self._models(row["dataset"])) > 1
        return f"{row['model']}#{row['model_seed']}" if several else row["model"]

    def class_name(self, dataset: str, label: int | None) -> str:
        """What a class is called on the page: its name where it has one, else its number; "?" for none."""
        return "?" if label is None else self._class_names.get((dataset, label), str(label))

    def class_words(self, dataset: str, label: int | None) -> str:
        """A class in a sentence: its number, and its name where it has one."""
        name = self.class_name(dataset, label)
        return name if label is None or name == str(label) else f"{label} ({name})"

    @cached_property
    def _class_names(self) -> dict[tuple[str, int], str]:
        return self.run.class_names()

    def _sort_key(self, key: str, value: Any) -> Any:
        """What a group is sorted by: a model's or layer's place in the spec, what is no control first, the value."""
        if key == "model":
            names = [name for name, _ in self._models(None)]
            return (names.index(value) if value in names else len(names), value)
        if key == "layer":
            return (self._layers.index(value) if value in self._layers else len(self._layers), value)
        return (value not in _FIRST, value)

    @cached_property
    def _layers(self) -> list[str]:
        models = self.run.spec.get("models", {})
        each = models.values() if isinstance(models, Mapping) else models
        return [layer for model in each if isinstance(model, Mapping) for layer in model.get("layers", ())]

    def _models(self, dataset: str | None) -> list[tuple[str, int]]:
        if dataset not in self._models_of:
            self._models_of[dataset] = self.run.models(dataset)
        return self._models_of[dataset]


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def render(template: str, **values: Any) -> Markup:
    """The HTML of a template, named from the package's root ("stages/run/page/failures.html").

    Every value is escaped unless it is Markup.
    """
    return Markup(_environment().get_template(template).render(**values))


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # what is printed in a terminal needs no templates

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intriguing", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["significant"] = significant
    environment.filters.update(number=text.number, percent=text.percent, count=text.count, plural=text.plural)
    environment.filters["in_one_line"] = _in_one_line
    return environment


def _in_one_line(name: object) -> Markup:
    """The attribute of a cell whose name is short enough to stand in one line, whatever stands beside it."""
    return Markup(' class="short"' if len(str(name)) <= _SHORT else "")
