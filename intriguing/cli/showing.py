"""Commands that read a run: show, diff, report, export."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from intriguing.basics.folders.files import at_home, writing
from intriguing.basics.process.garbage import collected_later
from intriguing.basics.text.printable import printable
from intriguing.cli.app import Data, Json, RunFolder, command
from intriguing.cli.terminal import err, fitted, out, print_json, say, text, width, write
from intriguing.engine.paths import allow_working_folder
from intriguing.errors import InputError, unknown_name
from intriguing.stats.findings import counted

if TYPE_CHECKING:
    import pandas as pd

    from intriguing.results import Run

_ROWS = 20
_VERDICT = ["sentence", "measure", "value", "interval", "evidence", "refuted_by", "meaning"]
_ALL = 2**31 - 1  # as many as Arrow can be asked for


@Parameter(name="*")
@dataclass(frozen=True)
class Form:
    """In which form rows are given."""

    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print rows as JSON.")] = False
    as_csv: Annotated[bool, Parameter(name="--csv", negative="", help="Print rows as CSV.")] = False
    parquet: Annotated[str | None, Parameter(help="Write rows to this new Parquet file.")] = None

    def __post_init__(self) -> None:
        if sum((self.as_json, self.as_csv, self.parquet is not None)) > 1:
            raise InputError("Give one of --json, --csv and --parquet FILE.")

    @property
    def is_for_programs(self) -> bool:
        """Whether a program reads the rows, not a person."""
        return self.as_json or self.as_csv or self.parquet is not None


@command("show outputs/demo transfer", "show outputs/demo --sql \"select * from models where model = 'cnn'\"")
def show(
    folder: RunFolder,
    what: Annotated[
        str | None,
        Parameter(
            help="What to show: a stage's results (units, blind_spots or distortions, transfer, words, ...), verdicts, "
            "or the rows of a table; without it, the verdicts and what there is."
        ),
    ] = None,
    *,
    rows: Annotated[
        int | None, Parameter(help="How many rows; by default the first 20, and all with --json, --csv or --parquet.")
    ] = None,
    sql: Annotated[
        str | None,
        Parameter(
            help="A query of DuckDB; every table is a view by its name. The shell's quotes go around it, single quotes "
            "around text in it."
        ),
    ] = None,
    schema: Annotated[
        bool, Parameter(negative="", help="Print what the columns of a table are, in place of its rows.")
    ] = False,
    form: Form = Form(),
) -> int:
    """Print what a run found: a stage's results, its verdicts, a table, or the answer to a query.

    With --rows, --json, --csv or --parquet a name means rows: of the table, or of that with the stage's results;
    without them, what a person reads. A query stands in the shell's double quotes, and text in it in single quotes.
    """
    if sql is not None and (what or schema):
        raise InputError(f"--sql names its tables itself: leave out {what or '--schema'}.")
    if schema:
        if not what:
            raise InputError("--schema needs a table: `intriguing show RUN TABLE --schema`.")
        return _show_schema(what)
    with collected_later():
        return _show_run(folder, what, sql, rows, form)


def _show_run(folder: str, what: str | None, sql: str | None, rows: int | None, form: Form) -> int:
    from intriguing.results import open_run
    from intriguing.results.gaps import gaps

    opened = open_run(folder)
    for gap in gaps(opened):
        say(err, printable(gap))
    if what is None and sql is None:
        return _show_contents(opened)
    if sql is None and rows is None and not form.is_for_programs:
        shown = _read_aloud(opened, str(what))
        if shown:
            write(fitted(printable(shown, lines=True), width()))
            return 0
    frame, total, note = _rows_of(opened, what, sql, rows, form)
    if form.is_for_programs:
        note = _give(frame, form) or note
    elif len(frame) or not note:
        _print_frame(_with_class_names(opened, frame), with_traces=what == "failures")
    if len(frame) < total:
        note = f"{len(frame):,} of {total:,} rows; --rows N shows more.{note and ' ' + note}"
    if note:
        say(err, note)
    return 0


@command("diff outputs/demo outputs/mine", "diff outputs/demo outputs/mine --json")
def diff(
    first: Annotated[str, Parameter(help="A run folder.")],
    second: Annotated[str, Parameter(help="The run folder to compare it with.")],
    *,
    as_json: Json = False,
) -> int:
    """Compare two runs: what differs in their specs, and every figure that both have, with its interval."""
    from intriguing.results import open_run
    from intriguing.results.diff import compare

    found = compare(open_run(first), open_run(second))
    if as_json:
        print_json(found.as_dict())
    else:
        write(printable(found.text(width()), lines=True))
    return 0


@command("report outputs/demo", "report outputs/demo --figures paper/figures")
def report(
    folder: RunFolder,
    *,
    out: Annotated[
        str | None,
        Parameter(help="The file to write; by default report.html in the run folder."),
    ] = None,
    site: Annotated[
        str | None,
        Parameter(help="Write a folder instead, with everything that one file has no room for; open its index.html."),
    ] = None,
    figures: Annotated[
        str | None, Parameter(help="Write every figure as PDF and PNG into this folder, and no page.")
    ] = None,
    data: Data = None,
    trust: Annotated[
        bool,
        Parameter(negative="", help="Run the functions (module:factory) that the run names, to show their images."),
    ] = False,
) -> int:
    """Write the run's HTML page anew, and print where it is. Without --trust nothing that the run names is executed."""
    from intriguing.results import open_run
    from intriguing.sweep.reporting.images import image_reader, saved_sources
    from intriguing.sweep.reporting.page import write_report, write_site

    if sum(given is not None for given in (out, site, figures)) > 1:
        raise InputError("--out, --site and --figures write three different things: give one of them.")
    opened = open_run(folder)
    if figures is not None:
        written = opened.figures.save(figures)
        write(printable(f"{len(written) // 2:,} figures as PDF and PNG in {figures}"))
        return 0
    if trust:
        allow_working_folder()
    root = data or os.environ.get("INTRIGUING_DATA")
    sources = saved_sources(opened.datasets, opened.spec, root)
    images = image_reader(sources, trust)
    path = write_report(opened, out, images=images) if site is None else write_site(opened, site, images=images)
    write(printable(path))
    return 0


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which adversarial images are meant."""

    model: Annotated[str | None, Parameter(help="Of this model; by default of all.")] = None
    target_rule: Annotated[str | None, Parameter(help="Of this rule for targets (untargeted, random, every).")] = None
    grade: Annotated[str | None, Parameter(help="Of this grade of the search.")] = None
    dataset: Annotated[str | None, Parameter(help="Of this data set.")] = None
    first: Annotated[
        int | None,
        Parameter(
            help="So many, of one target rule, grade and data set: those named, else untargeted before others. By "
            "default all images of the run."
        ),
    ] = None
    order: Annotated[
        Literal["nearest", "farthest"], Parameter(help="nearest: the smallest changes first. farthest: the largest.")
    ] = "nearest"
    eight_bit: Annotated[
        bool,
        Parameter(
            negative="",
            help="Search again, for images of 256 levels that fool the model: often nearer than a larger change of the "
            "same direction. Takes as long as a search.",
        ),
    ] = False


@command("export outputs/demo --adversarial worst --first 10", "export outputs/demo --adversarial all --model cnn")
def export(
    folder: RunFolder,
    *,
    adversarial: Annotated[str, Parameter(help="The new folder for the images.")],
    which: Which = Which(),
    data: Data = None,
    trust: Annotated[
        bool | None,
        Parameter(
            help="Run the functions (module:factory) that give the unchanged images and the model. Where the model is "
            "such a function, say one of the two: without it PNGs are plainly rounded, which often undoes the change."
        ),
    ] = None,
) -> int:
    """Write adversarial images of a run as 8-bit PNGs, with the unchanged ones, an index, and an npz of exact values.

    The PNGs are fed to the model. A minimal change often does not survive the rounding to 8 bits: then the PNG has a
    larger change of the same direction, one that fools the model. index.csv says of each what it is, what rounding did,
    and how far the PNG is beside what was found.
    """
    from intriguing.results import open_run
    from intriguing.stages.blind_spots.export import Export
    from intriguing.stages.blind_spots.export import export as write_images
    from intriguing.sweep.reporting.images import image_reader, saved_sources
    from intriguing.sweep.stored_models import model_reader

    opened = open_run(folder)
    if trust:
        allow_working_folder()
    root = data or os.environ.get("INTRIGUING_DATA")
    sources = saved_sources(opened.datasets, opened.spec, root)
    ask = (
        _how_to_trust(["export", folder, "--adversarial", adversarial, *_options(which, data)]) if trust is None else ""
    )
    images, models = image_reader(sources, bool(trust), ask), model_reader(folder, bool(trust), ask)
    done = write_images(opened, adversarial, Export(**vars(which)), images, models)
    write(printable(f"{counted(done.count, 'image')} in {done.folder}: index.csv says what each is"))
    for remark in done.remarks:
        write(printable(remark))
    return 0


def _how_to_trust(words: list[str]) -> str:
    """What to type where an export needs a function of the user's and nobody has said whether it may be called."""
    typed = shlex.join(["intriguing", *words])
    return (
        f"Nothing is written. If you trust that code, type where it lies:\n  {typed} --trust\n"
        "With --no-trust in its place the images are written as found, rounded to 8 bits, which often undoes so "
        "small a change."
    )


