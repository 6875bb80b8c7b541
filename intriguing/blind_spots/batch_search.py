"""The search of one batch of images that fits in memory: from the clean logits to the confirmed results."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intriguing.basics.precision import full_precision, without_denormals
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.lbfgs import dot
from intriguing.blind_spots.arithmetic.objective import cross_entropy, standing
from intriguing.blind_spots.arithmetic.steepness import mended
from intriguing.blind_spots.grades import GRADES
from intriguing.blind_spots.network.evaluate import MASKED, Evaluator
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.outcome.certified import Certifier
from intriguing.blind_spots.outcome.confirmation import Confirmed, confirm, drawn_back
from intriguing.blind_spots.outcome.quantisation import Grid, on_grid
from intriguing.blind_spots.outcome.result import SearchResult
from intriguing.blind_spots.outcome.verifier import Verifier
from intriguing.blind_spots.row_search import ALIGNED, search_rows
from intriguing.blind_spots.solvers.linear import Affinity, optima
from intriguing.blind_spots.solvers.loop import State
from intriguing.blind_spots.starts.further_starts import Pool
from intriguing.blind_spots.starts.race import candidates
from intriguing.models.logits import floor_of

EVERY = "every"
_NAN = float("nan")
_EXCLUDED = (
    "The model gives the wanted class the logit minus infinity (or one below -1e30) at the image, so it was not "
    "searched: no gradient leads there."
)
_UNGUIDED = (
    "Every gradient that the search met is zero: this is the boundary on the way to one of the starts, no minimum."
)


@dataclass(frozen=True)
class _Outcome:
    """The best row of each example, per example (B,)."""

    success: Tensor
    best: Tensor
    """(B, n)"""
    penalty: Tensor
    broken: Tensor
    blind: Tensor
    lowered: Tensor
    """The paper's procedure: whether a step lowered its objective."""
    mute: Tensor
    """The paper's procedure: whether it met a logit or a gradient that is not finite."""
    least_penalty: Tensor
    """The paper's procedure: the smallest c that it tried; infinite for other grades."""
    searched: Tensor
    """Whether a class was searched: all but those that the model itself excludes."""


@dataclass(frozen=True)
class Problem:
    """What all batches of one search have in common."""

    evaluator: Evaluator
    options: SearchOptions
    box: Box
    every: bool
    """Whether every wrong class is searched and the nearest one kept."""
    affinity: Affinity | None
    """The map of a linear model that is solved exactly; None: it is searched."""
    pool: Pool | None = None
    """Images from which searches may start."""
    certifier: Certifier | None = None
    """What excludes classes during the search, where bounds are asked for."""


