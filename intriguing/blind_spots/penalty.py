"""The start of a search: box L-BFGS on cross-entropy + c |r|^2, c pushed up where it succeeds and down where it fails.

One tick is one evaluation of every row's trial point. A row never waits for another's line search: each has its own
history, step length, penalty and best point.
"""

from dataclasses import dataclass

import torch

from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import direction, dot, free_variables
from intriguing.blind_spots.objective import cross_entropy, margin, slack


@dataclass(frozen=True)
class PenaltySearch:
    """A stage that finds a good start: the nearest success met on the way of a truncated penalty search."""

    evaluator: Evaluator
    lower: float
    upper: float
    ticks: int
    """Evaluations per row."""
    inner: int = 3
    """Accepted steps between two changes of c."""
    memory: int = 5
    poll: int = 8
    outputs: tuple[str, ...] = ("best", "best_l2", "best_penalty", "forward", "backward", "broken")

    def load(self, given: State) -> State:
        """Rows start at the image itself."""
        x0 = given["x0"]
        zero = x0.new_zeros(len(x0))
        none = torch.zeros_like(zero, dtype=torch.bool)
        history = x0.new_zeros(len(x0), self.memory, x0.shape[1])
        return {
            **given,
            "x": x0.clone(),
            "trial": x0.clone(),
            "loss": zero.clone(),
            "loss_gradient": torch.zeros_like(x0),
            "s": history,
            "y": history.clone(),
            "step": zero.clone(),
            "way": torch.zeros_like(x0),
            "rejected": zero.clone(),
            "accepted": zero.clone(),
            "penalty": zero - 1,
            "factor": zero + 4,
            "success": none.clone(),
            "turned_won": none.clone(),
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "best_penalty": zero + float("nan"),
            "tick": zero.clone(),
            "forward": torch.zeros_like(given["target"]),
            "backward": torch.zeros_like(given["target"]),
            "broken": none.clone(),
            "done": none.clone(),
        }

    def step(self, state: State) -> State:
        """One tick."""
        active = ~state["done"]
        target, rivals, x0 = state["target"], state["rivals"], state["x0"]
        trial = state["trial"]
        z, loss, gradient = self.evaluator.gradient(
            trial, lambda logits, s: cross_entropy(logits, target[s], rivals[s])
        )
        gap, _ = margin(z, target, rivals)
        broken = ~(z.isfinite().all(1) & gradient.isfinite().all(1))
        success = (gap > slack(z)) & ~broken
        r = trial - x0
        square = dot(r, r)
        l2 = square.sqrt()
        better = success & (l2 < state["best_l2"]) & active

        first = state["penalty"] < 0
        slope_square = dot(gradient, gradient)
        penalty = torch.where(first, slope_square / (8 * loss.clamp(min=1e-30)), state["penalty"])
        x, old_loss, old_gradient = state["x"], state["loss"], state["loss_gradient"]
        r_old = x - x0
        old = old_loss + penalty * dot(r_old, r_old)
        new = loss + penalty * square
        moved = trial - x
        slope = dot(old_gradient + 2 * penalty[:, None] * r_old, moved)
        accept = first | (new <= old + 1e-4 * slope) | (state["rejected"] >= 4)
        accept &= ~broken

        stalled = accept & (state["rejected"] >= 4)
        push = accept & ~first
        s = torch.where(push[:, None, None], torch.cat([moved[:, None], state["s"][:, :-1]], 1), state["s"])
        change = (gradient - old_gradient)[:, None]
        y = torch.where(push[:, None, None], torch.cat([change, state["y"][:, :-1]], 1), state["y"])
        s = torch.where(stalled[:, None, None], torch.zeros_like(s), s)

        take = accept[:, None]
        x = torch.where(take, trial, x)
        loss = torch.where(accept, loss, old_loss)
        gradient = torch.where(take, gradient, old_gradient)
        won = torch.where(accept, success, state["success"])

        accepted = state["accepted"] + accept
        turn = accept & (accepted >= self.inner)
        accepted = torch.where(turn, torch.zeros_like(accepted), accepted)
        flipped = turn & (won != state["turned_won"])
        turned_won = torch.where(turn, won, state["turned_won"])
        factor = torch.where(flipped, state["factor"] ** 0.6, state["factor"])
        penalty = torch.where(turn, torch.where(won, penalty * factor, penalty / factor), penalty)

        total = gradient + 2 * penalty[:, None] * (x - x0)
        free = free_variables(x, total, self.lower, self.upper)
        way, has = direction(total, free, s, y + 2 * penalty[:, None, None] * s)
        uphill = dot(way, total) >= 0
        steepest = -total * free
        way = torch.where(uphill[:, None], steepest, way)
        polyak = loss / dot(steepest, steepest).clamp(min=1e-30)
        full = torch.where(has & ~uphill, torch.ones_like(polyak), polyak)
        shrink = (-slope / (2 * (new - old - slope)).clamp(min=1e-30)).clamp(0.1, 0.5)
        shrink = torch.where(broken, torch.full_like(shrink, 0.1), shrink)
        step = torch.where(accept, full, state["step"] * shrink)
        way = torch.where(take, way, state["way"])
        tick = state["tick"] + active
        return {
            "x": x,
            "trial": (x + step[:, None] * way).clamp(self.lower, self.upper),
            "loss": loss,
            "loss_gradient": gradient,
            "s": s,
            "y": y,
            "step": step,
            "way": way,
            "rejected": torch.where(accept, torch.zeros_like(step), state["rejected"] + 1),
            "accepted": accepted,
            "penalty": penalty,
            "factor": factor,
            "success": won,
            "turned_won": turned_won,
            "best": torch.where(better[:, None], trial, state["best"]),
            "best_l2": torch.where(better, l2, state["best_l2"]),
            "best_penalty": torch.where(better, penalty, state["best_penalty"]),
            "tick": tick,
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "broken": state["broken"] | (broken & first & active),
            "done": state["done"] | (tick >= self.ticks) | (broken & first),
        }
