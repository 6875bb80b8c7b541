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

from intriguing.blind_spots.arithmetic.box import Bound, clip
from intriguing.blind_spots.arithmetic.lbfgs import dot
from intriguing.blind_spots.arithmetic.masks import chosen, surely_all, surely_finite, surely_none
from intriguing.blind_spots.arithmetic.objective import Standing, duel
from intriguing.blind_spots.arithmetic.qp import project
from intriguing.blind_spots.arithmetic.steepness import mended
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.solvers.loop import State

_INFINITY = float("inf")
_LOOSE = 1e-3
"""An old cut is dropped when it is on the wrong side of the best point by more than this share of the distance."""
_LARGE = 1e18
"""The square of a larger norm may overflow, and that of a smaller one than its inverse vanish."""
_PARALLEL = 1 - 5e-5
"""A new cut replaces one of the same rival whose normal has a larger cosine with it (an angle below 0.6 degrees). Two
nearly parallel cuts make the QP slow."""


def _norm(vectors: Tensor) -> Tensor:
    """The norms (R,) of vectors (R, n) of any scale: of logits of 1e25 or 1e-25 slopes have squares that no float32
    number holds.
    """
    largest = vectors.abs().amax(1)
    scaled = vectors / largest.where(largest > 0, 1.0).unsqueeze(1)
    return largest * dot(scaled, scaled).sqrt()


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


class _Trial(NamedTuple):
    """What the model says of the trial points."""

    logits: Tensor
    """(R, C)"""
    gap: Tensor
    """(R,) margin over the best rival."""
    won: Tensor
    """(R,) margin above its rounding error."""
    rival: Tensor
    """(R,) class of the rival."""
    ray: Tensor
    """(R, n) from the image to the trial point."""
    normal: Tensor
    """(R, n) gradient of the margin."""
    slope: Tensor
    """(R,) of the margin along the ray."""


