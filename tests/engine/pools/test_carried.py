"""Outputs in Ray's object store: put there once, and anew after they were written anew."""

import pytest

from intriguing.engine.pools.on_ray import carried
from intriguing.engine.pools.on_ray.carried import Carried


@pytest.fixture
def put(monkeypatch):
    """What was put into the object store, in order; a reference is its number."""
    there = []
    monkeypatch.setattr(carried.ray, "put", lambda files: there.append(files) or len(there))
    return there


class Outputs:
    def files(self, fingerprint, outputs):
        return {name: f"{fingerprint}.{name}".encode() for name in outputs}


def test_files_are_put_once_for_several_calls(put):
    outputs = Carried(Outputs())
    assert [outputs.reference("a", ("x", "y")), outputs.reference("a", ("x", "y"))] == [1, 1]
    assert outputs.reference("a", ("x",)) == 2
    assert put == [{"x": b"a.x", "y": b"a.y"}, {"x": b"a.x"}]


def test_files_of_tasks_that_are_written_anew_are_put_again(put):
    outputs = Carried(Outputs())
    for name in "ab":
        outputs.reference(name, ("x",))
    outputs.forget({"a"})
    assert outputs.reference("b", ("x",)) == 2
    assert outputs.reference("a", ("x",)) == 3


def test_the_reference_that_was_asked_for_longest_ago_is_let_go(put, monkeypatch):
    monkeypatch.setattr(carried, "_KEPT", 2)
    outputs = Carried(Outputs())
    for name in "abac":
        outputs.reference(name, ("x",))
    assert outputs.reference("a", ("x",)) == 1
    assert outputs.reference("b", ("x",)) == 4
