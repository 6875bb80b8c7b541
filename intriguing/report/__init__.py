"""One self-contained HTML page about a run, written from its tables alone."""

from intriguing.report.page import write_report
from intriguing.report.section import Context, Images, Section

__all__ = ["Context", "Images", "Section", "write_report"]
