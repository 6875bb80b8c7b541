"""Why a worker is gone, in words: what Ray says of it, without importing ray."""

import re
from dataclasses import dataclass
from typing import Literal

_MEMORY = re.compile(r"memory used=([\d.]+\s?[KMGT]?i?B)", re.IGNORECASE)
_NODE_MEMORY = re.compile(r"was ([\d.]+\s?[KMGT]?i?B) / ([\d.]+\s?[KMGT]?i?B) \(([\d.]+)\)", re.IGNORECASE)
_EXIT = re.compile(r"Worker exit type: (\S+)(?: Worker exit detail: (.*))?", re.DOTALL)
_CODE = re.compile(r"exit code[= :]+(-?\d+)", re.IGNORECASE)
_PROCESS = re.compile(r"\bpid[:=] ?(\d+)")
_ADDRESS = re.compile(r"\bip[:=] ?([0-9a-fA-F.:]+[0-9a-fA-F])")
_BY_MEMORY = ("OutOfMemoryError",)
_MEMORY_WORDS = ("due to memory pressure", "running low on memory", "out of memory (oom)")


@dataclass(frozen=True)
class LossReport:
    """Why a worker is gone: `cause` as `Died` has it, and a sentence."""

    cause: Literal["lost", "memory", "freed"]
    sentence: str


def report_loss(error: BaseException, node: str, exit_status: str = "") -> LossReport:
    """What the loss of a worker on the machine `node` came from; `exit_status` is what is known of its process's end.

    Every error of Ray is such a loss: what a task itself raised comes back as an answer.
    """
    text, kind = str(error).strip(), type(error).__name__
    where = f"on {node}" if node else "on a machine that is not known"
    if found := _PROCESS.search(text):
        where += f", process {found[1]}"
    if kind in _BY_MEMORY or any(words in text.lower() for words in _MEMORY_WORDS):
        return LossReport("memory", f"{where}: {_memory(text)}")
    cause = "freed" if getattr(error, "preempted", False) else "lost"
    return LossReport(cause, f"{where}: {exit_status or _exit(text) or f'{kind}: {first_line(text) or kind}'}")


def first_line(text: str) -> str:
    """The first line of `text`."""
    return text.strip().splitlines()[0] if text.strip() else ""


def last_line(text: str) -> str:
    """The last line of `text` that is not blank: of a traceback, the error itself."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def address_in(text: str) -> str:
    """The address of the machine that an error of Ray names; "" where it names none."""
    found = _ADDRESS.search(text)
    return found[1] if found else ""


def _memory(text: str) -> str:
    asked, node = _MEMORY.search(text), _NODE_MEMORY.search(text)
    parts = ["its machine ran out of memory"]
    if asked:
        parts.append(f"it held {asked[1]}")
    if node:
        parts.append(f"{node[1]} of {node[2]} were in use")
    return ", ".join(parts)


def _exit(text: str) -> str:
    """Ray's exit type, its code where Ray knows it, and the first sentence of its detail."""
    found = _EXIT.search(text)
    if found is None:
        return ""
    detail = (found[2] or "").strip()
    code = _CODE.search(detail)
    said = detail.partition(". ")[0].partition("\n")[0].rstrip(".")
    return f"{found[1]}" + (f", exit code {code[1]}" if code else "") + (f" ({said})" if said else "")
