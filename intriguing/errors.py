"""Every error that this package raises on purpose.

    import intriguing as ig
    try:
        ig.open_run("nowhere")
    except ig.errors.StoreError as error:
        print(error)

The classes:

    IntriguingError
    ├── SpecError            a spec that cannot be run: names the key and what to write instead
    ├── UnknownNameError     a name that nothing answers to: lists the nearest valid ones
    ├── InputError           an argument of a library call is out of range, of a wrong shape, ...
    ├── DataError            a data set or corpus that cannot be read or is not what it should be
    │   └── MissingDataError a data set whose files are not there
    ├── UnavailableError     a file of a data set that the system does not give now, or that was changed since
    ├── ModelError           a model that cannot be built, loaded or fed
    │   └── WeightsError     a weights file that does not fit its model
    ├── StoreError           the run folder cannot be used
    │   ├── LockedError      another driver is at work in it
    │   └── CorruptError     a stored output is truncated or was changed
    ├── MissingExtraError    a package is missing: gives the pip line
    ├── ClusterError         no cluster, or one that can never hold the plan
    └── TaskFailedError      a task gave up, told where it is asked for

A message says what was given, what is needed and what to do next. Every class takes plain strings, so that an error
survives pickling on its way back from a Ray worker (Ray drops the cause of exceptions that do not).
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

_LISTED = 60
"""Valid names that an error lists: more than there are stages and tables."""


class IntriguingError(Exception):
    """Base of all errors of this package."""


class SpecError(IntriguingError, ValueError):
    """A spec that cannot be run."""


class UnknownNameError(IntriguingError, LookupError):
    """A name that nothing answers to.

    Build it with `unknown_name`, which lists the valid names.
    """


class InputError(IntriguingError, ValueError):
    """An argument of a library call that cannot be used."""


class DataError(IntriguingError, ValueError):
    """A data set or corpus that cannot be read, or that is not what it should be."""


class MissingDataError(DataError):
    """A data set whose files are not where they were looked for."""


class UnavailableError(IntriguingError, OSError):
    """A file of a data set that the system does not give now, or that was changed after the data set was read.

    It says nothing about what is in the file, so a task fails by it: the input is not listed as damaged.
    """


class ModelError(IntriguingError, ValueError):
    """A model that cannot be built, loaded or fed."""


class WeightsError(ModelError):
    """A weights file that does not fit its model."""


class StoreError(IntriguingError, OSError):
    """The run folder cannot be used."""


class LockedError(StoreError):
    """Another driver is at work in the run folder."""


class CorruptError(StoreError):
    """A stored output is truncated or was changed after it was written.

    `sha256` is the hash of what was read, where something was.
    """

    sha256: str = ""


class MissingExtraError(IntriguingError, ImportError):
    """A package is missing that only this call needs."""


class ClusterError(IntriguingError, RuntimeError):
    """No cluster can be reached, or it can never hold the plan."""


class TaskFailedError(IntriguingError, RuntimeError):
    """A task gave up."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UnknownNameError:
    """The error for a `name` of some `kind` ("model", "layer", ...) that is none of `valid`, the nearest ones first."""
    names = sorted(valid)
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    hint = did_you_mean(name, names)
    return UnknownNameError(f"There is no {kind} named {name!r}.{hint} Valid names: {listed or 'none'}.")


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A sentence that names the up to three of `valid` that are nearest to `name`, after a space; "" if none is."""
    names = list(valid)
    near = [n for n in names if n.lower() == name.lower()] or get_close_matches(name, names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def check_names(kind: str, names: Iterable[str], valid: Collection[str]) -> None:
    """Raise `UnknownNameError` for the first of `names` that is none of `valid`."""
    for name in names:
        if name not in valid:
            raise unknown_name(kind, name, valid)
