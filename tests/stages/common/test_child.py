"""A user's own code is tried in a process of its own: whatever it does, the driver says what happened and goes on."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from intriguing.errors import DataError, ModelError, UnknownNameError, WeightsError, unknown_name
from intriguing.stages.common.child import Call, in_child


def act(what):
    """Something that a user's code may do."""
    match what:
        case "hang":
            time.sleep(600)
        case "exit":
            os._exit(3)
        case "sys.exit":
            sys.exit(4)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raise":
            raise ValueError("of its own")
        case "interrupt":
            raise KeyboardInterrupt
        case "unknown":
            raise unknown_name("layer", "fc11", ["fc1", "fc2"])
        case "weights":
            raise WeightsError("do not fit")
        case "print":
            sys.stdout.write("said on stdout\n")
            return [what, sys.stdin.read()]
        case "pid":
            return os.getpid()
        case "warn":
            logging.getLogger("a module of the user's").warning("named %s", "\x1b[31mred")
            return "warned"
        case "lambda":
            return lambda: None
    return what


FUNCTION = "tests.stages.common.test_child:act"


def one(what, seconds=200):
    return in_child(FUNCTION, [Call("models.x", what)], seconds, ModelError)[0]


def test_answers_come_in_order_from_one_other_process():
    calls = [Call(w, w) for w in ("a", "pid", "print", "pid", "b")]
    first, one_pid, printed, other_pid, last = in_child(FUNCTION, calls, 200, ModelError)
    assert (first, printed, last) == ("a", ["print", ""], "b")
    assert one_pid == other_pid != os.getpid()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("exit", "models.x: the process that tried it ended with exit code 3"),
        ("sys.exit", "models.x: the process that tried it ended with exit code 4"),
        ("crash", "models.x: the process that tried it was ended by SIGSEGV"),
        ("raise", "models.x: ValueError: of its own"),
        ("interrupt", "models.x: KeyboardInterrupt"),
        ("lambda", "models.x: .*cannot be sent"),
    ],
)
def test_an_end_without_an_answer_is_an_error_that_says_how(what, message):
    with pytest.raises(ModelError, match=message):
        one(what)


def test_a_call_that_hangs_is_stopped_and_leaves_no_process():
    began = time.monotonic()
    with pytest.raises(ModelError, match="models.x: no answer within 2 s, so it was stopped"):
        one("hang", 2)
    assert time.monotonic() - began < 100  # it would hang for 600


@pytest.mark.parametrize(("what", "kind"), [("unknown", UnknownNameError), ("weights", WeightsError)])
def test_our_own_errors_keep_their_class_and_message(what, kind):
    with pytest.raises(kind) as raised:
        one(what)
    assert type(raised.value) is kind
    assert "Did you mean 'fc1'" in str(raised.value) or str(raised.value) == "do not fit"


def test_what_the_child_logs_commands_no_terminal(capfd):
    """A file's name with a terminal's codes was logged there as it is: the child had no formatter of ours."""
    assert one("warn") == "warned"
    told = capfd.readouterr().err
    assert r"named \x1b[31mred" in told and "\x1b" not in told


def test_the_child_ends_with_its_parent():
    code = (
        "import os, threading, time; from intriguing.stages.common import child\n"
        "from intriguing.errors import ModelError\n"
        "with child._process('tests.stages.common.test_child:act', [child.Call('x', 'hang')], 600) as (process, _):\n"
        "    print(process.pid, flush=True); time.sleep(1.5); os._exit(0)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=200)
    deadline = time.monotonic() + 200
    while runs(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def runs(pid):
    """Whether a process has not ended, as far as nobody has taken note of its end."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


USERS = """
import os, time
import numpy as np
from torch import nn

class Odd(nn.Module):
    def __init__(self, do, size, classes):
        super().__init__()
        self.do, self.linear = do, nn.Linear(size, classes)
    def forward(self, x):
        if self.do == "hang":
            time.sleep(600)
        if self.do == "exit":
            os._exit(7)
        return self.linear(x.flatten(1))

def net(shape, classes, do):
    return Odd(do, shape[0] * shape[1] * shape[2], classes)

def data():
    os._exit(5)
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """The name of a module of a user's, in a folder on the path."""
    name = f"users_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.slow
@pytest.mark.parametrize(("do", "message"), [("exit", "exit code 7"), ("hang", "no answer within 8 s")])
def test_a_model_that_hangs_or_exits_is_refused_before_work(users, tmp_path, do, message):
    from intriguing.sweep import execute, prepare

    spec = {
        "name": "x",
        "datasets": {"mnist-sample": {}},
        "models": {"odd": {"architecture": f"{users}:net", "options": {"do": do}}},
        "blind_spots": {"images": 2},
        "compute": {"check_seconds": 8 if do == "hang" else 200},
    }
    with pytest.raises(ModelError, match=f"models.odd on mnist-sample .{users}:net.: .*{message}"):
        execute(prepare(spec, tmp_path / "run"), "inline")
    assert not (tmp_path / "run" / "store").exists()


def test_a_data_set_that_exits_is_refused(users, tmp_path):
    from intriguing.sweep import prepare

    with pytest.raises(DataError, match=f"datasets.odd .{users}:data.: .*exit code 5"):
        prepare({"name": "x", "datasets": {"odd": {"source": f"{users}:data"}}}, tmp_path / "run")


def test_a_built_in_model_is_looked_at_in_this_process(monkeypatch, tmp_path):
    from intriguing.sweep import preflight, prepare
    from tests.sweep.small import SMALL

    monkeypatch.setattr(preflight, "in_child", lambda *_: pytest.fail("a process was started"))
    prepared = prepare(SMALL, tmp_path)
    units = preflight.check_models(prepared.spec, prepared.sweep, [("mnist-sample", "007")])
    assert units == {("mnist-sample", "007"): {"hidden1": 16, "hidden2": 12}}
