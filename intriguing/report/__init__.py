"""The page's tools: one self-contained HTML file about a run, from its tables alone. Which parts it has, stages say."""

from intriguing.report.page import PageBody, is_current, made_of, write_page
from intriguing.report.parts import Context, Images, PagePart, Row
from intriguing.report.verdicts import Verdict

__all__ = ["Context", "Images", "PageBody", "PagePart", "Row", "Verdict", "is_current", "made_of", "write_page"]
