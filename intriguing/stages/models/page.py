"""Data sets and models on the page: the figures at its top. Their table is in the overview of the run."""

from intriguing.report import Context
from intriguing.report.text import count, figure


def headline(context: Context) -> list[tuple[str, str]]:
    """How many models there are, and how many data sets where there are several."""
    datasets = context.run.table("models", columns=["dataset"])["dataset"]
    if not len(datasets):
        return []
    figures = [figure(len(datasets), "model")]
    several = len(datasets.unique())
    return [*figures, (count(several), "data sets")] if several > 1 else figures
