"""What a grade does with its rows: which stages, and in which order."""

from math import log

import torch
from torch import Tensor

from intriguing.blind_spots.boundary import BoundaryFinish
from intriguing.blind_spots.box import Box
from intriguing.blind_spots.engine import State, run
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.grades import GRADES, Recipe
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.penalty import PenaltySearch
from intriguing.blind_spots.primal_dual import PrimalDual
from intriguing.blind_spots.schedule import Bracketing, Truncated

_INFINITY = float("inf")
ALIGNED = 16
"""Rows are filled up to a multiple of so many values: products may be rounded otherwise where memory is not aligned."""
_UNSETTLED = 1.25
"""A start that the finish shortens by more than this factor had not come to rest: a saturated network held it up."""


_PATIENT = {"ticks": 120, "first": 5.0, "last": 0.02, "mean": 0.9, "inertia": 0.8, "dual": log(10), "patient": True}
"""The last start, of rows that have still met no success."""


def search_rows(evaluator: Evaluator, options: SearchOptions, box: Box, rows: State, owner: Tensor) -> State:
    """Search all `rows`; `owner` (R,) says which rows belong to one example, of which the nearest counts.

    Returns, per row, best (R, n), best_l2 (inf without a success), forward, backward, broken, blind (every gradient was
    zero); of the paper's procedure best_penalty.
    """
    # What is filled in stands at a bound and has no gradient, so it never moves.
    x0, padded = box.padded(rows["x0"], ALIGNED)
    search = _Rows(evaluator, options, padded, rows | {"x0": x0}, owner)
    recipe = GRADES[options.grade].recipe
    ended = search.papers() if recipe is None else search.searched(recipe, box.root_mean_square())
    return ended | {"best": ended["best"][:, : evaluator.size]}


class _Rows:
    def __init__(self, evaluator: Evaluator, options: SearchOptions, box: Box, rows: State, owner: Tensor) -> None:
        self.evaluator = evaluator
        self.options = options
        self.rows = rows
        self.owner = owner
        self.box = box.pair
        self.ended: State = {}

    def papers(self) -> State:
        """The paper's procedure and nothing else."""
        schedule = Bracketing(self.options.penalty_tolerance)
        return self._run(PenaltySearch(self.evaluator, *self.box, schedule, self.options.penalty_form), self.rows)

    def searched(self, recipe: Recipe, width: float) -> State:
        """The start of all rows and the finish of those in question, then the second start of the nearest.

        `width`: of the box, in root mean square. The nearest row of an example is finished first; the distance that it
        reaches is the bar for all others.
        """
        self.ended = self._run(PrimalDual(self.evaluator, *self.box, recipe.ticks, width=width), self.rows)
        started = self.ended["best_l2"].clone()
        nearest = self._first(started)
        self._finish(nearest, recipe)
        near = started.isfinite() & (started <= recipe.near * self._least(started))
        near[nearest] = False
        self._finish(near.nonzero().squeeze(1), recipe, bar=True)
        nearest = self._first(self.ended["best_l2"])
        unsettled = started[nearest] > _UNSETTLED * self.ended["best_l2"][nearest]
        several = self.rows["wanted"][nearest].sum(1) > 1
        for ticks, which in ((recipe.calmer, ~several), (recipe.elsewhere, several)):
            if ticks:
                calmer = PrimalDual(self.evaluator, *self.box, ticks, first=2.0, last=0.5, width=width)
                self._again(calmer, nearest[which & ~unsettled], recipe, elsewhere=True)
        lost = self._least(started).isinf() & ~self.ended["broken"]
        lost[nearest[unsettled]] = True
        penalised = PenaltySearch(self.evaluator, *self.box, Truncated(recipe.penalised))
        self._again(penalised, lost.nonzero().squeeze(1), recipe)
        lost = self._least(self.ended["best_l2"]).isinf() & ~self.ended["broken"]
        self._again(PrimalDual(self.evaluator, *self.box, **_PATIENT, width=width), lost.nonzero().squeeze(1), recipe)
        return self.ended

    def _run(self, stage: PenaltySearch | BoundaryFinish | PrimalDual, rows: State) -> State:
        return run(stage, rows, self.options.slots)

    def _least(self, l2: Tensor) -> Tensor:
        """Per row, the least of its example's `l2` (R,)."""
        least = l2.new_full((int(self.owner.max()) + 1,), _INFINITY)
        return least.scatter_reduce(0, self.owner, l2, "amin")[self.owner]

    def _first(self, l2: Tensor) -> Tensor:
        """The rows with the least `l2` (R,) of each example, one each, where it is finite."""
        index = (l2.isfinite() & (l2 == self._least(l2))).nonzero().squeeze(1)
        order = torch.arange(len(index), device=index.device)
        earliest = order.new_full((int(self.owner.max()) + 1,), len(index))
        earliest = earliest.scatter_reduce(0, self.owner[index], order, "amin")
        return index[earliest[self.owner[index]] == order]

    def _again(self, start: PenaltySearch | PrimalDual, index: Tensor, recipe: Recipe, elsewhere: bool = False) -> None:
        """Another start of the rows of `index`, and the finish of what comes of it.

        elsewhere: rows that want any of several classes leave out the one that they have found.
        """
        if len(index) == 0:
            return
        given = {name: value[index] for name, value in self.rows.items()}
        if elsewhere:
            others = given["wanted"].scatter(1, self.ended["best_class"][index][:, None], False)
            given["wanted"] = torch.where(others.any(1, keepdim=True), others, given["wanted"])
        ended = self._run(start, given)
        for name in ("forward", "backward"):
            self.ended[name][index] += ended[name]
        self.ended["blind"][index] &= ended["blind"]
        won = ended["best_l2"].isfinite().nonzero().squeeze(1)
        self._finish(index[won], recipe, bar=True, start={name: ended[name][won] for name in ("best", "best_class")})

    def _finish(self, index: Tensor, recipe: Recipe, bar: bool = False, start: State | None = None) -> None:
        """Finish the rows of `index` from a `start`, by default their best points, and keep what is better.

        bar: only in so far as they promise to come below what their examples have reached.
        """
        if len(index) == 0:
            return
        stage = BoundaryFinish(self.evaluator, *self.box, steps=recipe.steps)
        start = start or {name: self.ended[name][index] for name in ("best", "best_class")}
        given = {name: self.rows[name][index] for name in ("x0", "rivals")}
        given |= {"best": start["best"], "target": start["best_class"]}
        if bar:
            given["bar"] = self._least(self.ended["best_l2"])[index]
        new = self._run(stage, given)
        better = new["best_l2"] < self.ended["best_l2"][index]
        for name in ("best", "best_l2"):
            self.ended[name][index[better]] = new[name][better]
        for name in ("forward", "backward"):
            self.ended[name][index] += new[name]
