"""Every error of Ray is a lost worker, and why it is lost is told."""

import subprocess
import sys

import pytest

from intriguing.engine.pools import last_words as last_words_module
from intriguing.engine.pools.last_words import Signs, last_words
from intriguing.engine.pools.losses import address_in, last_line, report_loss
from intriguing.engine.pools.pool import Died, Raised
from intriguing.errors import StoreError
from tests.engine.driving import execute
from tests.engine.simulated import SimulatedPool
from tests.engine.toy import toy_plan

MEMORY = (
    "2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.3, ID: ab) was "
    "9.34GB used / 23.54GB limit (0.39)\nConsidered workers: [\n"
    "Selected to kill: (Actor(d8): job ID=01, task name=Worker.__init__, pid=812, actual memory used=2.91GB)\n"
    "Selected to kill: (Actor(33): job ID=01, task name=Worker.__init__, pid=813, actual memory used=90.5MB)"
)
DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Worker\n\tactor_id: 01\n\tpid: 4711\n"
    "\tip: 10.0.0.3\nThe actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit "
    "detail: Worker unexpectedly exits with a connection error code 2. End of file. There are potential root causes."
)
INIT = (
    "The actor died because of an error raised in its creation task, ray::Worker.__init__() (pid=77, ip=10.0.0.3)\n"
    "  File \"x.py\", line 1\nModuleNotFoundError: No module named 'intriguing'\n"
)


class OutOfMemoryError(Exception):
    """Named as Ray names its own."""


def test_the_message_names_machine_process_and_what_the_process_held():
    told = report_loss(OutOfMemoryError(MEMORY), "h3", "812")
    assert told.cause == "memory"
    assert told.sentence == (
        "on h3, process 812: its machine ran out of memory, it held 2.91 GB, 9.34GB of 23.54GB were in use (a worker "
        "asks Ray for a CPU and for no memory: with fewer --workers each has more)"
    )


def test_of_workers_that_were_ended_together_the_one_that_held_most_is_to_blame():
    told = report_loss(OutOfMemoryError(MEMORY), "h3", "813")
    assert told.cause == "freed"
    assert "it held 0.09 GB" in told.sentence
    assert report_loss(OutOfMemoryError("no details"), "h3", "813").cause == "memory"


def test_the_message_names_how_the_process_ended():
    told = report_loss(RuntimeError(DIED), "h3")
    assert told.cause == "lost"
    assert told.sentence == (
        "on h3, process 4711: SYSTEM_ERROR (Worker unexpectedly exits with a connection error code 2: it ended by a "
        "signal, such as SIGKILL or SIGSEGV, or by os._exit; Ray does not tell which)"
    )
    term = DIED.replace(
        "Worker unexpectedly exits with a connection error code 2. End of file.",
        "Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM.",
    )
    assert report_loss(RuntimeError(term), "h3", "", Signs()).sentence == (
        "on h3, process 4711: SYSTEM_ERROR, exit code 1 (Worker exits unexpectedly: by SIGTERM)"
    )
    code = DIED.replace("SYSTEM_ERROR", "INTENDED_SYSTEM_EXIT").replace(
        "Worker unexpectedly exits with a connection error code 2. End of file.", "Worker exits with an exit code 3."
    )
    assert report_loss(RuntimeError(code), "h3").sentence == (
        "on h3, process 4711: INTENDED_SYSTEM_EXIT, exit code 3 (Worker exits with an exit code 3)"
    )
    died = RuntimeError("x\nThe actor died because its node has died. Node Id: 1ac8")
    assert report_loss(died, "h3").sentence == "on h3: The actor died because its node has died. Node Id: 1ac8"
    assert report_loss(ValueError(), "").sentence == "on a machine that is not known: ValueError: ValueError"


def told_of(signs):
    told = report_loss(RuntimeError(DIED), "h3", "", signs)
    return told.cause, told.sentence.partition("error code 2: ")[2]


