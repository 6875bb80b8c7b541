"""Open a run in a local folder or an object store."""

from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from intriguing.basics.folders.bucket import BucketFolder
from intriguing.basics.folders.files import at_home, unreadable, without_secrets
from intriguing.basics.folders.presence import is_file, is_folder
from intriguing.basics.folders.saved_plan import LARGEST_PLAN, checked_plan, damaged, parse_json
from intriguing.errors import StoreError
from intriguing.results.files import located
from intriguing.results.run import Run

_SHOWN = 5


def open_run(path: str | Path | BucketFolder) -> Run:
    """The run in the folder `path`: a local path, or the URI of one in a bucket (s3://bucket/folder, gs://, abfs://).

        import intriguing as ig
        run = ig.open_run("outputs/demo")
        run.tables()

    Runs at file:// and hdfs:// URIs can only be read.

    Raises `StoreError` where there is no run, and `CorruptError` when its plan cannot be read.
    """
    text = str(path)
    shown = without_secrets(text) if "://" in text else str(at_home(text))
    try:
        place, system, root = located(path)
        kind = system.get_file_info(root).type
        there = system.get_file_info(f"{root}/plan.json").type
    except StoreError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{shown!r} cannot be opened: {error}") from error
    if there != fs.FileType.File:
        problem = {fs.FileType.NotFound: "does not exist", fs.FileType.File: "is a file"}.get(kind, "has no plan.json")
        raise StoreError(
            f"{shown!r} is not the folder of a run: it {problem}. Give the folder that `intriguing run SPEC --out "
            f"FOLDER` wrote (it holds plan.json and tables/).{_meant(text)}"
        )
    try:
        with system.open_input_stream(f"{root}/plan.json") as stream:
            content = stream.read(LARGEST_PLAN + 1)
        if len(content) > LARGEST_PLAN:
            raise ValueError(f"it has more than {LARGEST_PLAN:,} bytes")
        body = parse_json(content)
        plan = checked_plan(body)
        if "spec" not in body:
            raise ValueError("it has no spec")
    except (StoreError, ValueError) as error:
        raise damaged(f"{shown}/plan.json", error) from error
    except OSError as error:
        raise unreadable(error, f"{shown}/plan.json") from error
    return Run(shown, plan.spec, plan.name, plan.tasks, plan.datasets, place, system, root, plan.version, plan)


def _meant(path: str) -> str:
    """The run that `path` lies in, or those that lie in it, as a sentence; "" where there are none, and of a bucket."""
    if "://" in path:
        return ""
    given = at_home(path)
    inside = next((above for above in list(given.absolute().parents)[:3] if is_file(above / "plan.json")), None)
    if inside is not None:
        return f" It lies in the run {str(inside)!r}."
    try:
        runs = (
            sorted(str(below) for below in given.iterdir() if is_file(below / "plan.json")) if is_folder(given) else []
        )
    except OSError:
        return ""
    shown = ", ".join(map(repr, runs[:_SHOWN])) + (", ..." if len(runs) > _SHOWN else "")
    return f" Runs in it: {shown}." if runs else ""