def _options(which: Which, data: str | None) -> list[str]:
    """The options of `export` as they are typed, but for --trust."""
    plain = vars(Which())
    chosen = {key: value for key, value in (vars(which) | {"data": data}).items() if value != plain.get(key)}
    return [
        word
        for key, value in chosen.items()
        for word in (f"--{key.replace('_', '-')}", *([] if value is True else [str(value)]))
    ]


def _show_schema(table: str) -> int:
    from intriguing.tables import named

    described = named(table)
    say(out, f"{described.name}: a row is {described.row}; unique by {', '.join(described.key)}")
    listing = Table("column", "type", "what", "unit", box=None)
    for field in described.fields:
        listing.add_row(*map(text, (field.name, field.type, field.doc, field.unit)))
    out.print(listing)
    return 0


def _show_contents(opened: "Run") -> int:
    from intriguing.sweep.reporting.printed import notes, printed_stages, verdicts_text
    from intriguing.tables import TABLES

    for note in notes(opened):
        write(fitted(f"{printable(note)}\n", width()))
    said = verdicts_text(opened)
    if said:
        write(fitted(printable(f"{said}\n", lines=True), width()))
    write(fitted("\n".join(f"{name}: a row is {TABLES[name].row}" for name in opened.tables()), width()))
    readable = [*printed_stages(opened), *(["verdicts"] if said else [])]
    if readable:
        say(err, f"Read aloud by `intriguing show {printable(opened.path)} NAME`: {', '.join(readable)}.")
    return 0


