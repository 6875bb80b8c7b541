"""The page: its parts in order, in one file that needs nothing else."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from intriguing.basics import seal
from intriguing.basics.files import at_home, write_file
from intriguing.basics.folder import Place, folder_at
from intriguing.basics.version import __version__
from intriguing.errors import InputError, StoreError
from intriguing.report.parts import Context, PagePart, render
from intriguing.report.verdicts import Verdict


@dataclass(frozen=True)
class PageBody:
    """What a page shows: its parts in order, the figures at its top as (figure, what it is), and its verdicts."""

    parts: Sequence[PagePart]
    headline: Sequence[tuple[str, str]] = ()
    verdicts: Sequence[Verdict] = ()


def write_page(context: Context, body: PageBody, out: str | Path | None = None, made_of: str = "") -> Path:
    """Write the page of a run and return where it lies: one HTML file that needs no network and no scripts.

    context: the run, and where its images come from. out: the file to write, by default report.html in the run's
    folder. made_of: what `made_of` said of the run before its tables were read: it stands at the end of the page,
    before its seal.

    Raises `StoreError` where there is no run or the file cannot be written, `InputError` when `out` is missing for a
    run on an object store, or `images` gives something else than images.
    """
    run = context.run
    if out is None and "://" in run.path:
        raise InputError(f"The run lies at {run.path}: say where to write the page, as in out='report.html'.")
    path = Path(run.path, "report.html") if out is None else at_home(out)
    html = _html(context, body)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = html.encode("utf-8", errors="backslashreplace") + _made(made_of)
        write_file(path.parent, path.name, seal.PAGE.close(content))
    except OSError as error:
        raise StoreError(f"The report cannot be written to {path}: {error} Choose another file with out=.") from error
    return path


def made_of(run: Place) -> str:
    """A hash of what a run folder's page shows: its plan, and its tables of finished and of failed tasks."""
    digest = hashlib.sha256()
    for name in ("plan.json", "tables/tasks/tasks.parquet", "tables/failures/failures.parquet"):
        with suppress(OSError, StoreError):
            digest.update(hashlib.sha256(folder_at(run).read(name)).digest())
        digest.update(b"/")
    return digest.hexdigest()


def is_current(run: Place) -> bool:
    """Whether report.html of a run folder is whole, and was made of what the folder holds now."""
    try:
        content = folder_at(run).read("report.html")
    except (OSError, StoreError):
        return False
    return seal.PAGE.holds(content) and _made(made_of(run)) in content[-1_000:]


def _made(made_of: str) -> bytes:
    return f"<!-- made of {made_of} -->\n".encode()


def _html(context: Context, body: PageBody) -> str:
    style = resources.files("intriguing.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    return render(
        "report/templates/page.html",
        name=context.run.name or Path(context.run.path).name,
        version=__version__,
        style=Markup(style),
        parts=body.parts,
        headline=body.headline,
        verdicts=body.verdicts,
    )
