"""The search of all rows by the recipe of a grade: which solvers run, and in which order."""

from math import log

import torch
from torch import Tensor

from intriguing.blind_spots.boundary import BoundaryFinish
from intriguing.blind_spots.box import Box
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.grades import GRADES, Recipe
from intriguing.blind_spots.loop import Layout, State, run
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.penalty import PenaltySearch
from intriguing.blind_spots.penalty_schedule import Bracketing, Truncated
from intriguing.blind_spots.primal_dual import PrimalDual
from intriguing.blind_spots.race import raced

_INFINITY = float("inf")
ALIGNED = 16
"""The length of a row is padded to a multiple of this, because unaligned rows of a product may be rounded
differently."""
_UNSETTLED = 1.25
"""If the finish shortens the distance of a start by more than this factor, the start had not converged, which happens
where the network is saturated; another start follows."""


_PATIENT = {"ticks": 120, "first": 5.0, "last": 0.02, "mean": 0.9, "inertia": 0.8, "dual": log(10), "patient": True}
"""Options of the last start, for rows without a success so far."""


def search_rows(evaluator: Evaluator, options: SearchOptions, box: Box, rows: State, owner: Tensor) -> State:
    """Search all `rows`; owner (R,) is the example of each row, and the nearest row of an example is its result.

    Returns per row: best (R, n); best_l2 (R,), infinite without a success; forward and backward passes (R,); broken
    (R,), an output or gradient was not finite; blind (R,), every gradient was zero; for the paper's procedure also
    best_penalty (R,).
    """
    # The padding lies at a bound and has no gradient, so it never changes.
    x0, padded = box.padded(rows["x0"], ALIGNED)
    search = _RowSearch(evaluator, options, padded, rows | {"x0": x0}, owner)
    recipe = GRADES[options.grade].recipe
    outcome = search.paper_procedure() if recipe is None else search.by_recipe(recipe, box.root_mean_square())
    return outcome | {"best": outcome["best"][:, : evaluator.size]}


class _RowSearch:
    """The rows and the best result of each so far (`outcome`)."""

    def __init__(self, evaluator: Evaluator, options: SearchOptions, box: Box, rows: State, owner: Tensor) -> None:
        self.evaluator = evaluator
        self.options = options
        self.layout = Layout.of(options.slots, evaluator.blocks, rows["x0"].shape[1])
        self.rows = rows
        self.owner = owner
        self.box = box.pair
        self.outcome: State = {}

    def paper_procedure(self) -> State:
        """The paper's procedure and nothing else (section 4.1)."""
        schedule = Bracketing(self.options.penalty_tolerance)
        return self._run(PenaltySearch(self.evaluator, *self.box, schedule, self.options.penalty_form), self.rows)

    def by_recipe(self, recipe: Recipe, width: float) -> State:
        """One start for all rows and a finish for the near ones, then second starts.

        width: of the box, as a root mean square over its values. The nearest row of an example is finished first. Its
        distance is the bar for the example's other rows: they end early when they cannot come below it.
        """
        first = PrimalDual(self.evaluator, *self.box, recipe.ticks, width=width)
        cuts = recipe.race if int(self.owner.bincount().max()) > self.options.classes else ()
        self.outcome, through = raced(self._run, first, self.rows, self.owner, cuts, self.options.classes)
        started = torch.where(through, self.outcome["best_l2"], _INFINITY)
        nearest = self._first(started)
        self._finish(nearest, recipe)
        near = started.isfinite() & (started <= recipe.near * self._least(started))
        near[nearest] = False
        self._finish(near.nonzero().squeeze(1), recipe, bar=True)
        nearest = self._first(self.outcome["best_l2"])
        unsettled = started[nearest] > _UNSETTLED * self.outcome["best_l2"][nearest]
        several = self.rows["goals"][nearest].sum(1) > 1
        for ticks, which in ((recipe.calmer, ~several), (recipe.elsewhere, several)):
            if ticks:
                calmer = PrimalDual(self.evaluator, *self.box, ticks, first=2.0, last=0.5, width=width)
                self._again(calmer, nearest[which & ~unsettled], recipe, elsewhere=True)
        lost = self._least(started).isinf() & ~self.outcome["broken"]
        lost[nearest[unsettled]] = True
        penalised = PenaltySearch(self.evaluator, *self.box, Truncated(recipe.penalised))
        self._again(penalised, lost.nonzero().squeeze(1), recipe)
        lost = self._least(self.outcome["best_l2"]).isinf() & ~self.outcome["broken"]
        self._again(PrimalDual(self.evaluator, *self.box, **_PATIENT, width=width), lost.nonzero().squeeze(1), recipe)
        return self.outcome

    def _run(self, solver: PenaltySearch | BoundaryFinish | PrimalDual, rows: State) -> State:
        return run(solver, rows, self.layout)

    def _least(self, l2: Tensor) -> Tensor:
        """Per row, the smallest `l2` (R,) of its example."""
        least = l2.new_full((int(self.owner.max()) + 1,), _INFINITY)
        return least.scatter_reduce(0, self.owner, l2, "amin")[self.owner]

    def _first(self, l2: Tensor) -> Tensor:
        """Indices of one row per example, that of the smallest `l2` (R,); none for an example without a finite one."""
        index = (l2.isfinite() & (l2 == self._least(l2))).nonzero().squeeze(1)
        order = torch.arange(len(index), device=index.device)
        earliest = order.new_full((int(self.owner.max()) + 1,), len(index))
        earliest = earliest.scatter_reduce(0, self.owner[index], order, "amin")
        return index[earliest[self.owner[index]] == order]

    def _again(self, start: PenaltySearch | PrimalDual, index: Tensor, recipe: Recipe, elsewhere: bool = False) -> None:
        """Another start for the rows of `index`, and a finish for those that find a success.

        elsewhere: a row with several goals does not search again for the class that it has reached already.
        """
        if len(index) == 0:
            return
        inputs = {name: value[index] for name, value in self.rows.items()}
        if elsewhere:
            others = inputs["goals"].scatter(1, self.outcome["best_class"][index][:, None], False)
            inputs["goals"] = torch.where(others.any(1, keepdim=True), others, inputs["goals"])
        outcome = self._run(start, inputs)
        for name in ("forward", "backward"):
            self.outcome[name][index] += outcome[name]
        self.outcome["blind"][index] &= outcome["blind"]
        won = outcome["best_l2"].isfinite().nonzero().squeeze(1)
        self._finish(index[won], recipe, bar=True, start={name: outcome[name][won] for name in ("best", "best_class")})

    def _finish(self, index: Tensor, recipe: Recipe, bar: bool = False, start: State | None = None) -> None:
        """Finish the rows of `index` from `start` (default: their best points), and keep the results that are nearer.

        bar: a row ends early when it cannot come below the distance that its example has reached.
        """
        if len(index) == 0:
            return
        solver = BoundaryFinish(self.evaluator, *self.box, steps=recipe.steps)
        start = start or {name: self.outcome[name][index] for name in ("best", "best_class")}
        inputs = {name: self.rows[name][index] for name in ("x0", "rivals")}
        inputs |= {"best": start["best"], "target": start["best_class"]}
        if bar:
            inputs["bar"] = self._least(self.outcome["best_l2"])[index]
        new = self._run(solver, inputs)
        better = new["best_l2"] < self.outcome["best_l2"][index]
        for name in ("best", "best_l2"):
            self.outcome[name][index[better]] = new[name][better]
        for name in ("forward", "backward"):
            self.outcome[name][index] += new[name]
