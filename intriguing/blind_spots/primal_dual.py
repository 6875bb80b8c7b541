"""The start: primal-dual descent with steps of about the size of the perturbation itself.

Where thresholds of units lie between the image and the boundary, as in ReLU networks and most of all after adversarial
training, a descent with a line search sees only the units that are awake at the image and ends in a poor basin. Large
steps average over such kinks, and the finish needs no more than the right basin, so the steps hardly shrink. The
dynamics are those of Matyasko and Chau 2021 ("PDPGD: primal-dual proximal gradient descent adversarial attack",
algorithm 1: Adam on the perturbation, sign ascent on the logarithm of the multipliers), made free of scale: distances
are measured in units of the distance to the boundary as the gradient at the image foretells it, margins in units of the
margin at the image. Until a row has met its first success it descends the cross-entropy, whose gradient lives where
that of the margin has died; from then on the margin, for the cross-entropy mixes in classes that play no part.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound, clip
from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.objective import contest, cross_entropy, pair, slack

_SQUARE = 0.999
"""Decay of Adam's second moment."""
_DUAL_RATE, _DUAL_LARGEST = 0.2, math.log(1e6)
_FAR = 0.1
"""The longest distance that the gradient at the image is believed, in root mean square, as a share of the box."""
_WAIT, _GROWTH = 4, 1.5
"""A row that has met no success after so many ticks makes longer steps at each further one."""


def _sigmoid(x: Tensor) -> Tensor:
    """In float64: in float32 its last bit depends on how many values are asked for together."""
    return torch.sigmoid(x.double()).to(x.dtype)


@dataclass(frozen=True)
class PrimalDual:
    """A stage of `ticks` evaluations per row; its steps are `first` to `last` times as long as the way to go.

    `patient` is for rows that came to no success: it descends the margin from the first, which leads out of places
    where the cross-entropy of many classes has a minimum of its own, in steps that do not depend on the gradient at
    the image.
    """

    evaluator: Evaluator
    lower: Bound
    upper: Bound
    ticks: int
    first: float = 4.0
    last: float = 2.0
    mean: float = 0.7
    """Decay of Adam's first moment."""
    inertia: float = 0.5
    """Decay of the multiplier that the gradient is weighted with."""
    dual: float = 0.0
    """Logarithm of the first multiplier."""
    patient: bool = False
    width: float | None = None
    """Of the box, in root mean square over the values; left out, that of a box of two numbers."""
    poll: int = 4
    outputs: tuple[str, ...] = ("best", "best_l2", "best_class", "forward", "backward", "broken", "blind")

    def load(self, given: State) -> State:
        """Rows start at the image."""
        x0 = given["x0"]
        zero = x0.new_zeros(len(x0))
        none = torch.zeros_like(zero, dtype=torch.bool)
        return {
            **given,
            "trial": x0.clone(),
            "mean": torch.zeros_like(x0),
            "square": torch.zeros_like(x0),
            "unit": zero.clone(),
            "scale": zero.clone(),
            "dual": zero + self.dual,
            "weight": _sigmoid(zero + self.dual),
            "tick": zero.clone(),
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "best_class": given["target"].clone(),
            "forward": torch.zeros_like(given["target"]),
            "backward": torch.zeros_like(given["target"]),
            "broken": none.clone(),
            "blind": ~none,
            "done": none.clone(),
        }

    def step(self, state: State) -> State:
        """One tick."""
        active = ~state["done"]
        wanted, rivals, x0, trial = state["wanted"], state["rivals"], state["x0"], state["trial"]
        tick, known = state["tick"], state["unit"]
        first = tick == 0
        never = state["best_l2"].isinf()

        def units(logits: Tensor, gap: Tensor, classes: tuple[Tensor, Tensor], s: slice) -> Tensor:
            unit = torch.maximum(gap.abs() / 4, slack(logits, *classes))
            return torch.where(first[s], unit.where(unit > 0, torch.ones_like(unit)), known[s])

        def loss(logits: Tensor, s: slice) -> tuple[Tensor, Tensor]:
            _, winner, rival = contest(logits, wanted[s], rivals[s])
            gap, slope = pair(logits, winner, rival)
            unit = units(logits, gap, (winner, rival), s)
            hinge = -slope * _sigmoid(-gap / unit)[:, None]
            if self.patient:
                return gap, hinge / unit[:, None]
            _, entropy = cross_entropy(logits, wanted[s], rivals[s])
            return gap, torch.where((never[s] & (gap < 0))[:, None], entropy, hinge) / unit[:, None]

        z, gap, gradient = self.evaluator.gradient(trial, loss)
        norm = dot(gradient, gradient).sqrt()
        sound = gap.isfinite() & gradient.isfinite().all(1)
        _, winner, rival = contest(z, wanted, rivals)
        unit = units(z, gap, (winner, rival), slice(None))
        r = trial - x0
        l2 = dot(r, r).sqrt()
        better = sound & (gap > slack(z, winner, rival)) & (l2 < state["best_l2"]) & active
        best_l2 = torch.where(better, l2, state["best_l2"])

        width = float(self.upper - self.lower) if self.width is None else self.width
        far = _FAR * width * math.sqrt(self.evaluator.size)
        # A margin of four units, over its slope.
        scale = torch.where(first, (4 / norm).clamp(1e-9 * far, far), state["scale"])
        scale = torch.where(best_l2.isinf() & (tick >= _WAIT), _GROWTH * scale, torch.minimum(scale, best_l2))
        if self.patient:
            scale = torch.full_like(scale, far)
        weight = state["weight"]
        pull = (1 - weight) / (l2 * scale).clamp(min=1e-30)
        total = torch.addcmul(weight[:, None] * gradient, pull[:, None], r)
        mean = torch.lerp(total, state["mean"], self.mean)
        square = torch.lerp(total * total, state["square"], _SQUARE)
        count = tick + 1
        time = count.double()
        shrunk = (self.last / self.first) ** ((time - 1) / self.ticks)
        debiased = (1 - _SQUARE**time).sqrt() / (1 - self.mean**time)
        size = (self.first / math.sqrt(self.evaluator.size) * shrunk * debiased).to(scale.dtype) * scale
        moved = torch.addcdiv(trial, size[:, None] * mean, square.sqrt() + 1e-20, value=-1)
        # Where the network breaks, half the way back, as if nothing had been seen.
        keep = sound[:, None]
        moved = torch.where(keep, moved, torch.lerp(x0, trial, 0.5))
        rate = _DUAL_RATE * (1 - 0.9 * tick / max(1, self.ticks - 1))
        dual = (state["dual"] - rate * gap.sign().nan_to_num()).clamp(-_DUAL_LARGEST, _DUAL_LARGEST)
        return {
            "trial": clip(moved, self.lower, self.upper),
            "mean": torch.where(keep, mean, state["mean"]),
            "square": torch.where(keep, square, state["square"]),
            "unit": unit,
            "scale": scale,
            "dual": dual,
            "weight": (1 - self.inertia) * _sigmoid(dual) + self.inertia * weight,
            "tick": count,
            "best": torch.where(better[:, None], trial, state["best"]),
            "best_l2": best_l2,
            "best_class": torch.where(better, winner, state["best_class"]),
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "broken": state["broken"] | (first & ~sound & active),
            "blind": state["blind"] & ((norm == 0) | ~active),
            "done": state["done"] | (count >= self.ticks) | (first & ~sound),
        }
