"""The page: its parts in order, in one file that needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from intriguing.basics.folders import seal
from intriguing.basics.folders.files import at_home, check_can_write, write_file, writing
from intriguing.basics.folders.folder import Place, folder_at
from intriguing.basics.version import __version__
from intriguing.errors import InputError, StoreError
from intriguing.report.glossary import glossary
from intriguing.report.parts import Context, PagePart, render
from intriguing.report.room import LARGEST, shortened
from intriguing.report.verdicts import Verdict
from intriguing.results import Run

_DATA, _SITE = "data", "Choose another folder for --site."
_STYLES = ("report/templates/style.css", "report/templates/explore.css")
_SCRIPTS = ("report/templates/script/core.js", "report/templates/script/page.js")


@dataclass(frozen=True)
class PageBody:
    """What a page shows: its parts in order, the figures at its top as (figure, what it is), its verdicts and notes."""

    parts: Sequence[PagePart]
    headline: Sequence[tuple[str, str]] = ()
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = ()


def write_page(context: Context, body: PageBody, out: str | Path | None = None, made_of: str = "") -> Path | str:
    """Write the page of a run and return where it lies: one HTML file that needs no network and nothing beside it.

    context: the run, and where its images come from. out: the file to write, by default report.html in the run's
    folder (of one on an object store its URI is returned). made_of: what `made_of` said of the run before its tables
    were read: it stands at the end of the page, before its seal.

    Raises `StoreError` where there is no run or the file cannot be written, `InputError` when `out` is missing for a
    run that lies where nothing is written (file://, hdfs://), or `images` gives something else than images.
    """
    run = context.run
    check_out(run, out)
    content = seal.PAGE.close(_one_file(context, body) + _made(made_of))
    if out is None and run.place is not None and not isinstance(run.place, Path):
        run.place.write("report.html", content)
        return f"{run.place}/report.html"
    path = Path(run.path, "report.html") if out is None else at_home(out)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path.parent, path.name, content)
    return path


def check_out(run: Run, out: str | Path | None) -> None:
    """Raise `StoreError` or `InputError` where `write_page` could not write, before the page is made."""
    if out is None and run.place is None:
        raise InputError(f"The run lies at {run.path}: say where to write the page, as in out='report.html'.")
    if out is not None or isinstance(run.place, Path):
        path = Path(run.path, "report.html") if out is None else at_home(out)
        with _writing(path):
            check_can_write(path.parent)


def check_site(folder: str | Path) -> None:
    """Raise `StoreError` where `write_site` could not write, before the page is made."""
    root = at_home(folder)
    with writing(root, _SITE):
        if root.exists() and any(root.iterdir()) and not _is_page(root / "index.html"):
            raise StoreError(f"{root} is not empty, and holds no whole page: choose a new folder for --site.")
        check_can_write(root)


def _writing(path: Path) -> AbstractContextManager[None]:
    return writing(path, "Say where else to write the page: `intriguing report RUN --out page.html`, out= in Python.")


def _one_file(context: Context, body: PageBody) -> bytes:
    """The page as one file; where it would be larger than one may be, without its largest parts, which say so."""
    html = _encoded(context, body, beside=False)
    if len(html) > LARGEST:
        html = _encoded(context, replace(body, parts=shortened(body.parts, len(html) - LARGEST)), beside=False)
    return html


def write_site(context: Context, body: PageBody, folder: str | Path, made_of: str = "") -> Path:
    """Write the page as a folder: index.html, and its data beside it in data/; return where index.html lies.

    It opens from the disk as from any server. Raises `StoreError` where the folder holds something else than such a
    page, or cannot be written.
    """
    root = at_home(folder)
    check_site(root)
    with writing(root, _SITE):
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
        write_file(root, "index.html", seal.PAGE.close(_encoded(context, body, beside=True) + _made(made_of)))
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


def _encoded(context: Context, body: PageBody, beside: bool) -> bytes:
    return _html(context, body, beside).encode("utf-8", errors="backslashreplace")


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
        notes=body.notes,
        glossary=glossary(),
    )


def _policy(script: str) -> str:
    """A content security policy: nothing is fetched, and no other script than the page's own runs."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _text(name: str) -> str:
    """A file of the package, named from its root."""
    return resources.files("intriguing").joinpath(name).read_text(encoding="utf-8")