def test_of_a_process_of_this_machine_the_signal_is_told():
    assert told_of(Signs("SIGSEGV")) == ("lost", "its last words were SIGSEGV)")
    assert told_of(Signs("SIGSEGV", kernel_killed=True))[0] == "lost"
    cause, said = told_of(Signs(kernel_killed=True))
    assert cause == "memory" and said.startswith("SIGKILL by the kernel, which ended a process of this machine")
    cause, said = told_of(Signs())
    assert cause == "lost" and said.startswith("SIGKILL or os._exit, for it left no word")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGFPE)", "SIGFPE"),
        ("os.kill(os.getpid(), signal.SIGKILL)", ""),
        ("os._exit(3)", ""),
    ],
)
def test_the_last_words_of_a_process_are_in_its_log(tmp_path, end, words):
    log = tmp_path / "worker.err"
    code = f"import ctypes, faulthandler, os, signal; faulthandler.enable(); {end}"
    with log.open("w") as errors:
        subprocess.run([sys.executable, "-c", code], stderr=errors, check=False)
    assert last_words(str(log)) == words


def test_a_log_that_is_not_there_has_no_words_and_the_kernel_s_kills_are_counted_once(tmp_path, monkeypatch):
    assert last_words(str(tmp_path / "none")) == last_words("") == ""
    kills = iter([4, 4, 5, 5])
    monkeypatch.setattr(last_words_module, "kernel_kills", lambda: next(kills))
    witness = last_words_module.Witness()
    assert [witness.signs("").kernel_killed for _ in range(3)] == [False, True, False]


def test_a_preempted_machine_is_no_fault_of_the_task():
    error = RuntimeError("gone")
    error.preempted = True  # type: ignore[attr-defined]
    assert report_loss(error, "h3").cause == "freed"


def test_an_error_with_a_worker_s_traceback_is_told_by_its_last_line_without_colours():
    text = (
        "\x1b[36mray::Worker.run()\x1b[39m (pid=9358, ip=127.0.0.1, actor_id=ab, repr=<Worker object at 0x7f>)\n"
        '  File "x.py", line 1\nray.exceptions.TaskCancelledError: Task: This task or its dependency was cancelled'
    )
    error = type("RayTaskError(TaskCancelledError)", (Exception,), {})(text)
    said = "ray.exceptions.TaskCancelledError: Task: This task or its dependency was cancelled"
    assert report_loss(error, "h3").sentence == f"on h3, process 9358: {said}"


def test_what_stopped_a_start_is_its_last_line_and_the_machine_its_address():
    assert last_line(INIT) == "ModuleNotFoundError: No module named 'intriguing'"
    assert address_in(INIT) == address_in(DIED) == "10.0.0.3"


def four(tmp_path, behave, workers=4, machines=2):
    return SimulatedPool(tmp_path, {f"w{i}": f"h{i % machines}" for i in range(workers)}, behave)


def dying(task, times, cause="lost"):
    left = [times]

    def behave(worker, call):
        if call.task == task and left[0]:
            left[0] -= 1
            return Died(worker, f"because {left[0]}", cause)
        return None

    return behave


def test_a_lost_worker_charges_its_oldest_task_alone(tmp_path):
    pool = four(tmp_path, dying("range/1", 2), workers=1)
    outcome = execute(toy_plan(), tmp_path, lambda: pool)
    assert outcome.complete
    assert outcome.records["range/1"].attempts == 3
    assert {r.attempts for name, r in outcome.records.items() if name != "range/1"} == {1}


