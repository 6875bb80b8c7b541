"""The finish: from a success near the optimum to the nearest point of the decision boundary.

It is a bundle method on the distance. One step does four things. It computes the gradient of the margin over the best
rival at a trial point, and keeps it as a cut (a linearised boundary). It finds the boundary on the ray from the image
through the trial point, by forward passes only, which are several times cheaper. It projects the image on all cuts and
the box, a small QP that is solved exactly. It moves the trial point towards that projection, with damping.

Source: Brendel et al. 2019, "Accurate, reliable and fast robustness evaluation", section 2. Here several cuts are kept
in place of one, so that a step takes account of several rivals and of both sides of a kink, and the box is a part of
the QP.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound, clip
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.loop import State
from intriguing.blind_spots.objective import margin, pair, slack
from intriguing.blind_spots.qp import project

_INFINITY = float("inf")
_LOOSE = 1e-3
"""An old cut is dropped when it is on the wrong side of the best point by more than this share of the distance."""
_PARALLEL = 1 - 5e-5
"""A new cut replaces one of the same rival whose normal has a larger cosine with it (an angle below 0.6 degrees). Two
nearly parallel cuts make the QP slow."""


class _Cuts(NamedTuple):
    """K cuts of each row: changes r with normal . r >= offset are beyond the linearised boundary to one rival."""

    normals: Tensor
    """(R, K, n), of norm 1."""
    scales: Tensor
    """(R, K) norms of the gradients."""
    offsets: Tensor
    """(R, K), minus infinity for an empty slot."""
    owners: Tensor
    """(R, K) the rival's class."""
    ages: Tensor
    """(R, K) steps since the cut was made."""
    multipliers: Tensor
    """(R, K), of the QP."""


