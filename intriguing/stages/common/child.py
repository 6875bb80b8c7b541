"""A first call of the user's own code, in a process of its own: if it hangs, exits or crashes, the run does not."""

import json
import logging
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from intriguing.basics.process.streams import keep_streams_open
from intriguing.basics.process.users_code import unchanged
from intriguing.basics.text.log_lines import log_plainly
from intriguing.data import factories
from intriguing.engine.task import load_object
from intriguing.errors import IntriguingError

log = logging.getLogger(__name__)

_BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from intriguing.stages.common.child import answer_calls; "
    "answer_calls(int(sys.argv[2]), float(sys.argv[3]))"
)
_LENGTH = struct.Struct("<Q")
_SAY = 10.0
_GRACE = 5.0


@dataclass(frozen=True)
class Call:
    """A call to make in the child process: its name in messages, and its argument, which must be picklable."""

    what: str
    argument: Any


def in_child(function: str, calls: Sequence[Call], seconds: float, error: type[IntriguingError]) -> list[Any]:
    """What `function` ("module:name") returns for each of `calls`, one after the other in one new process.

    The process has this one's path and working folder, prints to stderr, and ends with this one.

    Raises:
        IntriguingError: what a call raised, with its class and message.
        error: another exception, the end of the process (with its exit code or signal), or no answer in `seconds`.
    """
    results = []
    with _process(function, calls, seconds) as (process, reading):
        for call in calls:
            kind, *content = _receive(process, reading, call, seconds, error)
            if kind == "raised":
                raise content[0]
            if kind == "failed":
                raise error(f"{call.what}: {content[0]}")
            value, imported = content
            factories.IMPORTED.update(imported)
            results.append(value)
    return results


@contextmanager
def _process(function: str, calls: Sequence[Call], seconds: float) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    reading, writing = os.pipe()
    arguments = [json.dumps(sys.path), str(writing), str(seconds)]
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-c", _BEGIN, *arguments],
            stdin=subprocess.PIPE,
            stdout=sys.__stderr__ if _has_handle(sys.__stderr__) else subprocess.DEVNULL,
            pass_fds=[writing],
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps((function, [call.argument for call in calls])))
            process.stdin.flush()
        yield process, reading
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # before it is waited for: so the number is still its own
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]
        os.close(reading)


def _has_handle(stream: Any) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False


def _receive(
    process: subprocess.Popen[bytes], reading: int, call: Call, seconds: float, error: type[IntriguingError]
) -> tuple[Any, ...]:
    content, began, said = b"", time.monotonic(), time.monotonic()
    with selectors.DefaultSelector() as ready:
        ready.register(reading, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            size = _LENGTH.size + _LENGTH.unpack(content[: _LENGTH.size])[0] if len(content) >= _LENGTH.size else None
            # No more than this answer: the next one may be in the pipe already.
            missing = (_LENGTH.size if size is None else size) - len(content)
            more = os.read(reading, min(missing, 1 << 16)) if ready.select(0 if ended else 0.2) else None
            if more == b"" or (ended and more is None):
                raise error(f"{call.what}: the process that tried it {_how_it_ended(process)}. What it said is above")
            content += more or b""
            if size is not None and len(content) == size:
                return _message(content[_LENGTH.size :], call, error)
            now = time.monotonic()
            if now - began > seconds:
                raise error(
                    f"{call.what}: no answer within {seconds:g} s, so it was stopped: does it hang, or is it slow?"
                )
            if now - said > _SAY:
                said = now
                log.info("waiting for %s: %.0f s, at most %g s", call.what, now - began, seconds)


def _message(content: bytes, call: Call, error: type[IntriguingError]) -> tuple[Any, ...]:
    try:
        return pickle.loads(content)
    except Exception as wrong:
        raise error(f"{call.what}: its answer cannot be read ({type(wrong).__name__}: {wrong})") from wrong


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        return "closed its way to answer"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def answer_calls(writing: int, seconds: float) -> None:
    """What the child process runs: read the calls from stdin, and write an answer to each to the handle `writing`."""
    keep_streams_open()
    log_plainly()
    os.set_inheritable(writing, False)
    lifeline = os.fdopen(os.dup(0), "rb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    function, calls = pickle.load(lifeline)
    threading.Thread(target=_end_with_parent, args=[lifeline], daemon=True).start()
    run = load_object(function)
    for argument in calls:
        # A call that hangs without giving way to another thread ends by this, should the parent be gone.
        signal.alarm(min(int(seconds + 60), 2**31 - 1))
        try:
            with unchanged():
                message = ("value", run(argument), factories.IMPORTED)
        except IntriguingError as error:
            message = ("raised", error)
        except SystemExit:
            raise
        except BaseException as error:  # no Ctrl-C reaches this process: what is raised is of the user's code
            message = ("failed", f"{type(error).__name__}: {error}")
        body = _pickled(message)
        with os.fdopen(os.dup(writing), "wb") as out:
            out.write(_LENGTH.pack(len(body)) + body)
    os._exit(0)


def _pickled(message: tuple[Any, ...]) -> bytes:
    """`message` in a form that can be read again; for an answer that cannot be pickled, a message that says so."""
    try:
        body = pickle.dumps(message)
        pickle.loads(body)
    except Exception as error:
        return pickle.dumps(("failed", f"{message[1]!s} (it cannot be sent: {type(error).__name__})"))
    return body


def _end_with_parent(lifeline: Any) -> None:
    lifeline.read()
    os._exit(1)
