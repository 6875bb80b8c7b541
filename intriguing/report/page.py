"""The page: its sections in order, in one file that needs nothing else."""

from importlib import resources
from pathlib import Path

from markupsafe import Markup

import intriguing
from intriguing.errors import InputError, StoreError
from intriguing.files import write_file
from intriguing.report.section import Context, Images, render
from intriguing.report.sections import SECTIONS
from intriguing.report.sections.overview import headline
from intriguing.results import Run, open_run


def write_report(run_path: str | Path | Run, out: str | Path | None = None, images: Images | None = None) -> Path:
    """Write the report of a run and return where it lies: one HTML file that needs no network and no scripts.

    run_path: the run's folder, or an open run. out: the file to write, by default report.html in the run's folder.
    images: images(dataset, ids) -> (n, C, H, W), uint8, or float in [0, 1]; without it the page says that the images
    are left out. A run that is not finished is reported as far as it got.

    Raises `StoreError` where there is no run or the file cannot be written, `InputError` when `out` is missing for a
    run on an object store, or `images` gives something else than images.
    """
    run = run_path if isinstance(run_path, Run) else open_run(run_path)
    if out is None and "://" in run.path:
        raise InputError(f"The run lies at {run.path}: say where to write the page, as in out='report.html'.")
    path = Path(run.path, "report.html") if out is None else Path(out)
    html = page(Context(run, images))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path.parent, path.name, html.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise StoreError(f"The report cannot be written to {path}: {error} Choose another file with out=.") from error
    return path


def page(context: Context) -> str:
    """The HTML of the page."""
    sections = [section for make in SECTIONS if (section := make(context)) is not None]
    style = resources.files("intriguing.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    return render(
        "page.html",
        name=context.run.name or Path(context.run.path).name,
        version=intriguing.__version__,
        style=Markup(style),
        sections=sections,
        headline=headline(context),
    )