@pytest.mark.parametrize("cause", ["lost", "memory"])
def test_a_task_that_always_loses_its_worker_gives_up_and_says_why(tmp_path, cause):
    outcome = execute(toy_plan(), tmp_path, lambda: four(tmp_path, dying("range/1", 9, cause)))
    [failure] = outcome.failures
    assert (failure.task, failure.error_type, failure.attempts) == ("range/1", "WorkerLost", 3)
    said = "Its machine ran out of memory 3 times" if cause == "memory" else "It lost its worker 3 times"
    advice = ". To give it more memory, run fewer workers or other programs at once, or make its work smaller"
    assert failure.message.partition(" (the sizes")[0] == (
        f"{said}; the last time: because 6{advice if cause == 'memory' else ''}"
    )
    assert "scale/3" in outcome.ran


def test_a_task_that_ran_out_of_memory_twice_has_a_machine_for_itself(tmp_path):
    company = []

    def behave(worker, call):
        if call.task == "range/1":
            node = pool.node_of(worker)
            company.append(sum(len(calls) for w, calls in pool.held.items() if pool.node_of(w) == node and w != worker))
        return dies(worker, call)

    dies = dying("range/1", 2, "memory")
    pool = SimulatedPool(tmp_path, {f"w{i}": f"h{i // 2}" for i in range(4)}, behave)
    outcome = execute(toy_plan(12), tmp_path, lambda: pool)
    assert outcome.complete
    assert outcome.records["range/1"].attempts == 3
    assert len(company) == 3
    assert company[2] == 0
    assert not pool.excluded


@pytest.mark.parametrize(("cause", "shrunk"), [("memory", {"batch": 32}), ("lost", {})])
def test_a_task_that_ran_out_of_memory_twice_has_half_of_its_batch(tmp_path, cause, shrunk, caplog):
    """A worker that the system ends says nothing of its memory: the third try was as large as the first two."""
    outcome = execute(toy_plan(), tmp_path, lambda: four(tmp_path, dying("scale/1", 2, cause)))
    assert outcome.complete
    assert outcome.records["scale/1"].attempts == 3
    assert outcome.records["scale/1"].shrunk == shrunk
    assert ("scale/1 ran out of memory and went on with {'batch': 32}" in caplog.text) == (cause == "memory")
    once = execute(toy_plan(), tmp_path / "once", lambda: four(tmp_path / "once", dying("scale/1", 1, cause)))
    assert not once.records["scale/1"].shrunk


def test_a_worker_that_ends_for_no_fault_of_its_task_charges_nothing(tmp_path):
    outcome = execute(toy_plan(), tmp_path, lambda: four(tmp_path, dying("range/1", 8, "freed")))
    assert outcome.complete
    assert outcome.records["range/1"].attempts == 1


def test_a_machine_that_cannot_write_is_left_out_and_the_run_goes_on(tmp_path):
    def behave(worker, call):
        full = pool.node_of(worker) == "h1"
        return Raised(worker, call.task, "StoreError", "The disk of /x is full") if full else None

    pool = four(tmp_path, behave)
    outcome = execute(toy_plan(), tmp_path, lambda: pool)
    assert outcome.complete
    assert pool.excluded == ["h1"]
    assert {r.attempts for r in outcome.records.values()} == {1}


def test_machines_that_can_all_not_write_end_the_run(tmp_path):
    pool = four(tmp_path, lambda worker, call: Raised(worker, call.task, "StoreError", "The disk of /x is full"))
    with pytest.raises(StoreError, match="The disk of /x is full"):
        execute(toy_plan(), tmp_path, lambda: pool)
    assert pool.excluded == ["h0", "h1"]


def test_a_folder_that_the_driver_cannot_write_ends_the_run_at_once(tmp_path, monkeypatch):
    from intriguing.engine.storage.store import Store

    def refuse(self):
        raise StoreError("The disk of the driver is full")

    monkeypatch.setattr(Store, "probe", refuse)
    pool = four(tmp_path, lambda worker, call: Raised(worker, call.task, "StoreError", "full"))
    with pytest.raises(StoreError, match="of the driver"):
        execute(toy_plan(), tmp_path, lambda: pool)
    assert pool.excluded == []
