"""Several threads at a time: what one does to a model for a while is neither seen by another nor left behind."""

import os
import signal
import threading
from itertools import permutations

import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.basics import torch_modes
from intriguing.basics.torch_modes import evaluating, one_at_a_time
from intriguing.stability import lower_bounds

X = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 4)).train()


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4)).train()


def in_threads(function, count=4):
    """What `function` returns in each of so many threads that run at the same time."""
    found, errors = [], []

    def call():
        try:
            found.append(function())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return found


@pytest.mark.parametrize("build", [convolutional, linear])
def test_searches_of_one_model_in_several_threads_find_what_one_finds(build):
    """They put the model into eval mode and out of it in turns, so that dropout came back in the middle of a search,
    and left it in eval mode and without gradients; a trace failed where another one was made.
    """
    model = build()
    with evaluating(model):
        labels = model(X).argmax(1)
    expected = ig.minimal_distortion(model, X, labels)
    assert expected.status == ["found"] * 12
    for result in in_threads(lambda: ig.minimal_distortion(model, X, labels)):
        assert torch.equal(result.adversarial, expected.adversarial)
        assert (result.forward_rows, result.backward_rows) == (expected.forward_rows, expected.backward_rows)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_bounds_in_several_threads_are_those_of_one():
    model, labels = convolutional(), [0] * 12
    expected = lower_bounds(model, X, labels).bound
    for certificates in in_threads(lambda: lower_bounds(model, X, labels)):
        assert torch.equal(certificates.bound, expected)
    assert all(module.training for module in model.modules())


def test_the_mode_comes_back_with_the_last_who_wanted_eval_mode():
    model, first = linear(), threading.Event()
    second = threading.Event()
    seen = []

    def other():
        with evaluating(model):
            first.set()
            assert second.wait(300)
            seen.append(model.training)

    with evaluating(model):
        thread = threading.Thread(target=other)
        thread.start()
        assert first.wait(300)
    assert not model.training  # the other one is inside
    second.set()
    thread.join()
    assert seen == [False]
    assert all(module.training for module in model.modules())


def test_a_mode_that_was_set_in_between_comes_back_too():
    """A search within a block that had put the model into eval mode left a model that was set to train there in eval
    mode.
    """
    model = linear()
    with evaluating(model):
        model.train()
        ig.minimal_distortion(model, X[:1], [0], options=ig.SearchOptions("fast"))
        assert all(module.training for module in model.modules())
        model.eval()
    assert all(module.training for module in model.modules())


def test_modes_come_back_in_whatever_order_blocks_end():
    one = nn.Linear(1, 1).train()
    for order in permutations(range(3)):
        blocks = [evaluating(one) for _ in order]
        for block in blocks:
            block.__enter__()
        for last, number in enumerate(order, start=1):
            assert not one.training
            blocks[number].__exit__(None, None, None)
            assert one.training == (last == 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_that_is_forked_while_another_thread_has_the_turn_does_not_wait_for_it():
    model, inside, over = linear(), threading.Event(), threading.Event()

    def other():
        with one_at_a_time(), torch_modes._MODES._lock:
            inside.set()
            assert over.wait(300)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(300)
    child = os.fork()
    if not child:
        signal.alarm(100)  # ends a child that waits
        with one_at_a_time(), evaluating(model):
            os._exit(0 if not model.training else 1)
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_a_turn_can_be_taken_again_within_one_and_ends_with_an_error():
    with pytest.raises(ValueError, match="out"), one_at_a_time(), one_at_a_time():
        raise ValueError("out")
    with one_at_a_time():
        pass

    def taken():
        with one_at_a_time():
            return True

    assert in_threads(taken, 1) == [True]


class Searches(nn.Module):
    """A network that searches another one in its forward."""

    def __init__(self):
        super().__init__()
        self.inner, self.made = linear(), 0

    def forward(self, x):
        if not self.made:
            self.made = 1
            ig.minimal_distortion(self.inner, X[:2], [0, 1], options=ig.SearchOptions("fast"))
        return self.inner(x)


def test_a_search_within_a_search_does_not_wait_for_itself():
    model = Searches()
    result = ig.minimal_distortion(model, X[:2], [0, 1], options=ig.SearchOptions("fast"))
    assert model.made and len(result.status) == 2
    assert all(module.training for module in model.modules())
