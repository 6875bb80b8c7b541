"""The scheduler alone: no clock, no process, as many workers as one likes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intriguing.engine.schedule import BLOCKED, DONE, FAILED, READY, RUNNING, WAITING, Node, Schedule


def chain(*names):
    return [Node(name, names[i - 1 : i] if i else ()) for i, name in enumerate(names)]


def test_a_task_is_ready_when_all_that_it_needs_is_done():
    schedule = Schedule([Node("a"), Node("b"), Node("c", ("a", "b"))])
    assert [schedule.take("w"), schedule.take("w"), schedule.take("w")] == ["a", "b", None]
    schedule.succeeded("a")
    assert schedule.take("w") is None
    schedule.succeeded("b")
    assert schedule.take("w") == "c"


def test_what_is_done_already_is_not_handed_out():
    schedule = Schedule(chain("a", "b", "c"), done={"a", "b"})
    assert schedule.take("w") == "c"
    assert schedule.count(DONE) == 2


def test_a_worker_gets_tasks_of_the_model_that_it_holds_first():
    nodes = [Node("a0", (), "A"), Node("b0", (), "B"), Node("a1", (), "A"), Node("b1", (), "B")]
    schedule = Schedule(nodes)
    assert schedule.take("x") == "a0"
    assert schedule.take("y") == "a1" or schedule.running_on("y") == ("b0",)
    schedule = Schedule(nodes)
    assert schedule.take("x") == "a0"
    schedule.succeeded("a0")
    assert schedule.take("x") == "a1"
    assert schedule.take("y") == "b0"


def test_a_task_that_raised_is_not_tried_again_and_blocks_what_needs_it():
    schedule = Schedule([*chain("a", "b", "c"), Node("other")])
    schedule.take("w")
    schedule.raised("a")
    assert schedule.state == {"a": FAILED, "b": BLOCKED, "c": BLOCKED, "other": READY}
    assert schedule.take("w") == "other"


def test_only_the_oldest_task_of_a_lost_worker_is_charged():
    schedule = Schedule([Node("a"), Node("b")], max_attempts=2)
    schedule.take("w")
    schedule.take("w")
    assert schedule.lost("w").again == ("a", "b")
    assert (schedule.attempts_of("a"), schedule.attempts_of("b")) == (1, 0)


def test_a_task_that_always_loses_its_worker_gives_up_and_takes_no_other_down():
    schedule = Schedule([Node("poison"), *(Node(f"n{i}") for i in range(4))], max_attempts=3)
    lost = []
    while not schedule.finished:
        while schedule.take("w"):
            pass
        held = schedule.running_on("w")
        if held[0] == "poison":
            lost.append(held)
            schedule.lost("w")
        else:
            schedule.succeeded(held[0])
    assert schedule.names(FAILED) == ["poison"]
    assert schedule.count(DONE) == 4
    assert lost[1:] == [("poison",), ("poison",)]


def test_a_damaged_input_is_made_again_before_its_user_runs():
    schedule = Schedule(chain("a", "b"), done={"a"})
    assert schedule.take("w") == "b"
    assert schedule.reopen("a")
    assert schedule.sent_back("b")
    assert schedule.state == {"a": READY, "b": WAITING}
    assert schedule.take("w") == "a"
    schedule.succeeded("a")
    assert schedule.take("w") == "b"


def test_an_input_that_is_damaged_again_and_again_gives_up():
    schedule = Schedule(chain("a", "b"), max_attempts=2)
    schedule.take("w")
    schedule.succeeded("a")
    for again in (True, False):
        assert schedule.take("w") == "b"
        assert schedule.reopen("a") == again
        assert schedule.sent_back("b") == again
        if schedule.take("w") == "a":
            schedule.succeeded("a")
    assert schedule.names(FAILED) == ["a"]
    assert schedule.names(BLOCKED) == ["b"]


def test_what_reads_a_task_that_is_made_anew_waits_for_it_and_what_runs_goes_on():
    nodes = [Node("p"), *(Node(f"c{i}", ("p",)) for i in range(3))]
    schedule = Schedule(nodes, done={"p"})
    assert [schedule.take("v"), schedule.take("w")] == ["c0", "c1"]
    schedule.reopen("p")
    schedule.sent_back("c0")
    assert schedule.state == {"p": READY, "c0": WAITING, "c1": RUNNING, "c2": WAITING}
    schedule.succeeded("c1")
    assert schedule.take("w") == "p"
    schedule.succeeded("p")
    assert schedule.names(READY) == ["c0", "c2"]


def test_a_reader_that_reports_after_its_producer_failed_is_blocked_and_so_is_what_needs_it():
    schedule = Schedule([*chain("p", "c"), Node("after", ("c",))], done={"p"}, max_attempts=1)
    assert schedule.take("w") == "c"
    schedule.reopen("p")
    schedule.take("v")
    schedule.raised("p")
    assert not schedule.sent_back("c")
    assert schedule.state == {"p": FAILED, "c": BLOCKED, "after": BLOCKED}
    assert sorted(schedule.new_given_up()) == ["after", "c", "p"]


def test_a_call_that_was_taken_back_is_not_charged():
    schedule = Schedule([Node("a"), Node("b")])
    assert [schedule.take("w"), schedule.take("w")] == ["a", "b"]
    schedule.returned("b")
    assert schedule.attempts_of("b") == 0
    assert schedule.take("v") == "b"


def test_a_task_that_ran_a_machine_out_of_memory_twice_waits_for_one_of_its_own():
    schedule = Schedule([Node("eater"), Node("other")])
    assert schedule.take("w") == "eater"
    assert schedule.lost("w", out_of_memory=True).again == ("eater",)
    assert schedule.take("w") == "eater"  # alone on its worker
    assert schedule.take("w") is None
    schedule.lost("w", out_of_memory=True)
    assert (schedule.quiet, schedule.open) == (1, 1)
    assert schedule.take("w") == "other"
    assert schedule.take("v") is None
    assert schedule.take("v", quiet=True) == "eater"
    assert schedule.lost("v", out_of_memory=True).given_up == ("eater",)
    assert schedule.memory_kills_of("eater") == 3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 1000), st.integers(0, 10**6))
def test_any_order_of_events_ends_with_every_task_done_failed_or_blocked(tasks, workers, seed):
    dice = random.Random(seed)
    nodes = [
        Node(str(i), tuple(str(j) for j in range(i) if dice.random() < 0.1), dice.choice("AB")) for i in range(tasks)
    ]
    schedule = Schedule(nodes)
    finished_before: set[str] = set()
    while not schedule.finished:
        for w in dice.sample(range(workers), min(workers, 5)):
            name = schedule.take(f"w{w}")
            if name is not None:
                assert all(need in finished_before for need in nodes[int(name)].needs)
        busy = [f"w{w}" for w in range(workers) if schedule.running_on(f"w{w}")]
        if not busy:
            continue
        worker = dice.choice(busy)
        oldest = schedule.running_on(worker)[0]
        outcome = dice.random()
        if outcome < 0.1:
            schedule.lost(worker)
        elif outcome < 0.15:
            schedule.raised(oldest)
        else:
            schedule.succeeded(oldest)
            finished_before.add(oldest)
    assert schedule.count(DONE) + schedule.count(FAILED) + schedule.count(BLOCKED) == tasks
    assert schedule.count(RUNNING) == 0
    for node in nodes:
        bad = [n for n in node.needs if schedule.state[n] in (FAILED, BLOCKED)]
        assert (schedule.state[node.name] == BLOCKED) == bool(bad)


@pytest.mark.slow
def test_a_hundred_thousand_tasks_on_a_thousand_workers_are_each_run_once():
    nodes = [Node(f"base/{i}", (), f"m{i % 7}") for i in range(50_000)]
    nodes += [Node(f"next/{i}", (f"base/{i}",), f"m{i % 7}") for i in range(50_000)]
    schedule = Schedule(nodes)
    workers = [f"w{i}" for i in range(1_000)]
    ran = 0
    while not schedule.finished:
        for worker in workers:
            name = schedule.take(worker)
            if name is not None:
                schedule.succeeded(name)
                ran += 1
    assert ran == 100_000
    assert max(map(schedule.attempts_of, schedule.state)) == 1