class BatchSearch:
    """The search of images (B, *shape); labels, bad_input, targets: (B,), targets None for any wrong class."""

    def __init__(
        self, problem: Problem, images: Tensor, bad_input: Tensor, labels: Tensor, targets: Tensor | None
    ) -> None:
        self.evaluator = problem.evaluator
        self.options = problem.options
        self.grade = GRADES[problem.options.grade]
        self.box = problem.box
        self.images = images
        self.bad_input = bad_input
        self.labels = labels
        self.targets = targets
        self.every = problem.every
        self.affinity = problem.affinity
        self.pool = problem.pool
        self.certifier = problem.certifier
        self.x0 = self.box.inside(images.flatten(1))
        self.classes = torch.arange(self.evaluator.classes, device=images.device)
        self.lower_bound = torch.full_like(self.x0[:, 0], torch.inf)
        zero = torch.zeros_like(labels)
        self.passes = {"forward": zero, "backward": zero.clone()}

    def result(self) -> SearchResult:
        """Run the search."""
        with full_precision():
            usable = ~self.bad_input
            clean = self.evaluator.forward(self.x0, usable)
            self.passes["forward"] += usable
            bad_output = usable & ~clean.isfinite().all(1)
            outputs = clean
            if self.evaluator.conduct and self.evaluator.conduct.probabilities:
                outputs = self.evaluator.outputs(self.x0, usable)
                self.passes["forward"] += usable
            prediction = outputs.argmax(1)
            wrong = prediction != self.labels if self.targets is None else prediction == self.targets
            misclassified = usable & ~bad_output & wrong
            saturated = self._saturated(clean)
            with without_denormals():
                outcome = self._searched(self._rows(clean, (usable & ~bad_output & ~wrong).nonzero().squeeze(1)))
                if self.options.quantised_levels:
                    outcome = self._quantised(outcome, self.options.quantised_levels)
        confirmed = self._confirmed(outcome, clean, outputs)
        success = outcome.success & ~confirmed.unstable
        r = torch.where(success[:, None], confirmed.best - self.x0, torch.zeros_like(self.x0))
        penalty = outcome.penalty
        if self.grade.recipe is not None and bool(success.any()):
            with full_precision(), without_denormals():
                penalty = self._penalty(confirmed.best, r, success)
        clean_prediction = torch.where(usable & ~bad_output, prediction, -1)
        status = self._status(
            misclassified, success, bad_output | outcome.broken, confirmed.unstable, outcome.blind | saturated
        )
        result = self._assembled(status, r, confirmed, success, misclassified, penalty, clean_prediction)
        return replace(result, reasons=self._reasons(status, outcome, clean))

    def _saturated(self, clean: Tensor) -> Tensor:
        """Images (B,) where the probability of every goal is rounded to 0, so that it has no gradient."""
        if not (self.evaluator.conduct and self.evaluator.conduct.probabilities):
            return torch.zeros_like(self.bad_input)
        goals, _ = self._masks()
        return clean.masked_fill(~goals, -torch.inf).amax(1) == floor_of(clean)

    def _masks(self) -> tuple[Tensor, Tensor]:
        """Masks (B, C): the classes to reach (goals), and their rivals."""
        if self.targets is not None:
            goals = self.classes == self.targets[:, None]
            return goals, ~goals
        rivals = self.classes == self.labels[:, None]
        return ~rivals, rivals

    def _rows(self, clean: Tensor, examples: Tensor) -> State:
        """The inputs of the rows, one per example and class to search. examples: (E,) indices; clean: (B, C) logits."""
        labels = self.labels[examples]
        if self.targets is not None:
            target = self.targets[examples]
            owner = examples
            rivals = self.classes != target[:, None]
        else:
            near = self._near(clean, examples, labels)
            owner = examples.repeat_interleave(near.shape[1])
            target = near.flatten()
            rivals = self.classes == self.labels[owner][:, None]
        together = self.targets is None and not self.every and not self.grade.separate and self.affinity is None
        goals = ~rivals if together else self.classes == target[:, None]
        # A class whose logit is minus infinity is excluded by the model: no change of the image can reach it.
        possible = ((clean[owner] > MASKED) & goals).any(1)
        rows = {"owner": owner, "target": target, "rivals": rivals, "goals": goals, "x0": self.x0[owner]}
        return rows if bool(possible.all()) else {name: value[possible] for name, value in rows.items()}

    def _near(self, clean: Tensor, examples: Tensor, labels: Tensor) -> Tensor:
        """The wrong classes (E, K) that an untargeted search of each example tries."""
        count = len(self.classes)
        everyone = self.every or self.affinity is not None
        if everyone or (self.grade.separate and self.options.classes >= count - 1):
            return (labels[:, None] + 1 + self.classes[: count - 1]) % count
        if not self.grade.separate or len(examples) == 0:
            # All wrong classes are goals of one row; `target` is any one of them.
            return (labels[:, None] + 1) % count
        return candidates(labels, clean[examples], self.options.classes)

    def _searched(self, rows: State) -> _Outcome:
        """Search the rows, and keep the nearest success of each example."""
        count = len(self.x0)
        owner = rows.pop("owner")
        best, l2 = self.x0.clone(), self.x0.new_full((count,), float("inf"))
        penalty = self.x0.new_full((count,), _NAN)
        broken, blind, seeing, lowered, mute, searched = (torch.zeros_like(self.bad_input) for _ in range(6))
        searched[owner] = True
        least = torch.full_like(l2, float("inf"))
        if len(owner):
            if self.affinity is not None:
                outcome = optima(self.evaluator, rows, self.affinity, self.box, self.options.slots)
                bounds = outcome["lower_bound"].nan_to_num(torch.inf)
                self.lower_bound.scatter_reduce_(0, owner, bounds, "amin")
            else:
                options = self.options.with_(classes=len(self.classes)) if self.every else self.options
                several = len(owner) > len(owner.unique())
                excluded = self._excluded if several and self.certifier and self.certifier.prunes else None
                outcome = search_rows(self.evaluator, options, self.box, rows, owner, self.pool, excluded)
            for name in ("forward", "backward"):
                self.passes[name].index_add_(0, owner, outcome[name])
            broken.index_fill_(0, owner[outcome["broken"]], True)
            blind.index_fill_(0, owner, True)
            seeing.index_fill_(0, owner[~outcome["blind"]], True)
            l2.scatter_reduce_(0, owner, outcome["best_l2"], "amin")
            winners = outcome["best_l2"].isfinite() & (outcome["best_l2"] == l2[owner])
            index = owner[winners].flip(0)
            best[index] = outcome["best"][winners].flip(0)
            if "best_penalty" in outcome:
                lowered.index_fill_(0, owner[outcome["lowered"]], True)
                mute.index_fill_(0, owner[outcome["mute"]], True)
                least.scatter_reduce_(0, owner, outcome["least_penalty"], "amin")
                penalty[index] = outcome["best_penalty"][winners].flip(0)
        blind &= ~seeing
        return _Outcome(l2.isfinite(), self.box.clamp(best), penalty, broken, blind, lowered, mute, least, searched)

    def _excluded(self, found: Tensor) -> Tensor:
        """Mask (E, C) of the classes that are proven to be no nearer than `found` (E,), for the first E images."""
        assert self.certifier is not None
        return self.certifier.excluded(self.x0[: len(found)], self.labels[: len(found)], found)

    def _quantised(self, outcome: _Outcome, levels: int) -> _Outcome:
        """The successes, moved to a grid of levels."""
        index = outcome.success.nonzero().squeeze(1)
        if len(index) == 0:
            return outcome
        x0, box = self.box.padded(self.x0[index], ALIGNED)
        start, _ = self.box.padded(outcome.best[index], ALIGNED)
        goals, rivals = (mask[index] for mask in self._masks())
        done = on_grid(self.evaluator, Grid(levels, box), x0, start, goals, rivals, self.options.slots)
        self.passes["forward"][index] += done.forward
        self.passes["backward"][index] += done.backward
        best, success = outcome.best.clone(), outcome.success.clone()
        best[index], success[index] = done.best[:, : self.evaluator.size], done.success
        return replace(outcome, success=success, best=best)

    def _confirmed(self, outcome: _Outcome, clean: Tensor, outputs: Tensor) -> Confirmed:
        """The successes that the model confirms on each image alone. clean, outputs: (B, C) of the images."""
        levels = self.options.quantised_levels
        grid = Grid(levels, self.box) if levels else None
        verifier = Verifier.of(self.evaluator, self.labels, self.targets)
        confirmed = confirm(verifier, self.box, self.x0, outcome.best, outcome.success, outputs, grid)
        if grid is None:
            there = standing(clean, *self._masks())
            coarseness = (there.slack / there.gap.abs()).where(outcome.success & ~confirmed.unstable, 0.0)
            # The paper's procedure ends where its last minimisation does.
            far = outputs if self.grade.recipe else None
            confirmed = drawn_back(verifier, self.box, self.x0, confirmed, coarseness, far)
        self.passes["forward"] += confirmed.forward
        return confirmed

    def _penalty(self, best: Tensor, r: Tensor, success: Tensor) -> Tensor:
        """The c (B,) at which loss + c |r|^2 (or c |r|) is stationary along the change r (B, n) of the result."""
        goals, rivals = self._masks()
        _, _, slope = self.evaluator.gradient(best, lambda z, s: cross_entropy(z, goals[s], rivals[s]), success)
        slope, _ = mended(slope)
        for kind in self.passes.values():
            kind += success
        pull = 2 * dot(r, r) if self.options.penalty_form == "squared_l2" else dot(r, r).sqrt()
        return (-dot(slope, r)).clamp(min=0) / pull

    def _status(
        self, misclassified: Tensor, success: Tensor, broken: Tensor, unstable: Tensor, blind: Tensor
    ) -> list[str]:
        """Per example, the first of these statuses whose mask is true, else not_found."""
        cases = {
            "bad_input": self.bad_input,
            "misclassified": misclassified,
            "found": success,
            "bad_output": broken,
            "unstable": unstable,
            "no_gradient": blind,
        }
        columns = [mask.tolist() for mask in cases.values()]
        names = [*cases, "not_found"]
        return [names[row.index(True) if True in row else -1] for row in zip(*columns, strict=True)]

    def _reasons(self, status: list[str], outcome: _Outcome, clean: Tensor) -> list[str]:
        """Per example that was not found, had no sound output, or was found without a gradient, what the search met;
        else an empty string. clean: (B, C) logits at the images.
        """
        passes = zip(self.passes["forward"].tolist(), self.passes["backward"].tolist(), strict=True)
        facts = zip(
            outcome.lowered.tolist(), outcome.mute.tolist(), outcome.least_penalty.tolist(), passes, strict=True
        )
        met = zip(status, facts, outcome.searched.tolist(), outcome.blind.tolist(), clean.cpu(), strict=True)
        reasons = []
        for s, fact, searched, blind, logits in met:
            if s == "not_found":
                reasons.append(_reason(self.grade.recipe is None, *fact) if searched else _EXCLUDED)
            elif s == "bad_output":
                reasons.append(_unsound(logits))
            else:
                reasons.append(_UNGUIDED if s == "found" and blind else "")
        return reasons

    def _assembled(
        self,
        status: list[str],
        r: Tensor,
        confirmed: Confirmed,
        success: Tensor,
        misclassified: Tensor,
        penalty: Tensor,
        clean_prediction: Tensor,
    ) -> SearchResult:
        has_result = success | misclassified
        blank = r.new_tensor(_NAN)
        l2 = torch.where(has_result, torch.linalg.vector_norm(r, dim=1), blank)
        prediction = torch.where(success, confirmed.prediction, clean_prediction)
        out = self.images.clone()
        out[success] = confirmed.best.reshape(out.shape)[success]
        out[misclassified] = self.x0.reshape(out.shape)[misclassified]
        target = self.targets if self.targets is not None else torch.where(has_result, prediction, -1)
        return SearchResult(
            status=status,
            adversarial=out,
            prediction=torch.where(self.bad_input, -1, prediction),
            clean_prediction=clean_prediction,
            target=target,
            l2=l2,
            distortion=l2 / max(1, self.x0.shape[1]) ** 0.5,
            linf=torch.where(has_result, r.abs().amax(1) if r.numel() else l2, blank),
            penalty=torch.where(success, penalty, blank),
            forward_passes=self.passes["forward"],
            backward_passes=self.passes["backward"],
            lower_bound=torch.where(success & self.lower_bound.isfinite(), self.lower_bound, blank),
        )


def _reason(paper: bool, lowered: bool, mute: bool, least: float, passes: tuple[int, int]) -> str:
    """Why an example was not found. lowered, mute, least: as in `_Outcome`; passes: forward and backward."""
    if not paper:
        return f"No start came to the wanted class, in {passes[0]} forward and {passes[1]} backward passes."
    if lowered:
        reason = f"No minimiser of loss plus penalty has the wanted class, down to c = {least:.3g}."
    else:
        reason = "No step lowered the loss plus penalty: the loss is flat around the image, or its gradient misleads."
    return reason + (" On the way were logits or gradients that are not finite." if mute else "")


def _unsound(logits: Tensor) -> str:
    """What is wrong with the logits (C,) of an image, or with their gradient where all of them are finite."""
    classes = (~logits.isfinite()).nonzero().squeeze(1).tolist()
    if not classes:
        return "At the image each slope of the logits is NaN or zero, and at least one is NaN."
    named = ", ".join(f"{k} ({float(logits[k]):g})" for k in classes[:3])
    more = f" and {len(classes) - 3} more" if len(classes) > 3 else ""
    return f"At the image the logits of these classes are not finite: {named}{more}."
