"""Open a run and read it: tables as Arrow, pandas or SQL, and transfer matrices. Nothing here writes."""

from intriguing.results.opening import open_run
from intriguing.results.run import Run

__all__ = ["Run", "open_run"]
