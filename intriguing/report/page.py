"""The page: its parts in order, in one file that needs nothing else."""

import base64
import hashlib
import json
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
from intriguing.report.glossary import glossary
from intriguing.report.parts import Context, PagePart, render
from intriguing.report.verdicts import Verdict

_DATA = "data"
_STYLES = ("report/templates/style.css", "report/templates/explore.css")
_SCRIPTS = ("report/templates/script/core.js", "report/templates/script/page.js")


@dataclass(frozen=True)
class PageBody:
    """What a page shows: its parts in order, the figures at its top as (figure, what it is), and its verdicts."""

    parts: Sequence[PagePart]
    headline: Sequence[tuple[str, str]] = ()
    verdicts: Sequence[Verdict] = ()


def write_page(context: Context, body: PageBody, out: str | Path | None = None, made_of: str = "") -> Path | str:
    """Write the page of a run and return where it lies: one HTML file that needs no network and nothing beside it.

    context: the run, and where its images come from. out: the file to write, by default report.html in the run's
    folder (of one on an object store its URI is returned). made_of: what `made_of` said of the run before its tables
    were read: it stands at the end of the page, before its seal.

    Raises `StoreError` where there is no run or the file cannot be written, `InputError` when `out` is missing for a
    run that lies where nothing is written (file://, hdfs://), or `images` gives something else than images.
    """
    run = context.run
    if out is None and run.place is None:
        raise InputError(f"The run lies at {run.path}: say where to write the page, as in out='report.html'.")
    html = _html(context, body, beside=False).encode("utf-8", errors="backslashreplace")
    content = seal.PAGE.close(html + _made(made_of))
    if out is None and run.place is not None and not isinstance(run.place, Path):
        run.place.write("report.html", content)
        return f"{run.place}/report.html"
    path = Path(run.path, "report.html") if out is None else at_home(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path.parent, path.name, content)
    except OSError as error:
        raise StoreError(f"The report cannot be written to {path}: {error} Choose another file with out=.") from error
    return path


def write_site(context: Context, body: PageBody, folder: str | Path, made_of: str = "") -> Path:
    """Write the page as a folder: index.html, and its data beside it in data/; return where index.html lies.

    It opens from the disk as from any server. Raises `StoreError` where the folder holds something else than such a
    page, or cannot be written.
    """
    root = at_home(folder)
    try:
        if root.exists() and any(root.iterdir()) and not _is_page(root / "index.html"):
            raise StoreError(f"{root} is not empty, and holds no whole page: choose a new folder for --site.")
        data = root / _DATA
        data.mkdir(parents=True, exist_ok=True)
        kept = set()
        for attachment in (attachment for part in body.parts for attachment in part.attachments):
            name = f"{attachment.name}.{'webp' if attachment.is_picture else 'js'}"
            given = f"Page.give({json.dumps(attachment.name)}, {json.dumps(attachment.as_base64())});\n".encode()
            write_file(data, name, attachment.content if attachment.is_picture else given)
            kept.add(name)
        for file in data.iterdir():  # of a page that was written here before
            if file.suffix in (".js", ".webp") and file.name not in kept:
                file.unlink()
        content = _html(context, body, beside=True).encode("utf-8", errors="backslashreplace") + _made(made_of)
        write_file(root, "index.html", seal.PAGE.close(content))
    except OSError as error:
        raise StoreError(f"The page cannot be written to {root}: {error} Choose another folder for --site.") from error
    return root / "index.html"


def _is_page(path: Path) -> bool:
    """Whether a file is a page that was written here, whole and unchanged."""
    return path.is_file() and seal.PAGE.holds(path.read_bytes())


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


def _html(context: Context, body: PageBody, beside: bool) -> str:
    """The page; `beside`: the data lie in files beside it, not in it."""
    attachments = [attachment for part in body.parts for attachment in part.attachments]
    script = "\n".join(_text(name) for name in dict.fromkeys((*_SCRIPTS, *(n for p in body.parts for n in p.scripts))))
    return render(
        "report/templates/page.html",
        name=context.run.name or Path(context.run.path).name,
        version=__version__,
        style=Markup("\n".join(_text(name) for name in _STYLES)),
        script=Markup(script),
        policy=None if beside else _policy(script),
        attachments=[] if beside else attachments,
        parts=body.parts,
        headline=body.headline,
        verdicts=body.verdicts,
        glossary=glossary(),
    )


def _policy(script: str) -> str:
    """A content security policy: nothing is fetched, and no other script than the page's own runs."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _text(name: str) -> str:
    """A file of the package, named from its root."""
    return resources.files("intriguing").joinpath(name).read_text(encoding="utf-8")
