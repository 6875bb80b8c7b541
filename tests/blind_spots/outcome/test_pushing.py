"""Pushes: few questions to the model, and a step hardly longer than needed."""

import pytest
import torch

from intriguing.blind_spots.outcome.pushing import InTurn, Lengths, smallest_pushes
from intriguing.blind_spots.outcome.verifier import Answer


def tried(steps, lack):
    """The steps that are tried where a step leaves the margin too small by lack(step)."""
    asked = []
    while (step := steps.following()) is not None:
        asked.append(step)
        steps.learn(step, lack(step) <= 0, lack(step))
    return asked


@pytest.mark.parametrize("needed", [1e-6, 3e-5, 1e-3, 0.07])
@pytest.mark.parametrize("wrong", [0.3, 1.0, 2.5])
def test_a_push_is_hardly_longer_than_needed(needed, wrong):
    """wrong: how much steeper the margin looked from the image than it is."""
    steps = Lengths.from_result(4.0 * needed, 4.0 * wrong)
    asked = tried(steps, lambda step: 4.0 * (needed - step))
    assert needed <= steps.enough <= 1.1 * needed
    assert len(asked) <= (1 if wrong == 1.0 else 5)  # 14 to 24 where lengths are doubled, then bisected


def test_a_margin_that_bends_is_followed():
    steps = Lengths.from_result(1.0, 5.0)
    asked = tried(steps, lambda step: 1 - 40 * step**0.5)
    assert 1 / 1600 <= steps.enough <= 1.2 / 1600 and len(asked) <= 8


def test_a_thin_region_is_found_by_trying_lengths_in_turn():
    """Beyond the region the margin falls, and the first guess lies there."""
    steps = Lengths.from_result(1.0, 1.0)
    asked = tried(steps, lambda step: -1e-3 if 1e-5 <= step <= 4e-5 else 2.0)
    assert 1e-5 <= steps.enough <= 4e-5 and len(asked) < 20


def test_lengths_in_turn_end_at_a_change_twice_as_long():
    steps = Lengths.from_result(1.0, 0.0)
    asked = tried(steps, lambda step: 1.0)
    assert steps.enough is None
    assert asked == [2.0**k for k in range(-23, 1)]


def test_a_result_that_lacks_nothing_but_is_none_is_tried_by_the_smallest_first():
    """As where two classes share the largest logit."""
    steps = Lengths.from_result(0.0, 1.0)
    assert tried(steps, lambda step: -1e-9)[0] == steps.enough == 2.0**-23


def test_numbers_in_turn_end_at_the_first_that_is_enough():
    steps = InTurn()
    assert tried(steps, lambda step: 3 - step) == [0, 1, 2, 3] and steps.enough == 3
    assert len(tried(InTurn(), lambda step: 1.0)) == 24


def test_examples_are_asked_together_and_those_without_a_push_are_told():
    needed = torch.tensor([2e-4, 2.0, 1e-3], dtype=torch.float64)
    asked = []

    def ask(images, examples):
        lack = needed[examples] - images[:, 0]
        asked.append(examples.tolist())
        return Answer(lack <= 0, -lack, lack, examples, examples)

    steps = [Lengths.from_result(float(one), 1.0) for one in needed]
    push = lambda examples, lengths: torch.tensor(lengths, dtype=torch.float64)[:, None]  # noqa: E731
    assert smallest_pushes(push, ask, torch.tensor([0, 1, 2]), steps).tolist() == [1]
    assert asked[0] == [0, 1, 2] and asked[1] == [1]
    assert steps[0].enough <= 1.1 * 2e-4 and steps[2].enough <= 1.1e-3
