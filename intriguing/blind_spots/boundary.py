"""The finish: from a success near the optimum to the nearest point of the decision boundary.

A bundle method on the distance: a step takes one gradient, of the margin to the worst rival, at a trial point and keeps
it as a cut; finds the boundary on the ray through the trial point by forward passes alone, which are several times
cheaper; projects the original image on all cuts and the box (a small exact QP); and goes a damped way there. It follows
Brendel et al. 2019 ("Accurate, reliable and fast robustness evaluation", section 2), with many cuts in place of one, so
that several rivals, and both sides of a kink, are seen at once, and with the box inside the QP.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound, clip
from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.objective import margin, pair, slack
from intriguing.blind_spots.qp import project

_INFINITY = float("inf")
_LOOSE = 1e-3
"""A cut that lies on the wrong side of the best point by more than this share of the distance is wrong, not stale."""
_PARALLEL = 1 - 5e-5
"""Cuts whose normals have a larger cosine, an angle below 0.6 degrees, are one: two would only slow the QP down."""


@dataclass(frozen=True)
class BoundaryFinish:
    """A stage that walks along the decision boundary to its point nearest to the image."""

    evaluator: Evaluator
    lower: Bound
    upper: Bound
    steps: int
    """Gradients per row, at most."""
    cuts: int = 6
    searches: int = 2
    """Forward passes per step that find the boundary again."""
    tolerance: float = 2e-4
    """A row ends when its QP promises less than this share of its distance."""
    hopeless: float = 1e-3
    """A row that brings a `bar` ends when its QP promises to stay above it, or below by less than this share of it, and
    the promise is to be trusted: when the row's distance is below `trust` times what is promised."""
    trust: float = 1.05
    patience: int = 8
    """A row ends after so many steps in a row that shorten its distance by less than half of the tolerance."""
    rounds: int = 4
    """Newton steps of each QP, which starts at the multipliers of the last one."""
    poll: int = 2
    outputs: tuple[str, ...] = ("best", "best_l2", "forward", "backward")

    def load(self, given: State) -> State:
        """Rows start at a success, `best`; those with a `bar` (R,) are wanted below that distance only."""
        best, x0 = given["best"], given["x0"]
        count, n = best.shape
        zero = best.new_zeros(count)
        r = best - x0
        cuts = best.new_zeros(count, self.cuts)
        return {
            "bar": zero + _INFINITY,
            **given,
            "trial": best.clone(),
            "best_l2": dot(r, r).sqrt(),
            "best_logits": best.new_zeros(given["rivals"].shape),
            "normals": best.new_zeros(count, self.cuts, n),
            "scales": cuts + 1,
            "offsets": cuts - _INFINITY,
            "owners": torch.zeros_like(cuts, dtype=torch.long),
            "ages": cuts.clone(),
            "multipliers": cuts.clone(),
            "damping": zero + 1,
            "idle": zero.clone(),
            "taken": torch.zeros_like(given["target"]),
            "forward": torch.zeros_like(given["target"]),
            "backward": torch.zeros_like(given["target"]),
            "done": torch.zeros(count, dtype=torch.bool, device=best.device),
        }

    def step(self, state: State) -> State:
        """One gradient, a few forward passes, one QP."""
        active = ~state["done"]
        target, rivals, x0, trial = state["target"], state["rivals"], state["x0"], state["trial"]

        def worst(logits: Tensor, s: slice) -> tuple[Tensor, Tensor]:
            _, rival = margin(logits, target[s], rivals[s])
            return pair(logits, target[s], rival)

        z, gap, normal = self.evaluator.gradient(trial, worst)
        _, rival = margin(z, target, rivals)
        first = state["taken"] == 0
        logits = torch.where(first[:, None], z, state["best_logits"])
        best, l2, logits, improved = self._line(state, z, gap - slack(z, target, rival), normal, logits)
        keep = active & improved
        best = torch.where(keep[:, None], best, state["best"])
        l2 = torch.where(keep, l2, state["best_l2"])
        logits = torch.where((keep | first)[:, None], logits, state["best_logits"])

        cuts = self._renewed(state, normal, dot(normal, trial - x0) - gap, rival)
        normals, scales, offsets, owners, ages, multipliers = cuts
        offsets = self._mended(normals, scales, offsets, owners, ages, target, logits, best - x0, l2)
        goal, multipliers, value = project(
            self.lower - x0, self.upper - x0, normals, offsets, multipliers, unit=True, rounds=self.rounds
        )
        damping = torch.where(improved, (2 * state["damping"]).clamp(max=1), state["damping"] / 2)
        damping = torch.where(first, torch.ones_like(damping), damping)
        bound = (2 * value.clamp(min=0)).sqrt()
        hopeless = (bound > (1 - self.hopeless) * state["bar"]) & (l2 < self.trust * bound)
        settled = (bound > (1 - self.tolerance) * l2) | hopeless
        gained = 1 - l2 / state["best_l2"] > self.tolerance / 2
        idle = torch.where(gained, torch.zeros_like(l2), state["idle"] + 1)
        taken = state["taken"] + active
        return {
            "best": best,
            "best_l2": l2,
            "best_logits": logits,
            "trial": best + damping[:, None] * (x0 + goal - best),
            "normals": normals,
            "scales": scales,
            "offsets": offsets,
            "owners": owners,
            "ages": ages,
            "multipliers": multipliers,
            "damping": damping,
            "idle": idle,
            "taken": taken,
            "forward": state["forward"] + active * (1 + self.searches),
            "backward": state["backward"] + active,
            "done": state["done"] | (taken >= self.steps) | settled | (idle >= self.patience),
        }

    def _line(
        self, state: State, z: Tensor, gap: Tensor, normal: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The nearest success on the ray from the image through the trial point: point, norm, logits, nearer than best.

        The trial point's gap, less what rounding may hide, and its slope start a secant search that aims a little
        inside the region of success.
        """
        x0, target, rivals, trial = state["x0"], state["target"], state["rivals"], state["trial"]
        best, best_l2 = state["best"], state["best_l2"]
        ray = trial - x0
        length = dot(ray, ray).sqrt().clamp(min=1e-30)
        far = best_l2 / length * (1 - 1e-6)
        won = gap > 0
        improved = won & (length < best_l2)
        best = torch.where(improved[:, None], trial, best)
        best_l2 = torch.where(improved, length, best_l2)
        logits = torch.where(improved[:, None], z, logits)
        one, zero = torch.ones_like(far), torch.zeros_like(far)
        infinite = torch.full_like(far, _INFINITY)
        low, low_gap = torch.where(won, zero, one), torch.where(won, -infinite, gap)
        high, high_gap = torch.where(won, one, far), torch.where(won, gap, infinite)
        slope = dot(normal, ray)
        newton = 1 - gap / slope.where(slope > 0, one * 1e-30)
        s = newton + 0.02 * (1 - newton).abs()
        s = torch.where(won, s.clamp(0.5, 1.0), torch.minimum(s.clamp(max=2.0), far))
        for _ in range(self.searches):
            x = clip(torch.lerp(x0, trial, s[:, None]), self.lower, self.upper)
            z = self.evaluator.forward(x)
            gap, rival = margin(z, target, rivals)
            gap = gap - slack(z, target, rival)
            won = gap > 0
            r = x - x0
            l2 = dot(r, r).sqrt()
            better = won & (l2 < best_l2)
            best = torch.where(better[:, None], x, best)
            best_l2 = torch.where(better, l2, best_l2)
            logits = torch.where(better[:, None], z, logits)
            improved = improved | better
            high, high_gap = torch.where(won, s, high), torch.where(won, gap, high_gap)
            low, low_gap = torch.where(won, low, s), torch.where(won, low_gap, gap)
            share = -low_gap / (high_gap - low_gap)
            known = low_gap.isfinite() & high_gap.isfinite()
            inside = low + (share + 0.02).clamp(0.05, 0.95) * (high - low)
            ahead = torch.where(won, 0.98 * s, 0.5 * (s + far))
            s = torch.where(known, inside, ahead)
        return best, best_l2, logits, improved

    def _renewed(self, state: State, normal: Tensor, offset: Tensor, rival: Tensor) -> tuple[Tensor, ...]:
        """The cuts, of unit normals, with the new one among them.

        It takes the place of its rival's cut that is all but parallel to it, else of an unused one, else of the oldest
        that was not active, else of the oldest, and inherits the multipliers of its rival's others, which makes a good
        start for the QP.
        """
        offsets, owners, u, normals = state["offsets"], state["owners"], state["multipliers"], state["normals"]
        norm = dot(normal, normal).sqrt()
        known = (norm > 0) & norm.isfinite()
        norm = norm.where(known, torch.ones_like(norm))
        new = torch.where(known[:, None], normal / norm[:, None], torch.zeros_like(normal))
        offset = torch.where(known, offset / norm, torch.full_like(offset, -_INFINITY))
        ages = state["ages"] + 1
        same = owners == rival[:, None]
        cosines = torch.bmm(new[:, None], normals.transpose(1, 2)).squeeze(1)
        parallel = same & offsets.isfinite() & (cosines > _PARALLEL)
        worth = torch.where(offsets.isfinite(), torch.where(u > 0, 0.0, 1e3), 1e6)
        slot = torch.where(parallel, 1e7 * cosines, worth + ages).argmax(1)
        rows = torch.arange(len(slot), device=slot.device)
        normals[rows, slot] = new
        slot = slot[:, None]
        inherited = (u * same).sum(1, keepdim=True)
        return (
            normals,
            state["scales"].scatter(1, slot, norm[:, None]),
            offsets.scatter(1, slot, offset[:, None]),
            owners.scatter(1, slot, rival[:, None]),
            ages.scatter(1, slot, 0.0),
            u.masked_fill(same, 0).scatter(1, slot, inherited),
        )

    def _mended(
        self,
        normals: Tensor,
        scales: Tensor,
        offsets: Tensor,
        owners: Tensor,
        ages: Tensor,
        target: Tensor,
        logits: Tensor,
        r: Tensor,
        l2: Tensor,
    ) -> Tensor:
        """Offsets after what the logits at the best point, the image plus r, say.

        There the true gap of every rival is known. A cut that says less is stale: the newest of its rival is lifted to
        the truth, an older one is dropped when it is wrong by much, for the boundary is not concave there.
        """
        gaps = (logits.gather(1, target[:, None]) - logits.gather(1, owners)) / scales
        along = torch.bmm(r[:, None], normals.transpose(1, 2)).squeeze(1)
        error = gaps - (along - offsets)
        rivalry = (owners[:, :, None] == owners[:, None, :]) & offsets.isfinite()[:, None, :]
        newer = (rivalry & (ages[:, None, :] < ages[:, :, None])).any(2)
        wrong = newer & (error > _LOOSE * l2[:, None])
        return torch.where(wrong, torch.full_like(offsets, -_INFINITY), torch.minimum(offsets, along - gaps))
