"""The penalised search: box-constrained L-BFGS on the loss + c |r|^2, and a search over c.

One step evaluates the trial point of every row. Each row has its own history, step length, penalty and best point, so
no row waits for the line search of another. There are two schedules of c: `Truncated` changes c after a few accepted
steps and keeps the nearest success on the way, a good start for the finish; `Bracketing` is the paper's procedure.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Bound, clip
from intriguing.blind_spots.arithmetic.lbfgs import direction, dot, free_variables
from intriguing.blind_spots.arithmetic.masks import chosen, surely_all, surely_finite, surely_none
from intriguing.blind_spots.arithmetic.objective import cross_entropy, one_entropy, standing
from intriguing.blind_spots.arithmetic.steepness import mended
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.network.evaluate import Evaluator, Loss
from intriguing.blind_spots.solvers.loop import State
from intriguing.blind_spots.solvers.penalty_schedule import Bracketing, Step, Truncated

_LEAVES = 0.9
"""The first c of the form l2, as a share of the norm of the gradient at the image."""


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
    gap: Tensor
    """The margin (the largest logit of the goals minus that of the rivals) minus its rounding error: a success where it
    is positive."""
    success: Tensor
    winner: Tensor
    """The goal with the largest logit."""
    rounding: Tensor
    """The rounding error of the margin."""


@dataclass(frozen=True)
class _Try:
    """The step from the current points to the trial points, per row; all but the vectors (R, n) are (R,)."""

    first: Tensor
    """Whether it is the image's first evaluation."""
    penalty: Tensor
    change: Tensor
    """From the image to the trial point."""
    size: Tensor
    """The norm of the change that c multiplies."""
    moved: Tensor
    """From the current point to the trial point."""
    fall: Tensor
    """The change of the objective if it were linear."""
    old: Tensor
    """The objective at the current point."""
    new: Tensor
    """The objective at the trial point."""
    noise: Tensor
    """The rounding error of the objective."""
    forced: Tensor
    """Whether so many steps were refused that no decrease is asked for."""
    accept: Tensor


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
        "mute",
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
            "goal": inputs["goals"].to(torch.int8).argmax(1),
            "alone": inputs["goals"].sum(1) == 1,
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
            "gap": zero.clone(),
            "clean_gap": zero.clone(),
            "begins": ~none,
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "best_penalty": zero + float("nan"),
            "best_class": inputs["target"].clone(),
            "forward": torch.zeros_like(inputs["target"]),
            "backward": torch.zeros_like(inputs["target"]),
            "broken": none.clone(),
            "blind": ~none,
            "lowered": none.clone(),
            "mute": none.clone(),
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
        z, loss, gradient = self.evaluator.gradient(state["trial"], self._loss(state), ~state["done"])
        square = dot(gradient, gradient)
        if surely_finite(square, z.sum(1)):
            broken = torch.zeros_like(state["done"])
        else:
            gradient, known = mended(gradient)
            square = dot(gradient, gradient)
            broken = ~(z.isfinite().all(1) & known)
        there = standing(z, state["goals"], state["rivals"])
        success = (there.gap > there.slack) & ~broken
        beyond = there.gap - there.slack
        return _Point(loss, gradient, square, broken, beyond, success, there.winner, there.slack)

    def _loss(self, state: State) -> Loss:
        """The cross-entropy of the goals."""
        goals, rivals = state["goals"], state["rivals"]
        if surely_all(state["alone"]):
            goal, allowed = state["goal"], goals | rivals
            return lambda logits, s: one_entropy(logits, goal[s], allowed[s])
        return lambda logits, s: cross_entropy(logits, goals[s], rivals[s])

    def _first_penalty(self, loss: Tensor, square: Tensor) -> Tensor:
        """The first c (R,), from the loss (R,) at the image and the square (R,) of its gradient's norm.

        It is half of the c whose minimiser lies on the boundary if the margin is linear; on the boundary |grad loss| is
        half of |grad margin|. Form l2: nearly the largest c with which the image can be left; for larger ones it is a
        minimiser itself, and a much smaller one leads far beyond the boundary where the margin is nearly linear.
        """
        return square / (8 * loss.clamp(min=1e-30)) if self.form == "squared_l2" else _LEAVES * square.sqrt()

    def _tried(self, state: State, there: _Point) -> _Try:
        """The step to the trial points, and whether it is accepted."""
        first = state["penalty"] < 0
        penalty = torch.where(first, self._first_penalty(there.loss, there.square), state["penalty"])
        change, moved = state["trial"] - state["x0"], state["trial"] - state["x"]
        size, fall = self._size(change), dot(state["slope"], moved)
        old = state["loss"] + penalty * state["size"]
        new = there.loss + penalty * size
        noise = self.schedule.noise * old.abs()
        if self.schedule.noise:
            # Logits with a large common offset are rounded more coarsely than the loss itself.
            noise = torch.maximum(noise, there.rounding)
        forced = state["rejected"] >= self.schedule.rejections
        accept = state["begins"] | (new <= old + torch.maximum(1e-4 * fall, noise))
        if self.schedule.forces:
            accept = accept | forced
        accept = accept & ~there.broken
        return _Try(first, penalty, change, size, moved, fall, old, new, noise, forced, accept)

    def step(self, state: State) -> State:
        """One evaluation of all rows, and the next trial points."""
        active = ~state["done"]
        there = self._evaluated(state)
        made = self._tried(state, there)
        learned = made.accept & ~state["begins"]
        history = self._history(state, learned, made, there.gradient)
        now = self._current(state, there, made)
        plan = self.schedule.move(state, self._report(state, there, made, now))
        best = self._best(state, plan.pop("record") & active, there, made, now)
        begins = plan.pop("home"), plan.pop("resume")
        ahead = self._ahead(state, there.broken, made, now | history, plan)
        return {
            **history,
            **plan,
            **now,
            **best,
            **ahead,
            **self._begun(begins, ahead["trial"], state["x0"], best["best"], history),
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "broken": state["broken"] | (there.broken & made.first & active),
            "blind": state["blind"] & ((there.square == 0) | ~active),
            "lowered": state["lowered"] | (learned & active & (made.old - made.new > made.noise)),
            "mute": state["mute"] | (there.broken & active),
            "least_penalty": torch.where(
                active, torch.minimum(state["least_penalty"], made.penalty), state["least_penalty"]
            ),
            "done": state["done"] | plan["done"] | (there.broken & made.first),
        }

    def _current(self, state: State, there: _Point, made: _Try) -> State:
        """The points where the rows stand now: the trial points where they were accepted."""
        new = {
            "x": state["trial"].clone(),
            "change": made.change,
            "size": made.size,
            "loss": there.loss,
            "loss_gradient": there.gradient,
            "success": there.success,
            "gap": there.gap,
        }
        refused = ~made.accept
        now = new if surely_none(refused) else _kept(refused, new, state)
        return {**now, "clean_gap": torch.where(made.first, there.gap, state["clean_gap"])}

    def _report(self, state: State, there: _Point, made: _Try, now: State) -> Step:
        """What the schedule is told of the step."""
        return Step(
            penalty=made.penalty,
            accept=made.accept & ~state["done"],
            forced=made.forced & ~state["done"],
            won=now["success"],
            success=there.success,
            drop=torch.where(state["begins"], made.new, made.old - made.new),
            value=made.new,
            loss=now["loss"],
            gap=now["gap"],
            clean_gap=now["clean_gap"],
            l2=self._l2(now["size"]),
            squared=self.form == "squared_l2",
            apart=self._apart(state, now),
        )

    def _apart(self, state: State, now: State) -> Tensor | None:
        """The distances (R,) from the best points, for minimisations that started at the image once more."""
        if "returns" not in state or surely_none(state["returns"]):
            return None
        way = now["x"] - state["best"]
        return dot(way, way).sqrt()

    def _ahead(self, state: State, broken: Tensor, made: _Try, now: State, plan: State) -> State:
        """The next trial points; now: with the history. A refused step is made shorter."""
        penalty, fresh = plan["penalty"], made.accept | plan.pop("restart")
        slope = self._slope(now["loss_gradient"], penalty, now["change"], now["size"])
        way, step = self._way(now, slope, penalty)
        if not surely_all(fresh):
            shrink = (-made.fall / (2 * (made.new - made.old - made.fall)).clamp(min=1e-30)).clamp(0.1, 0.5)
            shrink = torch.where(broken, 0.1, shrink)
            step = torch.where(fresh, step, state["step"] * shrink)
            way = _kept(~fresh, {"way": way}, state)["way"]
        return {
            "slope": slope,
            "way": way,
            "step": step,
            "trial": clip((way * step[:, None]).add_(now["x"]), self.lower, self.upper),
            "rejected": torch.where(fresh, 0.0, state["rejected"] + 1),
        }

    def _begun(
        self, begins: tuple[Tensor, Tensor], trial: Tensor, image: Tensor, best: Tensor, history: State
    ) -> State:
        """The trial points where a minimisation begins anew: at the image, or at the best point. begins: masks (R,)."""
        home, resume = begins
        anew = home | resume
        if surely_none(anew):
            return {"begins": anew}
        history["pairs"][:, 0].masked_fill_(anew[:, None, None], 0)
        return {"begins": anew, "trial": chosen(resume, best, chosen(home, image, trial))}

    def _l2(self, size: Tensor) -> Tensor:
        """The length (R,) of a change, from the norm that c multiplies."""
        return size.sqrt() if self.form == "squared_l2" else size

    def _best(self, state: State, record: Tensor, there: _Point, made: _Try, now: State) -> State:
        """The nearest point so far of those to be recorded (R,)."""
        trial = self.schedule.on_the_way
        x, l2 = (state["trial"], self._l2(made.size)) if trial else (now["x"], self._l2(now["size"]))
        better = record & (l2 < state["best_l2"])
        if surely_none(better):
            return {name: state[name] for name in ("best", "best_l2", "best_penalty", "best_class")}
        return {
            "best": chosen(better, x, state["best"]),
            "best_l2": torch.where(better, l2, state["best_l2"]),
            "best_penalty": torch.where(better, made.penalty, state["best_penalty"]),
            "best_class": torch.where(better, there.winner, state["best_class"]),
        }

    def _history(self, state: State, push: Tensor, made: _Try, gradient: Tensor) -> State:
        """The L-BFGS pairs; they are of the loss alone, so they stay valid when c changes. The oldest is replaced."""
        pairs, order = state["pairs"], state["order"]
        fixed = is_graphed(order.device)
        rows = torch.arange(len(order), device=order.device) if fixed else push.nonzero().squeeze(1)
        slot = order[rows, -1]
        values = [made.moved, gradient - state["loss_gradient"]]
        if self.form != "squared_l2":
            values.append(_unit(made.change, made.size) - _unit(state["change"], state["size"]))
        for kind, value in enumerate(values):
            new = value[rows]
            if fixed:
                new = torch.where(push[:, None], new, pairs[rows, kind, slot])
            pairs[rows, kind, slot] = new
        if not surely_none(made.forced):
            pairs[:, 0].masked_fill_(made.forced[:, None, None], 0)
        order = torch.where(push[:, None], order.roll(1, 1), order)
        return {"pairs": pairs, "order": order}

    def _way(self, now: State, slope: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """A descent direction (R, n) for the penalty, and the first step (R,) to try; now: with the history."""
        free = free_variables(now["x"], slope, self.lower, self.upper)
        share = 2 * penalty if self.form == "squared_l2" else penalty
        way, has = direction(slope, free, now["pairs"], now["order"], share)
        has = has & (dot(way, slope) < 0)
        if surely_all(has):
            return way, torch.ones_like(penalty)
        steepest = -slope * free
        way = torch.where(has[:, None], way, steepest)
        # Without history: Polyak's step, since the smallest possible loss is zero. Where the loss is flat it leads far
        # beyond the box, and no number of halvings would lead back.
        square = dot(steepest, steepest).clamp(min=1e-30)
        polyak = torch.minimum(now["loss"] / square, self._longest() / square.sqrt())
        return way, torch.where(has, 1.0, polyak)

    def _longest(self) -> float:
        """The largest length of a first step: a quarter of the box's diagonal."""
        width = float(self.upper - self.lower) if self.width is None else self.width
        return 0.25 * math.sqrt(self.evaluator.size) * width


def _unit(change: Tensor, size: Tensor) -> Tensor:
    """The changes (R, n), of length `size` (R,), divided by it."""
    return change / size.clamp(min=1e-30)[:, None]


def _kept(mask: Tensor, new: State, old: State) -> State:
    """The `new` tensors (R, ...) with the values of `old` where `mask` (R,) is true, which is rare; the new ones may be
    written over.
    """
    fixed = is_graphed(mask.device)
    index = None if fixed else mask.nonzero().squeeze(1)
    kept = {}
    for name, value in new.items():
        if index is None or value.ndim == 1:
            kept[name] = torch.where(mask.reshape(-1, *[1] * (value.ndim - 1)), old[name], value)
        else:
            kept[name] = value.index_copy_(0, index, old[name].index_select(0, index))
    return kept
