"""What the tests of pages share: a page that is read as a document, and changes to the tables that it is made from."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from intriguing import tables
from intriguing.report.attachments import unpacked
from intriguing.sweep.reporting.page import write_report

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Document(HTMLParser):
    """What a page holds: elements with their attributes, text, what cells have to tell, and tags that do not nest."""

    def __init__(self, html):
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.text: list[str] = []
        self.told: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(html)
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element, near {self.getpos()}")

    def handle_data(self, data):
        if self.elements and self.elements[-1] == ("span", {"class": "tell"}) and self.open[-1] == "span":
            self.told.append(data)
        elif not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def about(html, name):
    """What the explorer `name` (units, searches) knows beside its numbers."""
    text = re.search(rf'id="{name}-about">(.*?)</script>', html, re.DOTALL)[1]
    return json.loads(text)


def numbers(html, name):
    """The arrays of an attachment of the page."""
    return unpacked(base64.b64decode(re.search(rf'id="data-{name}">(.*?)</script>', html)[1]))


def sheet(html, name):
    """A sheet of thumbnails of the page."""
    text = re.search(rf'id="data-{name}">(.*?)</script>', html)[1]
    return Image.open(io.BytesIO(base64.b64decode(text)))


def words_of(root, images=None):
    """The text of the page that is written anew for the run in `root`."""
    return Document(write_report(root, images=images).read_text()).words


def rewrite(root, table, column, value):
    """Another `value` of each row in a column of a table."""
    for shard in (root / "tables" / table).glob("*.parquet"):
        rows = pq.read_table(shard)
        place, field = rows.schema.get_field_index(column), rows.schema.field(column)
        new = pa.array([value(row) for row in rows.to_pylist()], field.type)
        pq.write_table(rows.set_column(place, field, new), shard)


def change_rows(root, wrong, unfed=()):
    """The tables as they are when each model is `wrong` on these images unchanged, and some were not fed them."""
    for shard in sorted((root / "tables" / "distortions").glob("*.parquet")):
        rows = pq.read_table(shard).to_pylist()
        for row in rows:
            row["clean_prediction"] = (row["label"] + (row["example_id"] in wrong.get(row["model"], ()))) % 10
        pq.write_table(pa.Table.from_pylist(rows, tables.DISTORTIONS.schema), shard)
    for shard in sorted((root / "tables" / "transfer").glob("*.parquet")):
        rows = pq.read_table(shard).to_pylist()
        for row in (row for row in rows if row["kind"] == "clean"):
            row["is_error"] = row["example_id"] in wrong.get(row["model"], ())
        rows = [row for row in rows if row["kind"] != "clean" or row["model"] not in unfed]
        pq.write_table(pa.Table.from_pylist(rows, tables.TRANSFER.schema), shard)


def luminance(colour):
    """Of an sRGB colour (3,) in 0 to 255. Source: WCAG 2.2, "relative luminance"."""
    share = np.asarray(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    """The contrast of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
