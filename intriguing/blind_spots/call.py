"""One round of a search: images that are in memory together, from their clean logits to the confirmed results."""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Box
from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import MASKED, Evaluator, full_precision
from intriguing.blind_spots.final import Judge, Settled, settle
from intriguing.blind_spots.grades import GRADES
from intriguing.blind_spots.grid import Grid, on_grid
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.linear import optima
from intriguing.blind_spots.objective import cross_entropy
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.rank import nearest_classes
from intriguing.blind_spots.result import SearchResult
from intriguing.blind_spots.rows import ALIGNED, search_rows
from intriguing.models.logits import floor_of

EVERY = "every"
_NAN = float("nan")


@dataclass(frozen=True)
class _Found:
    """What the rows of the examples came to, per example (B,)."""

    found: Tensor
    best: Tensor
    """(B, n)"""
    penalty: Tensor
    broken: Tensor
    blind: Tensor


class Call:
    """Images (B, *shape) that are searched together; per-example figures are filled stage by stage."""

    def __init__(
        self,
        evaluator: Evaluator,
        options: SearchOptions,
        box: Box,
        images: Tensor,
        bad_input: Tensor,
        labels: Tensor,
        wanted: Tensor | None,
        every: bool,
        affinity: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.evaluator = evaluator
        self.options = options
        self.grade = GRADES[options.grade]
        self.box = box
        self.images = images
        self.bad_input = bad_input
        self.labels = labels
        self.wanted = wanted
        self.every = every
        self.affinity = affinity
        self.x0 = box.inside(images.flatten(1))
        self.classes = torch.arange(evaluator.classes, device=images.device)
        self.lower_bound = torch.full_like(self.x0[:, 0], torch.inf)
        zero = torch.zeros_like(labels)
        self.passes = {"forward": zero, "backward": zero.clone()}

    def result(self) -> SearchResult:
        """Run the search."""
        with full_precision():
            clean = self.evaluator.forward(self.x0)
            usable = ~self.bad_input
            self.passes["forward"] += usable
            bad_output = usable & ~clean.isfinite().all(1)
            prediction = clean.argmax(1)
            if self.evaluator.conduct and self.evaluator.conduct.probabilities:
                prediction = self.evaluator.outputs(self.x0).argmax(1)
                self.passes["forward"] += usable
            wrong = prediction != self.labels if self.wanted is None else prediction == self.wanted
            already = usable & ~bad_output & wrong
            ended = self._searched(self._rows(clean, (usable & ~bad_output & ~wrong).nonzero().squeeze(1)))
            saturated = self._saturated(clean)
            if self.options.quantised_levels:
                ended = self._quantised(ended, self.options.quantised_levels)
        settled = self._settled(ended)
        found = ended.found & ~settled.unstable
        r = torch.where(found[:, None], settled.best - self.x0, torch.zeros_like(self.x0))
        penalty = ended.penalty
        if self.grade.recipe is not None and bool(found.any()):
            with full_precision():
                penalty = self._penalty(settled.best, r, found)
        clean_prediction = torch.where(usable & ~bad_output, prediction, -1)
        status = self._status(already, found, bad_output | ended.broken, settled.unstable, ended.blind | saturated)
        return self._assembled(status, r, settled, found, already, penalty, clean_prediction)

    def _saturated(self, clean: Tensor) -> Tensor:
        """Which images (B,) have a probability of the wanted classes that rounds to 0, whose slope is lost."""
        if not (self.evaluator.conduct and self.evaluator.conduct.probabilities):
            return torch.zeros_like(self.bad_input)
        wanted, _ = self._masks()
        return clean.masked_fill(~wanted, -torch.inf).amax(1) == floor_of(clean)

    def _masks(self) -> tuple[Tensor, Tensor]:
        """The classes (B, C) to reach, and their rivals."""
        if self.wanted is not None:
            wanted = self.classes == self.wanted[:, None]
            return wanted, ~wanted
        rivals = self.classes == self.labels[:, None]
        return ~rivals, rivals

    def _rows(self, clean: Tensor, examples: Tensor) -> State:
        """One row per example and class to search: the class, its rivals, the image."""
        x0, labels = self.x0[examples], self.labels[examples]
        if self.wanted is not None:
            target = self.wanted[examples]
            owner = examples
            rivals = self.classes != target[:, None]
        else:
            near = self._near(clean, examples, x0, labels)
            owner = examples.repeat_interleave(near.shape[1])
            target = near.flatten()
            rivals = self.classes == self.labels[owner][:, None]
        together = self.wanted is None and not self.every and not self.grade.separate and self.affinity is None
        wanted = ~rivals if together else self.classes == target[:, None]
        # A class whose logit is minus infinity is ruled out by the model: no change brings it back.
        possible = ((clean[owner] > MASKED) & wanted).any(1)
        rows = {"owner": owner, "target": target, "rivals": rivals, "wanted": wanted, "x0": self.x0[owner]}
        return rows if bool(possible.all()) else {name: value[possible] for name, value in rows.items()}

    def _near(self, clean: Tensor, examples: Tensor, x0: Tensor, labels: Tensor) -> Tensor:
        """The wrong classes (E, K) that an untargeted search of each example tries."""
        count = len(self.classes)
        everyone = self.every or self.affinity is not None
        if everyone or (self.grade.separate and self.options.classes >= count - 1):
            return (labels[:, None] + 1 + self.classes[: count - 1]) % count
        if not self.grade.separate or len(examples) == 0:
            # All wrong classes are wanted together; the class held here stands for them.
            return (labels[:, None] + 1) % count
        near, spent = nearest_classes(self.evaluator, x0, labels, clean[examples], self.options.classes, *self.box.pair)
        for kind in self.passes.values():
            kind[examples] += spent
        return near

    def _searched(self, rows: State) -> _Found:
        """Search the rows, and keep the nearest success of each example."""
        count = len(self.x0)
        owner = rows.pop("owner")
        best, l2 = self.x0.clone(), self.x0.new_full((count,), float("inf"))
        penalty = self.x0.new_full((count,), _NAN)
        broken, blind, seeing = (torch.zeros_like(self.bad_input) for _ in range(3))
        if len(owner):
            if self.affinity is not None:
                ended = optima(self.evaluator, rows, self.affinity, self.box, self.options.slots)
                bounds = ended["lower_bound"].nan_to_num(torch.inf)
                self.lower_bound.scatter_reduce_(0, owner, bounds, "amin")
            else:
                ended = search_rows(self.evaluator, self.options, self.box, rows, owner)
            for name in ("forward", "backward"):
                self.passes[name].index_add_(0, owner, ended[name])
            broken.index_fill_(0, owner[ended["broken"]], True)
            blind.index_fill_(0, owner, True)
            seeing.index_fill_(0, owner[~ended["blind"]], True)
            l2.scatter_reduce_(0, owner, ended["best_l2"], "amin")
            winners = ended["best_l2"].isfinite() & (ended["best_l2"] == l2[owner])
            index = owner[winners].flip(0)
            best[index] = ended["best"][winners].flip(0)
            if "best_penalty" in ended:
                penalty[index] = ended["best_penalty"][winners].flip(0)
        return _Found(l2.isfinite(), self.box.clamp(best), penalty, broken, blind & ~seeing)

    def _quantised(self, ended: _Found, levels: int) -> _Found:
        """The successes, brought to a grid of levels."""
        index = ended.found.nonzero().squeeze(1)
        if len(index) == 0:
            return ended
        x0, box = self.box.padded(self.x0[index], ALIGNED)
        start, _ = self.box.padded(ended.best[index], ALIGNED)
        wanted, rivals = (mask[index] for mask in self._masks())
        done = on_grid(self.evaluator, Grid(levels, box), x0, start, wanted, rivals, self.options.slots)
        self.passes["forward"][index] += done.forward
        self.passes["backward"][index] += done.backward
        best, found = ended.best.clone(), ended.found.clone()
        best[index], found[index] = done.best[:, : self.evaluator.size], done.found
        return _Found(found, best, ended.penalty, ended.broken, ended.blind)

    def _settled(self, ended: _Found) -> Settled:
        """The successes, confirmed by the model fed with each image alone."""
        levels = self.options.quantised_levels
        grid = Grid(levels, self.box) if levels else None
        judge = Judge(self.evaluator, self.labels, self.wanted)
        settled = settle(judge, self.box, self.x0, ended.best, ended.found, grid)
        self.passes["forward"] += settled.forward
        return settled

    def _penalty(self, best: Tensor, r: Tensor, found: Tensor) -> Tensor:
        """The c (B,) at which loss + c |r|^2 (or c |r|) is stationary along the change r (B, n) that was found."""
        wanted, rivals = self._masks()
        _, _, slope = self.evaluator.gradient(best, lambda z, s: cross_entropy(z, wanted[s], rivals[s]))
        for kind in self.passes.values():
            kind += found
        pull = 2 * dot(r, r) if self.options.penalty_form == "squared_l2" else dot(r, r).sqrt()
        return (-dot(slope, r)).clamp(min=0) / pull

    def _status(self, already: Tensor, found: Tensor, broken: Tensor, unstable: Tensor, blind: Tensor) -> list[str]:
        """The first of these that holds, else not_found."""
        cases = {
            "bad_input": self.bad_input,
            "misclassified": already,
            "found": found,
            "bad_output": broken,
            "unstable": unstable,
            "no_gradient": blind,
        }
        columns = [mask.tolist() for mask in cases.values()]
        names = [*cases, "not_found"]
        return [names[row.index(True) if True in row else -1] for row in zip(*columns, strict=True)]

    def _assembled(
        self,
        status: list[str],
        r: Tensor,
        settled: Settled,
        found: Tensor,
        already: Tensor,
        penalty: Tensor,
        clean_prediction: Tensor,
    ) -> SearchResult:
        known = found | already
        blank = r.new_tensor(_NAN)
        l2 = torch.where(known, torch.linalg.vector_norm(r, dim=1), blank)
        prediction = torch.where(found, settled.prediction, clean_prediction)
        out = self.images.clone()
        out[found] = settled.best.reshape(out.shape)[found]
        out[already] = self.x0.reshape(out.shape)[already]
        target = self.wanted if self.wanted is not None else torch.where(known, prediction, -1)
        return SearchResult(
            status=status,
            adversarial=out,
            prediction=torch.where(self.bad_input, -1, prediction),
            clean_prediction=clean_prediction,
            target=target,
            l2=l2,
            distortion=l2 / max(1, self.x0.shape[1]) ** 0.5,
            linf=torch.where(known, r.abs().amax(1) if r.numel() else l2, blank),
            penalty=torch.where(found, penalty, blank),
            forward_passes=self.passes["forward"],
            backward_passes=self.passes["backward"],
            lower_bound=torch.where(found & self.lower_bound.isfinite(), self.lower_bound, blank),
        )
