"""The page's tools: one self-contained HTML file about a run, from its tables alone. Which parts it has, stages say."""

from intriguing.report.page import is_current, made_of, write_page
from intriguing.report.parts import Context, Images, PagePart, Row

__all__ = ["Context", "Images", "PagePart", "Row", "is_current", "made_of", "write_page"]
