"""The page's tools: one self-contained HTML file about a run, or a folder, from its tables alone. Its parts are the
stages' own.
"""

from intriguing.report.page import PageBody, is_current, made_of, write_page, write_site
from intriguing.report.parts import Context, Images, PagePart, Row
from intriguing.report.verdicts import Verdict, said_once

__all__ = [
    "Context",
    "Images",
    "PageBody",
    "PagePart",
    "Row",
    "Verdict",
    "is_current",
    "made_of",
    "said_once",
    "write_page",
    "write_site",
]
