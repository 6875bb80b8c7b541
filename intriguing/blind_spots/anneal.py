"""A second start for rugged landscapes: primal-dual descent with large, slowly shrinking steps.

Where thresholds of units lie between the image and the boundary, as after adversarial training, a descent from the
image sees only the units that are awake there and ends in a poor basin. Steps of about the size of the perturbation
itself average over such kinks. The dynamics are those of Matyasko and Chau 2021 ("PDPGD: primal-dual proximal gradient
descent adversarial attack", algorithm 1: Adam on the perturbation, sign ascent on the logarithm of the multipliers),
made free of scale: distances are measured in units of the best one known, margins in units of the margin at the image.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.objective import contest, pair, slack

_FIRST, _LAST = 5.0, 0.02
"""Step of a variable at the start and the end, in units of the root mean square perturbation."""
_MEAN, _SQUARE = 0.9, 0.999
_DUAL_START, _DUAL_LARGEST = math.log(10.0), math.log(1e6)


@dataclass(frozen=True)
class Anneal:
    """A stage of `ticks` evaluations per row; rows bring the best distance known (`scale`)."""

    evaluator: Evaluator
    lower: float
    upper: float
    ticks: int
    poll: int = 10
    outputs: tuple[str, ...] = ("best", "best_l2", "target", "forward", "backward")

    def load(self, given: State) -> State:
        """Rows start at the image."""
        x0 = given["x0"]
        zero = x0.new_zeros(len(x0))
        return {
            **given,
            "trial": x0.clone(),
            "mean": torch.zeros_like(x0),
            "square": torch.zeros_like(x0),
            "unit": zero.clone(),
            "dual": zero + _DUAL_START,
            "weight": torch.sigmoid(zero + _DUAL_START),
            "tick": zero.clone(),
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "forward": torch.zeros_like(given["target"]),
            "backward": torch.zeros_like(given["target"]),
            "done": torch.zeros_like(zero, dtype=torch.bool),
        }

    def step(self, state: State) -> State:
        """One tick."""
        active = ~state["done"]
        wanted, rivals, x0, trial = state["wanted"], state["rivals"], state["x0"], state["trial"]
        tick, known = state["tick"], state["unit"]

        def hinge(logits: Tensor, s: slice) -> tuple[Tensor, Tensor]:
            _, winner, rival = contest(logits, wanted[s], rivals[s])
            gap, slope = pair(logits, winner, rival)
            unit = torch.where(tick[s] == 0, gap.abs() / 4, known[s]).clamp(min=1e-30)
            return gap, -slope * (torch.sigmoid(-gap / unit) / unit)[:, None]

        z, gap, gradient = self.evaluator.gradient(trial, hinge)
        unit = torch.where(tick == 0, gap.abs() / 4, known)
        r = trial - x0
        l2 = dot(r, r).sqrt()
        won = gap > slack(z)
        _, winner, _ = contest(z, wanted, rivals)
        better = won & (l2 < state["best_l2"]) & active

        weight, scale = state["weight"], state["scale"]
        pull = (1 - weight) / (l2 * scale).clamp(min=1e-30)
        total = pull[:, None] * r + weight[:, None] * gradient
        mean = torch.lerp(total, state["mean"], _MEAN)
        square = torch.lerp(total * total, state["square"], _SQUARE)
        count = tick + 1
        size = _FIRST * (_LAST / _FIRST) ** (tick / self.ticks) * scale / math.sqrt(x0.shape[1])
        size = size * (1 - _SQUARE**count).sqrt() / (1 - _MEAN**count)
        moved = trial - size[:, None] * mean / (square.sqrt() + 1e-20)
        rate = 0.2 * (1 - 0.9 * tick / max(1, self.ticks - 1))
        dual = (state["dual"] - rate * gap.sign()).clamp(-_DUAL_LARGEST, _DUAL_LARGEST)
        return {
            "trial": moved.clamp(self.lower, self.upper),
            "mean": mean,
            "square": square,
            "unit": unit,
            "dual": dual,
            "weight": torch.lerp(torch.sigmoid(dual), weight, 0.8),
            "tick": count,
            "best": torch.where(better[:, None], trial, state["best"]),
            "best_l2": torch.where(better, l2, state["best_l2"]),
            "target": torch.where(better, winner, state["target"]),
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "done": state["done"] | (count >= self.ticks),
        }
