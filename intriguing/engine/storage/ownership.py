"""Which folders a run may write to: those whose plan.json is one of ours, and empty or new ones.

A folder without plan.json is taken if all that it holds is what a run leaves that was stopped before its plan was
written (a lock, temporary files, a store), and files that systems and editors put everywhere. One whose plan.json went
or was damaged is taken if it has nothing but what a run makes, and a record in its store that is sealed as ours are.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any

from intriguing.basics.folders import seal
from intriguing.basics.folders.files import explained, is_temporary, names_in, obstacle
from intriguing.basics.folders.folder import Folder, LocalFolder, Place, folder_at
from intriguing.basics.folders.saved_plan import checked_plan, parse_json
from intriguing.errors import StoreError

PLAN = "plan.json"
LOCK = ".lock"
RECORD = "record.json"
_PAGE = "report.html"
_FINGERPRINT = re.compile(r"[0-9a-f]{40}")
_HARMLESS = {".gitignore", ".gitkeep", ".keep", ".DS_Store", ".directory", "Thumbs.db", "desktop.ini", "lost+found"}
# Temporary names of earlier versions of this package, and the token by which Ray's workers know the folder.
_LEFT = re.compile(r"\.plan\.json\.[0-9a-f]{8}|\.seen-by-[0-9a-f]{8,32}")
_FILES = (PLAN, LOCK, _PAGE, "live/status.json", "live/verified.json", "live/records.json")
_FOLDERS = ("store", "tables", "live")


def is_fingerprint(name: str) -> bool:
    """Whether `name` is one that a task's folder in the store has: 40 hexadecimal digits."""
    return _FINGERPRINT.fullmatch(name) is not None


def read_plan(run: Place) -> dict[str, Any]:
    """The plan.json of `run`; empty where there is none, or none of our form."""
    try:
        plan = parse_json(folder_at(run).read(PLAN))
        checked_plan(plan)
    except (OSError, ValueError):
        return {}
    return plan if _is_plan(plan) else {}


def owned_plan(run: Place) -> dict[str, Any]:
    """The plan.json of `run`; raises `StoreError` where the folder is no run, or something stands in its files' way."""
    plan = read_plan(run)
    if not plan:
        raise StoreError(f"{run} holds no run: there is no plan.json that can be read.")
    if isinstance(run, Path):
        _check_places(run)
    return plan


def check_ours(run: Place) -> None:
    """Check that `run` may be written: absent, empty, or a run of ours with nothing foreign in its files' way.

    Raises:
        StoreError: the folder holds something else; nothing in it was touched.
    """
    folder = folder_at(run)
    if isinstance(folder, LocalFolder):
        _check_local(folder.path)
    else:
        _check_far(folder)


def _check_far(run: Folder) -> None:
    names = run.files("")
    foreign = {name for name in names if not _is_harmless(name) and name != LOCK}
    if PLAN in names and read_plan(run):
        return
    if is_without_plan(run):
        return
    foreign |= set(run.folders("")) - {"store", "live"}
    foreign |= {name for name in run.folders("store") if not is_fingerprint(name)}
    _refuse(str(run), sorted(foreign), PLAN in names)


def _check_local(run: Path) -> None:
    try:
        names = names_in(run)
    except FileNotFoundError:
        return
    except OSError as error:
        raise explained(error, run) from error
    has_plan = PLAN in names
    if not (has_plan and read_plan(run)):
        if has_plan and not stat.S_ISREG(os.lstat(run / PLAN).st_mode):
            raise obstacle(run / PLAN, "a file")
        if not is_without_plan(run):
            foreign = [] if has_plan else [name for name in names if not _is_left_over(run / name)]
            _refuse(str(run), foreign, has_plan)
    _check_places(run)


def is_without_plan(run: Place) -> bool:
    """Whether `run` is a run of ours whose plan.json went, or was damaged: then it is written anew.

    Nothing but what a run makes lies in it and in its store, and a record there has the seal that this package gives.
    """
    folder = folder_at(run)
    names = names_in(run) if isinstance(run, Path) else [*folder.files(""), *folder.folders("")]
    if any(name not in (*_FOLDERS, PLAN, LOCK, _PAGE) and not _is_harmless(name) for name in names):
        return False
    try:
        stored = folder.folders("store")
        if folder.files("store") or not all(is_fingerprint(name) or is_temporary(name) for name in stored):
            return False
        return any(_is_sealed(folder, name) for name in stored)
    except (OSError, StoreError):
        return False


def _is_sealed(folder: Folder, fingerprint: str) -> bool:
    try:
        return seal.RECORD.holds(folder.read(f"store/{fingerprint}/{RECORD}"))
    except (OSError, StoreError):
        return False


def _refuse(run: str, foreign: list[str], has_plan: bool) -> None:
    """Raise `StoreError` for a folder that has a plan which is none, or that has something `foreign` and no plan."""
    if has_plan:
        raise StoreError(
            f"{run}/{PLAN} is not the plan of a run, or it is damaged: nothing in {run} is touched. Choose an empty or "
            "new folder with --out. (If this was a run, move its store/ into the new folder: what is in it is reused.)"
        )
    if foreign:
        shown = ", ".join(map(repr, foreign[:3])) + (", ..." if len(foreign) > 3 else "")
        raise StoreError(
            f"{run} is not empty and holds no run: it has {shown} and no {PLAN} of ours. Nothing in it is touched. "
            "Choose an empty or new folder with --out."
        )


def _is_plan(plan: Any) -> bool:
    if not isinstance(plan, dict) or not isinstance(plan.get("tasks"), int):
        return False
    if not all(isinstance(plan.get(key), dict) for key in ("fingerprints", "functions", "amounts")):
        return False
    return all(isinstance(f, str) and is_fingerprint(f) for f in plan["fingerprints"].values())


def _is_left_over(path: Path) -> bool:
    """Whether something in a folder without plan.json is what a stopped first run leaves, or harmless."""
    if _is_harmless(path.name) or path.name == LOCK:
        return True  # a lock is looked at when it is opened
    if path.name != "store" or not stat.S_ISDIR(os.lstat(path).st_mode):
        return False
    return all(is_fingerprint(name) or is_temporary(name) for name in names_in(path))


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS or is_temporary(name) or _LEFT.fullmatch(name) is not None


def _check_places(run: Path) -> None:
    for names, test, needed in ((_FOLDERS, stat.S_ISDIR, "a folder"), (_FILES, stat.S_ISREG, "a file")):
        for name in names:
            try:
                mode = os.lstat(run / name).st_mode
            except FileNotFoundError:
                continue
            if not test(mode):
                raise obstacle(run / name, needed)
