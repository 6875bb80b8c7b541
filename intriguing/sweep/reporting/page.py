"""The page of a run, put together from the parts of its stages."""

from pathlib import Path

from intriguing.basics.folders.bucket import BucketFolder
from intriguing.errors import CorruptError
from intriguing.report import Context, Images, PageBody, made_of, said_once, write_page
from intriguing.report import write_site as site
from intriguing.report.page import check_out, check_site
from intriguing.report.room import finished
from intriguing.results import Run, open_run
from intriguing.stages import STAGES
from intriguing.sweep.reporting.printed import notes, verdicts


def write_report(
    run: str | Path | BucketFolder | Run, out: str | Path | None = None, images: Images | None = None
) -> Path | str:
    """Write the report of a run and return where it lies: one HTML file that needs no network and nothing beside.

    run: the run's folder, or an open run. out: the file to write, by default report.html in the run's folder, of which
    the URI is returned where it is on an object store.
    images: images(dataset, ids) -> (n, C, H, W), uint8, or float in [0, 1]; without it the page says that the images
    are left out. A run that is not finished is reported as far as it got.

    Raises:
        StoreError: there is no run, or the file cannot be written.
        CorruptError: a table is damaged, or holds what no run writes.
        InputError: `out` is missing for a run where nothing is written (file://, hdfs://), or `images` gives something
            else than images.
    """
    context = Context(run if isinstance(run, Run) else open_run(run), images)
    check_out(context.run, out)
    body, made = _body(context)
    return write_page(context, body, out, made)


def write_site(run: str | Path | Run, folder: str | Path, images: Images | None = None) -> Path:
    """Write the report of a run as a folder, with everything that one file has no room for; return its index.html.

    Arguments and errors as of `write_report`; `StoreError` too where the folder holds something else.
    """
    context = Context(run if isinstance(run, Run) else open_run(run), images, whole=True)
    check_site(folder)
    body, made = _body(context)
    return site(context, body, folder, made)


def _body(context: Context) -> tuple[PageBody, str]:
    """What the page shows, and a hash of what it is made of, taken before the tables are read."""
    try:
        with context.run.listed_once():
            return _read(context)
    except CorruptError:  # a run that is at work may have put a table in order since it was listed
        return _read(context)


def _read(context: Context) -> tuple[PageBody, str]:
    made = made_of(context.run.place or Path(context.run.path))  # before any table is listed
    context.run.check_whole()
    parts = [part for stage in STAGES for part in stage.page_parts(context)]
    headline = [figure for stage in STAGES for figure in stage.headlines(context)]
    said = said_once(verdicts(context.run))
    return PageBody(finished(parts, context.whole), headline, said, notes(context.run)), made
