"""The penalised search: box-constrained L-BFGS on the loss + c |r|^2, and a search over c.

One step evaluates the trial point of every row. Each row has its own history, step length, penalty and best point, so
no row waits for the line search of another. There are two schedules of c: `Truncated` changes c after a few accepted
steps and keeps the nearest success on the way, a good start for the finish; `Bracketing` is the paper's procedure.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound, clip
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import direction, dot, free_variables
from intriguing.blind_spots.loop import State
from intriguing.blind_spots.objective import contest, cross_entropy, slack
from intriguing.blind_spots.penalty_schedule import Bracketing, Step, Truncated


@dataclass(frozen=True)
class PenaltySearch:
    """A solver that minimises loss + c |r|^2 (form l2: loss + c |r|) over changes r, while its schedule changes c."""

    evaluator: Evaluator
    lower: Bound
    upper: Bound
    schedule: Truncated | Bracketing
    form: str = "squared_l2"
    width: float | None = None
    """Width of the box as a root mean square over its values; None: upper - lower, for a box of two numbers."""
    memory: int = 5
    poll: int = 5
    outputs: tuple[str, ...] = (
        "best",
        "best_l2",
        "best_penalty",
        "best_class",
        "forward",
        "backward",
        "broken",
        "blind",
        "lowered",
        "least_penalty",
    )

    def load(self, inputs: State) -> State:
        """The first state: rows start at the image."""
        x0 = inputs["x0"]
        zero = x0.new_zeros(len(x0))
        none = torch.zeros_like(zero, dtype=torch.bool)
        kinds = 2 if self.form == "squared_l2" else 3
        return {
            **inputs,
            **self.schedule.load(zero),
            "x": x0.clone(),
            "trial": x0.clone(),
            "loss": zero.clone(),
            "loss_gradient": torch.zeros_like(x0),
            "pairs": x0.new_zeros(len(x0), kinds, self.memory, x0.shape[1]),
            "order": torch.arange(self.memory, device=x0.device).repeat(len(x0), 1),
            "step": zero.clone(),
            "way": torch.zeros_like(x0),
            "rejected": zero.clone(),
            "penalty": zero - 1,
            "success": none.clone(),
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "best_penalty": zero + float("nan"),
            "best_class": inputs["target"].clone(),
            "forward": torch.zeros_like(inputs["target"]),
            "backward": torch.zeros_like(inputs["target"]),
            "broken": none.clone(),
            "blind": ~none,
            "lowered": none.clone(),
            "least_penalty": zero + float("inf"),
            "done": none.clone(),
        }

    def _norm(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """The norm that c multiplies (R,) and its gradient (R, n)."""
        square = dot(r, r)
        if self.form == "squared_l2":
            return square, 2 * r
        l2 = square.sqrt()
        return l2, r / l2.clamp(min=1e-30)[:, None]

    def _evaluated(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """At the trial points: loss (R,), its gradient (R, n), whether one is not finite (R,), success (R,), the goal
        with the largest logit (R,), and the rounding error of the margin (R,).
        """
        goals, rivals = state["goals"], state["rivals"]
        z, loss, gradient = self.evaluator.gradient(
            state["trial"], lambda logits, s: cross_entropy(logits, goals[s], rivals[s]), ~state["done"]
        )
        broken = ~(z.isfinite().all(1) & gradient.isfinite().all(1))
        gap, winner, rival = contest(z, goals, rivals)
        rounding = slack(z, winner, rival)
        return loss, gradient, broken, (gap > rounding) & ~broken, winner, rounding

    def _first_penalty(self, loss: Tensor, square: Tensor) -> Tensor:
        """The first c (R,), from the loss (R,) at the image and the square (R,) of its gradient's norm.

        It is half of the c whose minimiser lies on the boundary if the margin is linear; on the boundary |grad loss| is
        half of |grad margin|.
        """
        return square / (8 * loss.clamp(min=1e-30)) if self.form == "squared_l2" else square.sqrt() / 4

    def step(self, state: State) -> State:
        """One evaluation of all rows, and the next trial points."""
        active = ~state["done"]
        x0, trial = state["x0"], state["trial"]
        loss, gradient, broken, success, winner, rounding = self._evaluated(state)
        first = state["penalty"] < 0
        square = dot(gradient, gradient)
        penalty = torch.where(first, self._first_penalty(loss, square), state["penalty"])

        x, old_loss, old_gradient = state["x"], state["loss"], state["loss_gradient"]
        norm_old, pull_old = self._norm(x - x0)
        norm, pull = self._norm(trial - x0)
        moved = trial - x
        slope = dot(old_gradient + penalty[:, None] * pull_old, moved)
        old = old_loss + penalty * norm_old
        new = loss + penalty * norm
        forced = state["rejected"] >= self.schedule.rejections
        # Logits with a large common offset are rounded more coarsely than the loss itself.
        noise = torch.maximum(self.schedule.noise * old.abs(), rounding if self.schedule.noise else 0 * rounding)
        rise = torch.maximum(1e-4 * slope, noise)
        accept = (first | (new <= old + rise) | (forced & self.schedule.forces)) & ~broken
        history = self._history(state, accept & ~first, forced, moved, gradient - old_gradient, pull - pull_old)

        take = accept[:, None]
        x = torch.where(take, trial, x)
        loss = torch.where(accept, loss, old_loss)
        gradient = torch.where(take, gradient, old_gradient)
        won = torch.where(accept, success, state["success"])
        drop = (old - new).where(~first, new)
        plan = self.schedule.move(state, Step(penalty, accept, forced, won, success, drop, new))
        penalty_now = plan.pop("penalty")
        record = plan.pop("record") & active
        point = torch.where(plan.pop("at_trial")[:, None], trial, x)
        r = point - x0
        l2 = dot(r, r).sqrt()
        better = record & (l2 < state["best_l2"])
        restart = plan.pop("restart")

        shrink = (-slope / (2 * (new - old - slope)).clamp(min=1e-30)).clamp(0.1, 0.5)
        shrink = torch.where(broken, torch.full_like(shrink, 0.1), shrink)
        fresh = accept | restart
        way, full = self._way(x, x0, loss, gradient, penalty_now, history)
        step = torch.where(fresh, full, state["step"] * shrink)
        way = torch.where(fresh[:, None], way, state["way"])
        return {
            **history,
            **plan,
            "x": x,
            "trial": clip(x + step[:, None] * way, self.lower, self.upper),
            "loss": loss,
            "loss_gradient": gradient,
            "step": step,
            "way": way,
            "rejected": torch.where(fresh, torch.zeros_like(step), state["rejected"] + 1),
            "penalty": penalty_now,
            "success": won,
            "best": torch.where(better[:, None], point, state["best"]),
            "best_l2": torch.where(better, l2, state["best_l2"]),
            "best_penalty": torch.where(better, penalty, state["best_penalty"]),
            "best_class": torch.where(better, winner, state["best_class"]),
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "broken": state["broken"] | (broken & first & active),
            "blind": state["blind"] & ((square == 0) | ~active),
            "lowered": state["lowered"] | (accept & ~first & active & (old - new > noise)),
            "least_penalty": torch.where(
                active, torch.minimum(state["least_penalty"], penalty), state["least_penalty"]
            ),
            "done": state["done"] | plan["done"] | (broken & first),
        }

    def _history(
        self, state: State, push: Tensor, clear: Tensor, moved: Tensor, change: Tensor, pull_change: Tensor
    ) -> State:
        """The L-BFGS pairs; they are of the loss alone, so they stay valid when c changes. The oldest is replaced."""
        pairs, order = state["pairs"], state["order"]
        fixed = is_graphed(order.device)
        rows = torch.arange(len(order), device=order.device) if fixed else push.nonzero().squeeze(1)
        slot = order[rows, -1]
        for kind, value in enumerate((moved, change, pull_change)[: pairs.shape[1]]):
            new = value[rows]
            if fixed:
                new = torch.where(push[:, None], new, pairs[rows, kind, slot])
            pairs[rows, kind, slot] = new
        pairs[:, 0].masked_fill_(clear[:, None, None], 0)
        order = torch.where(push[:, None], order.roll(1, 1), order)
        return {"pairs": pairs, "order": order}

    def _way(
        self, x: Tensor, x0: Tensor, loss: Tensor, gradient: Tensor, penalty: Tensor, history: State
    ) -> tuple[Tensor, Tensor]:
        """A descent direction (R, n) at x for the penalty, and the first step to try along it (R,)."""
        _, pull = self._norm(x - x0)
        total = gradient + penalty[:, None] * pull
        free = free_variables(x, total, self.lower, self.upper)
        share = 2 * penalty if self.form == "squared_l2" else penalty
        way, has = direction(total, free, history["pairs"], history["order"], share)
        has = has & (dot(way, total) < 0)
        steepest = -total * free
        way = torch.where(has[:, None], way, steepest)
        # Without history: Polyak's step, since the smallest possible loss is zero. Where the loss is flat it leads far
        # beyond the box, and no number of halvings would lead back.
        square = dot(steepest, steepest).clamp(min=1e-30)
        longest = torch.full_like(square, self._longest())
        polyak = torch.minimum(loss / square, longest / square.sqrt())
        return way, torch.where(has, torch.ones_like(polyak), polyak)

    def _longest(self) -> float:
        """The largest length of a first step: a quarter of the box's diagonal."""
        width = float(self.upper - self.lower) if self.width is None else self.width
        return 0.25 * math.sqrt(self.evaluator.size) * width