class _Best(NamedTuple):
    """The nearest successes so far."""

    point: Tensor
    """(R, n)"""
    l2: Tensor
    """(R,) the distance from the image."""
    logits: Tensor
    """(R, C)"""
    improved: Tensor
    """(R,) whether it is nearer than that of the last step."""

    def renewed(self, better: Tensor, point: Tensor, l2: Tensor, logits: Tensor) -> "_Best":
        """With others where `better` (R,) says so."""
        if surely_none(better):
            return self
        return _Best(
            chosen(better, point, self.point),
            torch.where(better, l2, self.l2),
            torch.where(better.unsqueeze(1), logits, self.logits),
            self.improved | better,
        )


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
    polish: int = 0
    """That of a row which is below its bar and whose QP predicts a gain of more than `rough`, as a share of its
    distance. 0: as for other rows."""
    rough: float = 1e-3
    cuts: int = 6
    searches: int = 2
    """Largest number of forward passes per step for the search of the boundary on the ray."""
    worth: float = 5e-5
    """The search of a row on the ray ends when a success at its next point would gain less than this share of the
    distance. On ten networks that spares 1 to 18 % of all forward passes."""
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
    rounds: int = 3
    """Newton steps of each QP, which starts from the multipliers of the previous one."""
    poll: int = 2
    outputs: tuple[str, ...] = ("best", "best_l2", "bound", "beyond", "trial", "forward", "backward")

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
            "beyond": zero.clone(),
            "best_logits": best.new_zeros(inputs["rivals"].shape),
            "normals": best.new_zeros(count, self.cuts, n),
            "scales": cuts + 1,
            "offsets": cuts - _INFINITY,
            "owners": torch.zeros_like(cuts, dtype=torch.long),
            "ages": cuts.clone(),
            "multipliers": cuts.clone(),
            "damping": zero + 2,
            "idle": zero.clone(),
            "gradients": torch.zeros_like(inputs["target"]),
            "forward": torch.zeros_like(inputs["target"]),
            "backward": torch.zeros_like(inputs["target"]),
            "done": torch.zeros(count, dtype=torch.bool, device=best.device),
        }

    def step(self, state: State) -> State:
        """One gradient, a few forward passes, one QP."""
        active, x0 = ~state["done"], state["x0"]
        trial = self._judged(state, active)
        best, passes = self._line(state, trial, active)
        cuts = self._renewed(state, trial)
        offsets, beyond = self._corrected(cuts, state, best, active)
        goal, multipliers, value = project(
            self.lower - x0, self.upper - x0, cuts.normals, offsets, cuts.multipliers, unit=True, rounds=self.rounds
        )
        damping = torch.where(best.improved, (2 * state["damping"]).clamp(max=1), state["damping"] / 2)
        ahead = goal.add_(x0).sub_(best.point).mul_(damping.unsqueeze(1)).add_(best.point)
        bound = (2 * value.clamp(min=0)).sqrt()
        return {
            **cuts._asdict(),
            **self._ends(state, active, best.l2, bound),
            "best": best.point,
            "best_l2": best.l2,
            "best_logits": best.logits,
            "forward": passes,
            "bound": torch.where(active, bound, state["bound"]),
            "beyond": torch.where(active, beyond, state["beyond"]),
            "trial": ahead if surely_all(active) else chosen(active, ahead, state["trial"]),
            "offsets": offsets,
            "multipliers": multipliers,
            "damping": damping,
        }

    def _judged(self, state: State, active: Tensor) -> _Trial:
        """The margin and its gradient at the trial points."""
        target, rivals, parts = state["target"], state["rivals"], list[Standing]()

        def worst(logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
            parts.append(duel(logits, target[s], rivals[s]))
            slope = torch.zeros_like(logits).scatter_(1, parts[-1].winner.unsqueeze(1), 1.0)
            return parts[-1].gap, slope.scatter_(1, parts[-1].rival.unsqueeze(1), -1.0)

        z, gap, normal = self.evaluator.gradient(state["trial"], worst, active)
        both = parts[0] if len(parts) == 1 and len(parts[0].high) == len(z) else duel(z, target, rivals)
        ray = state["trial"] - state["x0"]
        slope = dot(normal, ray)
        if not surely_finite(slope):
            normal, _ = mended(normal)
            slope = dot(normal, ray)
        return _Trial(z, gap, gap - both.slack, both.rival, ray, normal, slope)

    def _ends(self, state: State, active: Tensor, l2: Tensor, bound: Tensor) -> State:
        """Which rows are done, and what is counted for that. l2, bound: (R,) distance reached, and its lower bound."""
        gradients = state["gradients"] + active
        hopeless = (bound > (1 - self.hopeless) * state["bar"]) & (l2 < self.trust * bound)
        late = (gradients >= self.behind[0]) & (l2 > self.behind[1] * state["bar"])
        settled = (bound > (1 - self.tolerance) * l2) | hopeless | late
        gained = 1 - l2 / state["best_l2"]
        idle = (state["idle"] + 1).masked_fill(gained > self.tolerance / 2, 0)
        longest = self.longest or self.steps
        most = self.steps if longest == self.steps else torch.where(gained > self.gain, longest, self.steps)
        if self.polish:
            most = torch.where((l2 < state["bar"]) & (bound < (1 - self.rough) * l2), self.polish, most)
        return {
            "idle": idle,
            "gradients": gradients,
            "backward": gradients,
            "done": state["done"] | (gradients >= most) | settled | (idle >= self.patience),
        }

    def _line(self, state: State, trial: _Trial, active: Tensor) -> tuple[_Best, Tensor]:
        """The nearest success on the ray from the image through the trial point, by a secant search.

        The search aims slightly inside the region of success. Returns also the forward passes (R,) of each row so far.
        """
        x0, best_l2, gap = state["x0"], state["best_l2"], trial.won
        length = dot(trial.ray, trial.ray).sqrt().clamp(min=1e-30)
        far = best_l2 / length * (1 - 1e-6)
        won = gap > 0
        improved = won & (length < best_l2) & active
        known = improved if surely_all(state["gradients"]) else improved | (state["gradients"] == 0)
        best = _Best(
            chosen(improved, state["trial"], state["best"]),
            torch.where(improved, length, best_l2),
            torch.where(known.unsqueeze(1), trial.logits, state["best_logits"]),
            improved,
        )
        one, zero = torch.ones_like(far), torch.zeros_like(far)
        infinite = torch.full_like(far, _INFINITY)
        low, low_gap = torch.where(won, zero, one), torch.where(won, -infinite, gap)
        high, high_gap = torch.where(won, one, far), torch.where(won, gap, infinite)
        newton = 1 - gap / trial.slope.where(trial.slope > 0, 1e-30)
        s = newton + 0.02 * (1 - newton).abs()
        s = torch.where(won, s.clamp(0.5, 1.0), torch.minimum(s.clamp(max=2.0), far))
        asked, passes = active, state["forward"] + active
        for left in reversed(range(self.searches)):
            asked = asked & (s * length < (1 - self.worth) * best.l2)
            if surely_none(asked):
                break
            x = clip(torch.lerp(x0, state["trial"], s.unsqueeze(1)), self.lower, self.upper)
            z = self.evaluator.forward(x, asked)
            passes = passes + asked
            both = duel(z, state["target"], state["rivals"])
            gap = both.gap - both.slack
            won = gap > 0
            r = x - x0
            l2 = dot(r, r).sqrt()
            best = best.renewed(won & (l2 < best.l2) & asked, x, l2, z)
            if left == 0:
                break
            high, high_gap = torch.where(won, s, high), torch.where(won, gap, high_gap)
            low, low_gap = torch.where(won, low, s), torch.where(won, low_gap, gap)
            share = low_gap / (low_gap - high_gap)
            bracketed = torch.maximum(high_gap, -low_gap) < _INFINITY
            inside = low + (share + 0.02).clamp(0.05, 0.95) * (high - low)
            ahead = torch.where(won, 0.98 * s, 0.5 * (s + far))
            s = torch.where(bracketed, inside, ahead)
        return best, passes

    def _renewed(self, state: State, trial: _Trial) -> _Cuts:
        """The cuts with that of the trial points.

        It replaces a nearly parallel cut of the same rival, else an empty slot, else the oldest inactive cut, else the
        oldest cut. It starts with the sum of the multipliers of its rival's other cuts, which are set to zero: a good
        start for the QP.
        """
        offsets, owners, u, normals = state["offsets"], state["owners"], state["multipliers"], state["normals"]
        new, norm = trial.normal, dot(trial.normal, trial.normal).sqrt()
        offset = trial.slope - trial.gap
        valid = (norm > 1 / _LARGE) & (norm < _LARGE)
        if surely_all(valid):
            new, offset = new / norm.unsqueeze(1), offset / norm
        else:
            norm = norm.where(valid, _norm(new))
            valid = (norm > 0) & (norm < _INFINITY)
            norm = norm.where(valid, 1.0)
            new = torch.where(valid.unsqueeze(1), new / norm.unsqueeze(1), 0.0)
            offset = torch.where(valid, offset / norm, -_INFINITY)
        ages, rival = state["ages"] + 1, trial.rival.unsqueeze(1)
        same = owners == rival
        cosines = torch.bmm(new.unsqueeze(1), normals.transpose(1, 2)).squeeze(1)
        parallel = same & (offsets.abs() < _INFINITY) & (cosines > _PARALLEL)
        worth = (1e3 * (u <= 0)).masked_fill(offsets.isinf(), 1e6)
        slot = torch.where(parallel, 1e7 * cosines, worth + ages).argmax(1)
        rows = torch.arange(len(slot), device=slot.device)
        normals[rows, slot] = new
        slot = slot.unsqueeze(1)
        inherited = (u * same).sum(1, keepdim=True)
        return _Cuts(
            normals,
            state["scales"].scatter(1, slot, norm.unsqueeze(1)),
            offsets.scatter(1, slot, offset.unsqueeze(1)),
            owners.scatter(1, slot, rival),
            ages.scatter_(1, slot, 0.0),
            u.masked_fill(same, 0).scatter_(1, slot, inherited),
        )

    def _corrected(self, cuts: _Cuts, state: State, best: _Best, active: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (R, K), corrected by the logits at the best point; and how far that is beyond the nearest linearised
        boundary (R,), as a share of its distance from the image.

        There the true margin over every rival is known. The newest cut of a rival that predicts a smaller margin is
        moved to agree with it. An older cut that is wrong by much is dropped, because the boundary is not concave
        there. A finished row has no cut, so that nothing is solved for it.
        """
        normals, scales, offsets, owners, ages, _ = cuts
        logits, r = best.logits, best.point - state["x0"]
        gaps = (logits.gather(1, state["target"].unsqueeze(1)) - logits.gather(1, owners)) / scales
        along = torch.bmm(r.unsqueeze(1), normals.transpose(1, 2)).squeeze(1)
        beyond = gaps.masked_fill(offsets == -_INFINITY, _INFINITY).amin(1) / best.l2
        far = gaps - (along - offsets) > _LOOSE * best.l2.unsqueeze(1)
        drop = ~active.unsqueeze(1)
        if not surely_none(far):
            rivalry = (owners.unsqueeze(2) == owners.unsqueeze(1)) & (offsets.abs() < _INFINITY).unsqueeze(1)
            drop = drop | (far & (rivalry & (ages.unsqueeze(1) < ages.unsqueeze(2))).any(2))
        return torch.minimum(offsets, along - gaps).masked_fill_(drop, -_INFINITY), beyond