def _read_aloud(opened: "Run", what: str) -> str:
    """What a person wants to see under this name; "" where it names nothing but a table."""
    from intriguing.sweep.reporting.printed import names, notes, stage_text, verdicts_text
    from intriguing.tables import TABLES

    answers = what == "verdicts"
    said = verdicts_text(opened) or "The run answers nothing yet." if answers else stage_text(opened, what)
    if said is None and what not in TABLES:
        raise unknown_name("stage or table", what, {*names(), *TABLES})
    return "\n".join([*notes(opened), said]) if said else ""


def _rows_of(
    opened: "Run", table: str | None, sql: str | None, rows: int | None, form: Form
) -> tuple["pd.DataFrame", int, str]:
    """The rows of a table or of a query's answer to show, how many there are, and what else is to be said."""
    import pandas as pd

    from intriguing.sweep.reporting.printed import table_of, verdicts

    most = rows if rows is not None else _ALL if form.is_for_programs else _ROWS
    if most < 0:
        raise InputError(f"--rows {most}: give 0 or more.")
    if sql is not None:
        frame = opened.sql(sql)
        return frame.head(most), len(frame), "" if len(frame) else "The query gives no rows."
    if table == "verdicts":
        frame = pd.DataFrame([vars(verdict) for verdict in verdicts(opened)], columns=_VERDICT)
        return frame.head(most), len(frame), "" if len(frame) else "The run answers nothing yet."
    name = table_of(opened, str(table))
    frame, total = opened.head(name, most)
    present = opened.tables()
    if name not in present:
        return frame, total, f"The run has no table {name!r}; it has: {', '.join(present) or 'none'}."
    if name == "activations":
        return frame, total, "Activations are read a layer at a time: each is a folder of Parquet files."
    return frame, total, "" if total else f"The table {name!r} has no rows."


def _give(frame: "pd.DataFrame", form: Form) -> str:
    """Give rows to a program; a sentence about it, where there is one."""
    if form.as_json:
        write(frame.to_json(orient="records") or "[]")
    elif form.as_csv:
        write(frame.to_csv(index=False).rstrip("\n"))
    else:
        path = at_home(str(form.parquet))
        with writing(path, "Choose another file for --parquet."):
            if path.exists():
                raise InputError(f"{path} exists already: give the name of a new file.")
            if not path.parent.is_dir():
                raise InputError(f"There is no folder {path.parent}: make it, or choose another.")
            frame.to_parquet(path, index=False)
        return f"{len(frame):,} rows written to {Path(path)}."
    return ""


def _print_frame(frame: "pd.DataFrame", with_traces: bool) -> None:
    """Print rows as a table, in blocks of columns that fit a terminal; tracebacks follow it, each under its task."""
    traces = frame.pop("traceback").tolist() if with_traces and "traceback" in frame else []
    form: dict[str, Any] = {"index": False, "max_rows": len(frame), "max_colwidth": 40, "line_width": width()}
    import pandas as pd

    with pd.option_context("display.unicode.east_asian_width", True):
        shown = frame.to_string(**form) if len(frame) else ""
    write(printable(shown, lines=True))
    for task, trace in zip(frame["task"] if traces else (), traces, strict=True):
        write(f"\n{printable(task)}:\n{printable(trace or 'no traceback was kept', lines=True)}")


def _with_class_names(opened: "Run", frame: Any) -> Any:
    """`frame` with the names of its labels' classes, where they have names."""
    names = opened.class_names() if {"dataset", "label"} <= set(frame) and "class_name" not in frame else {}
    if not names:
        return frame
    keys = zip(frame["dataset"], frame["label"], strict=True)
    named = frame.copy()
    named.insert(list(frame).index("label") + 1, "class_name", [names.get(key) for key in keys])
    return named
