"""Why a worker is gone, in words: what Ray says of it, without importing ray."""

import re
from dataclasses import dataclass
from typing import Literal

from intriguing.engine.pools.last_words import Signs

_KILLED = re.compile(r"Selected to kill: .*?pid=(\d+), actual memory used=([\d.]+)\s?([KMGT]?)i?B", re.DOTALL)
_NODE_MEMORY = re.compile(r"was ([\d.]+\s?[KMGT]?i?B) used / ([\d.]+\s?[KMGT]?i?B) limit")
_BYTES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_EXIT = re.compile(r"Worker exit type: (\S+)(?: Worker exit detail: (.*))?", re.DOTALL)
_CODE = re.compile(r"exit code[= :]+(-?\d+)", re.IGNORECASE)
_SIGNAL = re.compile(r"receives a (SIG[A-Z]+)")
_PROCESS = re.compile(r"\bpid[:=] ?(\d+)")
_ADDRESS = re.compile(r"\bip[:=] ?([0-9a-fA-F.:]+[0-9a-fA-F])")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BY_MEMORY = ("OutOfMemoryError",)
_MEMORY_WORDS = ("due to memory pressure", "running low on memory", "out of memory (oom)")


@dataclass(frozen=True)
class LossReport:
    """Why a worker is gone: `cause` as `Died` has it, and a sentence."""

    cause: Literal["lost", "memory", "freed"]
    sentence: str


def report_loss(error: BaseException, node: str, process: str = "", signs: Signs | None = None) -> LossReport:
    """What the loss of a worker, this `process` on the machine `node`, came from; `signs` where they can be seen.

    Every error of Ray is such a loss: what a task itself raised comes back as an answer. Ray ends several workers at
    once when a machine is short of memory: only the one that held most is to blame.
    """
    text, kind = _COLOUR.sub("", str(error)).strip(), type(error).__name__
    where = f"on {node}" if node else "on a machine that is not known"
    if process := process or _first(_PROCESS, text):
        where += f", process {process}"
    if is_out_of_memory(error):
        blame, sentence = _memory(text, process)
        return LossReport("memory" if blame else "freed", f"{where}: {sentence}")
    if getattr(error, "preempted", False):
        cause = "freed"
    else:
        cause = "memory" if signs and signs.kernel_killed and not signs.words and _is_sudden(text) else "lost"
    return LossReport(cause, f"{where}: {_exit(text, signs) or _said(kind, text)}")


def _said(kind: str, text: str) -> str:
    """The sentence of an error: of one that comes with a worker's traceback, its last line."""
    if kind.startswith("RayTaskError"):
        return last_line(text) or kind
    return f"{kind}: {first_line(text) or kind}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Ray ended a worker because its machine was short of memory."""
    return type(error).__name__ in _BY_MEMORY or any(words in str(error).lower() for words in _MEMORY_WORDS)


def first_line(text: str) -> str:
    """The first line of `text`."""
    return text.strip().splitlines()[0] if text.strip() else ""


def last_line(text: str) -> str:
    """The last line of `text` that is not blank: of a traceback, the error itself."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def address_in(text: str) -> str:
    """The address of the machine that an error of Ray names; "" where it names none."""
    return _first(_ADDRESS, text)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _memory(text: str, process: str) -> tuple[bool, str]:
    """Whether this process is to blame, and what was short, in words."""
    held = {pid: float(number) * _BYTES[unit] for pid, number, unit in _KILLED.findall(text)}
    said = "its machine ran out of memory"
    if process in held:
        said += f", it held {held[process] / 1e9:,.2f} GB"
    if node := _NODE_MEMORY.search(text):
        said += f", {node[1]} of {node[2]} were in use"
    said += " (a worker asks Ray for a CPU and for no memory: with fewer --workers each has more)"
    return held.get(process, float("inf")) >= max(held.values(), default=0.0), said


def _is_sudden(text: str) -> bool:
    """Whether Ray saw no more of a process's end than that it is gone."""
    found = _EXIT.search(text)
    return found is not None and "unexpectedly" in (found[2] or "") and _CODE.search(found[2] or "") is None


def _exit(text: str, signs: Signs | None) -> str:
    """Ray's exit type, its code where Ray knows it, and the first sentence of its detail; else that the node died."""
    found = _EXIT.search(text)
    if found is None:
        return next((line.strip() for line in text.splitlines() if "node has died" in line), "")
    detail = (found[2] or "").strip()
    code = _CODE.search(detail)
    said = detail.partition(". ")[0].partition("\n")[0].rstrip(".")
    if _is_sudden(text):
        said = f"{said}: {_sudden(signs)}"
    elif signal := _first(_SIGNAL, detail):
        said = f"{said}: by {signal}"
    return f"{found[1]}" + (f", exit code {code[1]}" if code else "") + (f" ({said})" if said else "")


def _sudden(signs: Signs | None) -> str:
    """By which signal a process ended, as far as that can be told: Ray does not know it."""
    if signs is None:
        return "it ended by a signal, such as SIGKILL or SIGSEGV, or by os._exit; Ray does not tell which"
    if signs.words:
        return f"its last words were {signs.words}"
    if signs.kernel_killed:
        return "SIGKILL by the kernel, which ended a process of this machine because memory ran out"
    return "SIGKILL or os._exit, for it left no word, and the kernel ended nothing for want of memory"
