"""What a worker keeps between tasks that read the same inputs."""

from intriguing.engine import worker
from intriguing.engine.task import Code
from intriguing.engine.worker import Call, ResourceCall, Resources, Work


def work(resources, fingerprint="a", key="r"):
    inputs = {"images": ((fingerprint, "out"),)}
    pinned = {"dataset": ResourceCall(key, Code("x:y"), {}, {}, {})}
    return Work(Call("t", Code("m:f"), "0", {}, inputs, pinned), None, resources)  # type: ignore[arg-type]


def test_what_was_made_of_the_same_inputs_is_made_once():
    resources, made = Resources(), []

    def make():
        made.append(len(made))
        return made[-1], 1

    first = [work(resources).kept("changed", ["images"], make) for _ in range(3)]
    assert first == [0, 0, 0]
    assert work(resources).kept("other", ["images"], make) == 1
    assert work(resources, "b").kept("changed", ["images"], make) == 2
    assert work(resources).kept("changed", ["dataset"], make) == 3
    assert work(resources, key="s").kept("changed", ["dataset"], make) == 4
    assert work(resources).kept("changed", ["images"], make) == 0
    assert resources.keys == []


def test_the_least_recently_used_goes_and_what_is_too_large_is_not_kept(monkeypatch):
    monkeypatch.setattr(worker, "KEPT_BYTES", 10)
    resources, made = Resources(), []

    def keep(name, size):
        return work(resources).kept(name, ["images"], lambda: (made.append(name), size))

    for name, size in (
        ("a", 4),
        ("b", 4),
        ("a", 4),
        ("c", 4),
        ("a", 4),
        ("b", 4),
        ("huge", 11),
        ("huge", 11),
        ("b", 4),
    ):
        keep(name, size)
    assert made == ["a", "b", "c", "b", "huge", "huge"]


def test_what_was_made_of_other_inputs_goes_before_more_is_made(monkeypatch):
    monkeypatch.setattr(worker, "OTHERS_BYTES", 5)
    resources, there = Resources(), []

    def keep(name, fingerprint, size, part=""):
        def make():
            there.append([key[1] for key in resources._kept])
            return name, size

        work(resources, fingerprint).kept(name, ["images"], make, part)

    for name, fingerprint in (("large", "a"), ("found", "a"), ("noise", "b"), ("found", "b"), ("found", "c")):
        keep(name, fingerprint, 6 if name == "large" else 3)
    # "large" and then "found" of a were too much beside b; of b only what was used last may stay beside c.
    assert there == [[], ["large"], ["found"], ["found", "noise"], ["found"]]
    resources, there = Resources(), []
    for part in "12":
        keep("rays", "a", 6, part)
        keep("rays", "a", 6, part)
    assert there == [[], []]  # of the first part nothing stays
