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
from intriguing.blind_spots.masks import chosen, finite_rows, surely_all, surely_none
from intriguing.blind_spots.objective import contest, cross_entropy, slack
from intriguing.blind_spots.penalty_schedule import Bracketing, Step, Truncated


@dataclass(frozen=True)
class _Point:
    """What the model gives at the trial points, per row; all but the gradient (R,)."""

    loss: Tensor
    gradient: Tensor
    """(R, n), of the loss."""
    square: Tensor
    """The square of the gradient's norm."""
    broken: Tensor
    """Whether a logit or the gradient is not finite."""
    success: Tensor
    winner: Tensor
    """The goal with the largest logit."""
    rounding: Tensor
    """The rounding error of the margin."""


@dataclass(frozen=True)
class _Recorded:
    """Points (R, n), and the norms (R,) of their changes that c multiplies."""

    x: Tensor
    size: Tensor


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
            "change": torch.zeros_like(x0),
            "size": zero.clone(),
            "slope": torch.zeros_like(x0),
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

    def _size(self, change: Tensor) -> Tensor:
        """The norm (R,) that c multiplies, of the change (R, n): its square, or itself."""
        square = dot(change, change)
        return square if self.form == "squared_l2" else square.sqrt()

    def _slope(self, gradient: Tensor, penalty: Tensor, change: Tensor, size: Tensor) -> Tensor:
        """The gradient (R, n) of loss + c times the norm; gradient: (R, n), that of the loss."""
        if self.form == "squared_l2":
            return (change * (2 * penalty)[:, None]).add_(gradient)
        return _unit(change, size).mul_(penalty[:, None]).add_(gradient)

    def _evaluated(self, state: State) -> _Point:
        """What the model gives at the trial points."""
        goals, rivals = state["goals"], state["rivals"]
        z, loss, gradient = self.evaluator.gradient(
            state["trial"], lambda logits, s: cross_entropy(logits, goals[s], rivals[s]), ~state["done"]
        )
        square = dot(gradient, gradient)
        broken = ~(z.isfinite().all(1) & finite_rows(gradient, square))
        gap, winner, rival = contest(z, goals, rivals)
        rounding = slack(z, winner, rival)
        return _Point(loss, gradient, square, broken, (gap > rounding) & ~broken, winner, rounding)

    def _first_penalty(self, loss: Tensor, square: Tensor) -> Tensor:
        """The first c (R,), from the loss (R,) at the image and the square (R,) of its gradient's norm.

        It is half of the c whose minimiser lies on the boundary if the margin is linear; on the boundary |grad loss| is
        half of |grad margin|.
        """
        return square / (8 * loss.clamp(min=1e-30)) if self.form == "squared_l2" else square.sqrt() / 4

    def step(self, state: State) -> State:
        """One evaluation of all rows, and the next trial points."""
        active = ~state["done"]
        trial = state["trial"]
        there = self._evaluated(state)
        first = state["penalty"] < 0
        penalty = torch.where(first, self._first_penalty(there.loss, there.square), state["penalty"])

        change = trial - state["x0"]
        size = self._size(change)
        moved = trial - state["x"]
        fall = dot(state["slope"], moved)
        old = state["loss"] + penalty * state["size"]
        new = there.loss + penalty * size
        forced = state["rejected"] >= self.schedule.rejections
        noise = self.schedule.noise * old.abs()
        if self.schedule.noise:
            # Logits with a large common offset are rounded more coarsely than the loss itself.
            noise = torch.maximum(noise, there.rounding)
        accept = (first | (new <= old + torch.maximum(1e-4 * fall, noise)) | (forced & self.schedule.forces)) & ~there.broken
        learned = accept & ~first
        history = self._history(state, learned, forced, moved, there.gradient, change, size)

        now = {"x": trial, "change": change, "loss_gradient": there.gradient, "loss": there.loss, "size": size, "success": there.success}
        now = _taken(accept, now, state)
        drop = (old - new).where(~first, new)
        plan = self.schedule.move(state, Step(penalty, accept, forced, now["success"], there.success, drop, new))
        penalty_now, restart = plan.pop("penalty"), plan.pop("restart")
        recorded = _Recorded(trial, size) if self.schedule.on_the_way else _Recorded(now["x"], now["size"])
        best = self._best(state, plan.pop("record") & active, recorded, penalty, there.winner)

        fresh = accept | restart
        slope = self._slope(now["loss_gradient"], penalty_now, now["change"], now["size"])
        way, full = self._way(now["x"], now["loss"], slope, penalty_now, history)
        shrink = (-fall / (2 * (new - old - fall)).clamp(min=1e-30)).clamp(0.1, 0.5)
        shrink = torch.where(there.broken, 0.1, shrink)
        step = torch.where(fresh, full, state["step"] * shrink)
        way = way if surely_all(fresh) else torch.where(fresh[:, None], way, state["way"])
        return {
            **history,
            **plan,
            **now,
            **best,
            "slope": slope,
            "trial": clip((way * step[:, None]).add_(now["x"]), self.lower, self.upper),
            "step": step,
            "way": way,
            "rejected": torch.where(fresh, 0.0, state["rejected"] + 1),
            "penalty": penalty_now,
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "broken": state["broken"] | (there.broken & first & active),
            "blind": state["blind"] & ((there.square == 0) | ~active),
            "lowered": state["lowered"] | (learned & active & (old - new > noise)),
            "least_penalty": torch.where(
                active, torch.minimum(state["least_penalty"], penalty), state["least_penalty"]
            ),
            "done": state["done"] | plan["done"] | (there.broken & first),
        }

    def _best(self, state: State, record: Tensor, found: _Recorded, penalty: Tensor, winner: Tensor) -> State:
        """The nearest point to be recorded so far; record: (R,) where `found` is one."""
        l2 = found.size.sqrt() if self.form == "squared_l2" else found.size
        better = record & (l2 < state["best_l2"])
        return {
            "best": chosen(better, found.x, state["best"]),
            "best_l2": torch.where(better, l2, state["best_l2"]),
            "best_penalty": torch.where(better, penalty, state["best_penalty"]),
            "best_class": torch.where(better, winner, state["best_class"]),
        }

    def _history(
        self, state: State, push: Tensor, clear: Tensor, moved: Tensor, gradient: Tensor, change: Tensor, size: Tensor
    ) -> State:
        """The L-BFGS pairs; they are of the loss alone, so they stay valid when c changes. The oldest is replaced."""
        pairs, order = state["pairs"], state["order"]
        fixed = is_graphed(order.device)
        rows = torch.arange(len(order), device=order.device) if fixed else push.nonzero().squeeze(1)
        slot = order[rows, -1]
        values = [moved, gradient - state["loss_gradient"]]
        if self.form != "squared_l2":
            values.append(_unit(change, size) - _unit(state["change"], state["size"]))
        for kind, value in enumerate(values):
            new = value[rows]
            if fixed:
                new = torch.where(push[:, None], new, pairs[rows, kind, slot])
            pairs[rows, kind, slot] = new
        if not surely_none(clear):
            pairs[:, 0].masked_fill_(clear[:, None, None], 0)
        order = torch.where(push[:, None], order.roll(1, 1), order)
        return {"pairs": pairs, "order": order}

    def _way(self, x: Tensor, loss: Tensor, slope: Tensor, penalty: Tensor, history: State) -> tuple[Tensor, Tensor]:
        """A descent direction (R, n) at x for the penalty, and the first step to try along it (R,)."""
        free = free_variables(x, slope, self.lower, self.upper)
        share = 2 * penalty if self.form == "squared_l2" else penalty
        way, has = direction(slope, free, history["pairs"], history["order"], share)
        has = has & (dot(way, slope) < 0)
        if surely_all(has):
            return way, torch.ones_like(loss)
        steepest = -slope * free
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


def _unit(change: Tensor, size: Tensor) -> Tensor:
    """The changes (R, n), of length `size` (R,), divided by it."""
    return change / size.clamp(min=1e-30)[:, None]


def _taken(accept: Tensor, new: State, old: State) -> State:
    """The tensors of `new` where `accept` (R,) is true, those of `old` elsewhere."""
    if surely_all(accept):
        return new
    rows = accept[:, None]
    return {name: torch.where(rows if value.ndim == 2 else accept, value, old[name]) for name, value in new.items()}
