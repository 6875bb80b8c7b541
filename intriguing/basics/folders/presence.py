"""Whether something lies at a path that a user gave, asked without an error.

`Path.exists`, `is_file` and `is_dir` raise where the system refuses to look: in a folder of somebody else's, or for a
name of more than 255 bytes.
"""

import os
from pathlib import Path

from intriguing.basics.process.users_code import working_folder


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether something lies at `path`, or at the end of its links; False also where the system refuses to look."""
    return os.path.exists(path)  # noqa: PTH110 (that of Path raises)


def is_taken(path: str | os.PathLike[str]) -> bool:
    """Whether `path` has something, be it a link to nothing; False also where the system refuses to look."""
    return os.path.lexists(path)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file lies at `path`, or at the end of its links; False also where the system does not look."""
    return os.path.isfile(path)  # noqa: PTH113 (that of Path raises)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder lies at `path`, or at the end of its links; False also where the system refuses to look."""
    return os.path.isdir(path)  # noqa: PTH112 (that of Path raises)


def refusal(path: str | os.PathLike[str]) -> str:
    """Why the system refuses to look at `path`, in its words; "" where it looks, and where nothing lies there."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:  # a zero byte
        return str(error)
    return ""


def no_such(kind: str, path: str | os.PathLike[str]) -> str:
    """The sentence for a file or folder (`kind`) that is not at `path`, or that the system refuses to look at.

    A relative path is told with the folder that it begins in, which need not be that of the spec that names it.
    """
    if why := refusal(path):
        return f"{os.fspath(path)} cannot be looked at: {why}."
    here = "" if Path(path).is_absolute() else working_folder()
    return f"There is no {kind} {os.fspath(path)}{f' in {here}' if here else ''}."
