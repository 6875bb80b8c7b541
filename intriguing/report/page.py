"""The page: its parts in order, in one file that needs nothing else."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from intriguing.basics.files import write_file
from intriguing.basics.version import __version__
from intriguing.errors import InputError, StoreError
from intriguing.report.parts import Context, PagePart, render


def write_page(
    context: Context, parts: Sequence[PagePart], headline: Sequence[tuple[str, str]], out: str | Path | None = None
) -> Path:
    """Write the page of a run and return where it lies: one HTML file that needs no network and no scripts.

    context: the run, and where its images come from. parts: what the page shows, in its order. headline: the figures at
    the top, as (figure, what it is). out: the file to write, by default report.html in the run's folder.

    Raises `StoreError` where there is no run or the file cannot be written, `InputError` when `out` is missing for a
    run on an object store, or `images` gives something else than images.
    """
    run = context.run
    if out is None and "://" in run.path:
        raise InputError(f"The run lies at {run.path}: say where to write the page, as in out='report.html'.")
    path = Path(run.path, "report.html") if out is None else Path(out)
    html = _html(context, parts, headline)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path.parent, path.name, html.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise StoreError(f"The report cannot be written to {path}: {error} Choose another file with out=.") from error
    return path


def _html(context: Context, parts: Sequence[PagePart], headline: Sequence[tuple[str, str]]) -> str:
    style = resources.files("intriguing.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    return render(
        "report/templates/page.html",
        name=context.run.name or Path(context.run.path).name,
        version=__version__,
        style=Markup(style),
        parts=parts,
        headline=headline,
    )
