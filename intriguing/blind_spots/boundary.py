"""The finish: from a success near the optimum to the nearest point of the decision boundary.

A step takes one gradient at the best point, linearises the margin to a rival there, keeps it among the last few cuts,
projects the original image on the cuts and the box (a small exact QP), goes a damped way there, and finds the boundary
again by forward passes alone, which are several times cheaper. It follows Brendel et al. 2019 ("Accurate, reliable and
fast robustness evaluation", section 2) with many cuts in place of one, and the box inside the QP.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.objective import margin, pair, slack
from intriguing.blind_spots.qp import project

_INFINITY = float("inf")


@dataclass(frozen=True)
class BoundaryFinish:
    """A stage that walks along the decision boundary to its point nearest to the image."""

    evaluator: Evaluator
    lower: float
    upper: float
    steps: int
    """Gradients per row."""
    cuts: int = 4
    searches: int = 4
    """Forward passes per step that find the boundary again."""
    poll: int = 2
    outputs: tuple[str, ...] = ("best", "best_l2", "forward", "backward")

    def load(self, given: State) -> State:
        """Rows start at a success, `best`."""
        best, x0 = given["best"], given["x0"]
        count, n = best.shape
        zero = best.new_zeros(count)
        r = best - x0
        return {
            **given,
            "best_l2": dot(r, r).sqrt(),
            "normals": best.new_zeros(count, self.cuts, n),
            "offsets": best.new_zeros(count, self.cuts) - _INFINITY,
            "owners": torch.zeros(count, self.cuts, dtype=torch.long, device=best.device),
            "multipliers": best.new_zeros(count, self.cuts),
            "damping": zero + 1,
            "taken": torch.zeros_like(given["target"]),
            "forward": torch.zeros_like(given["target"]),
            "backward": torch.zeros_like(given["target"]),
            "done": torch.zeros(count, dtype=torch.bool, device=best.device),
        }

    def _line(self, state: State, tip: Tensor, best: Tensor, best_l2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest success met on the ray from the image through `tip`, if it is nearer than `best`."""
        x0, target, rivals = state["x0"], state["target"], state["rivals"]
        ray = tip - x0
        length = dot(ray, ray).sqrt().clamp(min=1e-30)
        far = best_l2 / length * (1 - 1e-6)
        low, high = torch.zeros_like(far), far
        low_gap = torch.full_like(far, -_INFINITY)
        high_gap = torch.full_like(far, _INFINITY)
        s = torch.minimum(torch.ones_like(far), far)
        improved = torch.zeros_like(far, dtype=torch.bool)
        for _ in range(self.searches):
            x = (x0 + s[:, None] * ray).clamp(self.lower, self.upper)
            z = self.evaluator.forward(x)
            gap, _ = margin(z, target, rivals)
            gap = gap - slack(z)
            won = gap > 0
            r = x - x0
            l2 = dot(r, r).sqrt()
            better = won & (l2 < best_l2)
            best = torch.where(better[:, None], x, best)
            best_l2 = torch.where(better, l2, best_l2)
            improved |= better
            high, high_gap = torch.where(won, s, high), torch.where(won, gap, high_gap)
            low, low_gap = torch.where(won, low, s), torch.where(won, low_gap, gap)
            part = (-low_gap / (high_gap - low_gap)).nan_to_num(0.5, 0.5, 0.5)
            known = low_gap.isfinite() & high_gap.isfinite()
            inside = low + part.clamp(0.1, 0.9) * (high - low)
            ahead = torch.where(won, 0.97 * s, torch.minimum(far, 1.02 * s))
            s = torch.where(known, inside, ahead)
        return best, best_l2, improved

    def step(self, state: State) -> State:
        """One gradient, one QP, a few forward passes."""
        active = ~state["done"]
        target, rivals, x0, best = state["target"], state["rivals"], state["x0"], state["best"]
        z, _, _ = (None, None, None)

        def nearest(logits: Tensor, s: slice) -> tuple[Tensor, Tensor]:
            _, rival = margin(logits, target[s], rivals[s])
            return pair(logits, target[s], rival)

        z, gap, normal = self.evaluator.gradient(best, nearest)
        _, rival = margin(z, target, rivals)
        normals = torch.cat([normal[:, None], state["normals"][:, :-1]], 1)
        offsets = torch.cat([(dot(normal, best) - gap)[:, None], state["offsets"][:, :-1]], 1)
        owners = torch.cat([rival[:, None], state["owners"][:, :-1]], 1)
        # What a cut says about `best` cannot be worse than what the logits say.
        gaps = z.gather(1, target[:, None]) - z.gather(1, owners)
        along = torch.bmm(normals, best[:, :, None]).squeeze(2)
        offsets = torch.minimum(offsets, along - torch.minimum(gaps, torch.full_like(gaps, _INFINITY)))
        start = torch.cat([state["multipliers"].new_zeros(len(best), 1), state["multipliers"][:, :-1]], 1)
        goal, multipliers, _ = project(x0, normals, offsets, self.lower, self.upper, start)
        tip = best + state["damping"][:, None] * (goal - best)
        new, new_l2, improved = self._line(state, tip, best, state["best_l2"])
        keep = active & improved
        damping = torch.where(improved, (2 * state["damping"]).clamp(max=1), state["damping"] / 2)
        taken = state["taken"] + active
        return {
            "best": torch.where(keep[:, None], new, best),
            "best_l2": torch.where(keep, new_l2, state["best_l2"]),
            "normals": normals,
            "offsets": offsets,
            "owners": owners,
            "multipliers": multipliers,
            "damping": damping,
            "taken": taken,
            "forward": state["forward"] + active * (1 + self.searches),
            "backward": state["backward"] + active,
            "done": state["done"] | (taken >= self.steps),
        }
