"""The loop of a search: rows leave when a state without them is smaller, and the results stay in their places."""

from dataclasses import dataclass

import torch

from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.solvers.loop import Layout, run
from intriguing.models.feeding.rows import PADDED


@dataclass(frozen=True)
class Counts:
    """A solver that ends a row after as many steps as its input says; `widths` are those of its states."""

    widths: list
    poll: int = 4
    outputs: tuple = ("steps", "trace")

    @property
    def evaluator(self):
        return Evaluator(torch.nn.Identity(), (1,), PADDED)

    def load(self, inputs):
        steps = torch.zeros_like(inputs["wanted"])
        return {**inputs, "steps": steps, "trace": inputs["wanted"][:, None].repeat(1, 3), "done": steps > 0}

    def step(self, state):
        self.widths.append(len(state["done"]))
        steps = state["steps"] + ~state["done"]
        return {"steps": steps, "done": state["done"] | (steps >= state["wanted"])}


def solved(wanted, slots):
    widths = []
    out = run(Counts(widths), {"wanted": torch.tensor(wanted)}, Layout(slots))
    assert out["steps"].tolist() == wanted
    assert out["trace"].tolist() == [[w] * 3 for w in wanted]
    return widths


def test_rows_leave_between_polls_as_soon_as_a_smaller_state_holds_the_others():
    assert solved([1] * 9 + [2] * 8 + [7] * 3, 64) == [24, 16, 8, 8, 8, 8, 8]
    assert solved([3] * 5 + [6] * 3, 64) == [8] * 6


def test_while_rows_wait_new_ones_are_loaded_at_the_polls_only():
    assert solved([1, 3] * 4 + [2] * 8 + [5] * 2, 8) == [8] * (3 + 2 + 5)
