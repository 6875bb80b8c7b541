"""What a process has once is as before after a user's code ran: one that it changed ended runs with a traceback, or
made files that nobody may read.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from intriguing.basics.process import users_code
from tests.basics import changes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def left():
    """The names of what is changed afterwards."""
    command = [sys.executable, "-m", "tests.basics.changes"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout.split()


@pytest.mark.parametrize("name", changes.CHANGES)
def test_what_a_users_code_changes_for_the_process_is_put_back(left, name):
    assert name not in left


def test_what_a_users_code_adds_stays_for_its_next_call(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    limit = sys.getrecursionlimit()
    try:
        with users_code.unchanged():
            sys.path.insert(0, "/mine")
            sys.setrecursionlimit(limit + 1000)
        assert sys.path[0] == "/mine"
        assert sys.getrecursionlimit() == limit + 1000
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(("leaving", "code"), [("sys.exit(3)", 3), ("1 / 0", 1), ("pass", 0), ("sys.exit('no')", 1)])
def test_a_process_that_a_users_code_forks_does_not_go_on_as_a_second_driver(leaving, code, tmp_path):
    """It came back from the user's code as its parent does, and ran the rest of the sweep in the same folder."""
    program = f"""
import os, sys
from pathlib import Path
from intriguing.basics.process.users_code import unchanged
with unchanged():
    child = os.fork()
    if not child:
        {leaving}
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else "a second one")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == [str(code)]


def test_streams_that_a_users_code_closes_are_written_to_as_before(tmp_path):
    """A table that was opened next took the number of stderr, and the run ended with "lost sys.stderr"."""
    program = """
import sys
from intriguing.basics.process.streams import streams_may_close
with streams_may_close():
    sys.stdout.close()
    sys.stderr.close()
    file = open("table", "w")
    print("said")
    print("told", file=sys.stderr)
assert file.fileno() > 2
print("after")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["said", "after"]
    assert done.stderr.split() == ["told"]
