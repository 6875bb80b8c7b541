"""How a process ends."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("hurried", "said"), [("", "said\nlate\n"), ("hurry()", "said\n")])
def test_a_process_that_left_something_hanging_ends_at_once_with_its_own_code(hurried, said):
    code = (
        "import atexit\nfrom intriguing.basics.process.leaving import hurry, leave\n"
        f"atexit.register(print, 'late')\nprint('said')\n{hurried}\nleave(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, said)


def test_a_run_that_leaves_ray_behind_ends_so(monkeypatch):
    from intriguing.basics.process import leaving
    from intriguing.engine.pools.on_ray import cluster

    monkeypatch.setattr(leaving, "_hurried", False)
    monkeypatch.setattr(cluster.atexit, "unregister", lambda function: None)
    cluster.abandon()
    assert leaving._hurried