@dataclass(frozen=True)
class BoundaryFinish:
    """A solver that moves along the decision boundary to its point nearest to the image."""

    evaluator: Evaluator
    lower: Bound
    upper: Bound
    steps: int
    """Largest number of gradients per row."""
    longest: int | None = None
    """That of a row whose last step gained more than `gain`; None: `steps`."""
    gain: float = 0.01
    cuts: int = 6
    searches: int = 2
    """Forward passes per step for the search of the boundary on the ray."""
    tolerance: float = 2e-4
    """A row ends when its QP predicts a gain of less than this share of its distance."""
    hopeless: float = 1e-3
    """A row with a `bar` ends when its QP predicts a distance that is not below the bar by more than this share of it.
    The prediction counts only if the row's distance is below `trust` times the predicted one."""
    trust: float = 1.05
    behind: tuple[int, float] = (5, 1.15)
    """A row with a `bar` also ends when after so many gradients its distance is larger than the bar by this factor."""
    patience: int = 8
    """A row ends after this many steps in a row that each gain less than half of the tolerance."""
    rounds: int = 4
    """Newton steps of each QP, which starts from the multipliers of the previous one."""
    poll: int = 2
    outputs: tuple[str, ...] = ("best", "best_l2", "bound", "forward", "backward")

    def load(self, inputs: State) -> State:
        """The first state. Rows start at a success, `best` (R, n), and may have a `bar` (R,), see `hopeless`."""
        best, x0 = inputs["best"], inputs["x0"]
        count, n = best.shape
        zero = best.new_zeros(count)
        r = best - x0
        cuts = best.new_zeros(count, self.cuts)
        return {
            "bar": zero + _INFINITY,
            **inputs,
            "trial": best.clone(),
            "best_l2": dot(r, r).sqrt(),
            "bound": zero.clone(),
            "best_logits": best.new_zeros(inputs["rivals"].shape),
            "normals": best.new_zeros(count, self.cuts, n),
            "scales": cuts + 1,
            "offsets": cuts - _INFINITY,
            "owners": torch.zeros_like(cuts, dtype=torch.long),
            "ages": cuts.clone(),
            "multipliers": cuts.clone(),
            "damping": zero + 1,
            "idle": zero.clone(),
            "gradients": torch.zeros_like(inputs["target"]),
            "forward": torch.zeros_like(inputs["target"]),
            "backward": torch.zeros_like(inputs["target"]),
            "done": torch.zeros(count, dtype=torch.bool, device=best.device),
        }

    def step(self, state: State) -> State:
        """One gradient, a few forward passes, one QP."""
        active = ~state["done"]
        target, rivals, x0, trial = state["target"], state["rivals"], state["x0"], state["trial"]

        def worst(logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
            _, rival = margin(logits, target[s], rivals[s])
            return pair(logits, target[s], rival)

        z, gap, normal = self.evaluator.gradient(trial, worst, active)
        _, rival = margin(z, target, rivals)
        first = state["gradients"] == 0
        logits = torch.where(first[:, None], z, state["best_logits"])
        best, l2, logits, improved = self._line(state, z, gap - slack(z, target, rival), normal, logits)
        keep = active & improved
        best = torch.where(keep[:, None], best, state["best"])
        l2 = torch.where(keep, l2, state["best_l2"])
        logits = torch.where((keep | first)[:, None], logits, state["best_logits"])

        cuts = self._renewed(state, normal, dot(normal, trial - x0) - gap, rival)
        normals, scales, _, owners, ages, multipliers = cuts
        offsets = self._corrected(cuts, target, logits, best - x0, l2)
        # A finished row has no constraint, so that nothing is solved for it.
        offsets = offsets.where(active[:, None], torch.full_like(offsets, -_INFINITY))
        goal, multipliers, value = project(
            self.lower - x0, self.upper - x0, normals, offsets, multipliers, unit=True, rounds=self.rounds
        )
        damping = torch.where(improved, (2 * state["damping"]).clamp(max=1), state["damping"] / 2)
        damping = torch.where(first, torch.ones_like(damping), damping)
        bound = (2 * value.clamp(min=0)).sqrt()
        hopeless = (bound > (1 - self.hopeless) * state["bar"]) & (l2 < self.trust * bound)
        late = (state["gradients"] + 1 >= self.behind[0]) & (l2 > self.behind[1] * state["bar"])
        settled = (bound > (1 - self.tolerance) * l2) | hopeless | late
        gained = 1 - l2 / state["best_l2"]
        idle = torch.where(gained > self.tolerance / 2, torch.zeros_like(l2), state["idle"] + 1)
        gradients = state["gradients"] + active
        most = torch.where(gained > self.gain, self.longest or self.steps, self.steps)
        return {
            "best": best,
            "best_l2": l2,
            "bound": torch.where(active, bound, state["bound"]),
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
            "gradients": gradients,
            "forward": state["forward"] + active * (1 + self.searches),
            "backward": state["backward"] + active,
            "done": state["done"] | (gradients >= most) | settled | (idle >= self.patience),
        }

    def _line(
        self, state: State, z: Tensor, gap: Tensor, normal: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The nearest success on the ray from the image through the trial point, by a secant search.

        z, gap, normal: logits (R, C), margin minus its rounding (R,) and gradient (R, n) at the trial point; logits:
        (R, C) at the best point. The search aims slightly inside the region of success. Returns the new best point
        (R, n), its norm (R,), its logits (R, C), and whether it is nearer than before (R,).
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
            z = self.evaluator.forward(x, ~state["done"])
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
            bracketed = low_gap.isfinite() & high_gap.isfinite()
            inside = low + (share + 0.02).clamp(0.05, 0.95) * (high - low)
            ahead = torch.where(won, 0.98 * s, 0.5 * (s + far))
            s = torch.where(bracketed, inside, ahead)
        return best, best_l2, logits, improved

    def _renewed(self, state: State, normal: Tensor, offset: Tensor, rival: Tensor) -> _Cuts:
        """The cuts with a new one: normal (R, n), offset (R,), class of the rival (R,).

        It replaces a nearly parallel cut of the same rival, else an empty slot, else the oldest inactive cut, else the
        oldest cut. It starts with the sum of the multipliers of its rival's other cuts, which are set to zero: a good
        start for the QP.
        """
        offsets, owners, u, normals = state["offsets"], state["owners"], state["multipliers"], state["normals"]
        norm = dot(normal, normal).sqrt()
        valid = (norm > 0) & norm.isfinite()
        norm = norm.where(valid, torch.ones_like(norm))
        new = torch.where(valid[:, None], normal / norm[:, None], torch.zeros_like(normal))
        offset = torch.where(valid, offset / norm, torch.full_like(offset, -_INFINITY))
        ages = state["ages"] + 1
        same = owners == rival[:, None]
        cosines = torch.bmm(new[:, None], normals.transpose(1, 2)).squeeze(1)
        parallel = same & offsets.isfinite() & (cosines > _PARALLEL)
        worth = (1e3 * (u <= 0)).masked_fill(offsets.isinf(), 1e6)
        slot = torch.where(parallel, 1e7 * cosines, worth + ages).argmax(1)
        rows = torch.arange(len(slot), device=slot.device)
        normals[rows, slot] = new
        slot = slot[:, None]
        inherited = (u * same).sum(1, keepdim=True)
        return _Cuts(
            normals,
            state["scales"].scatter(1, slot, norm[:, None]),
            offsets.scatter(1, slot, offset[:, None]),
            owners.scatter(1, slot, rival[:, None]),
            ages.scatter(1, slot, 0.0),
            u.masked_fill(same, 0).scatter(1, slot, inherited),
        )

    def _corrected(self, cuts: _Cuts, target: Tensor, logits: Tensor, r: Tensor, l2: Tensor) -> Tensor:
        """Offsets (R, K), corrected by the logits (R, C) at the best point, which is the image plus r (R, n).

        There the true margin over every rival is known. The newest cut of a rival that predicts a smaller margin is
        moved to agree with it. An older cut that is wrong by much is dropped, because the boundary is not concave
        there.
        """
        normals, scales, offsets, owners, ages, _ = cuts
        gaps = (logits.gather(1, target[:, None]) - logits.gather(1, owners)) / scales
        along = torch.bmm(r[:, None], normals.transpose(1, 2)).squeeze(1)
        error = gaps - (along - offsets)
        rivalry = (owners[:, :, None] == owners[:, None, :]) & offsets.isfinite()[:, None, :]
        newer = (rivalry & (ages[:, None, :] < ages[:, :, None])).any(2)
        wrong = newer & (error > _LOOSE * l2[:, None])
        return torch.where(wrong, torch.full_like(offsets, -_INFINITY), torch.minimum(offsets, along - gaps))
