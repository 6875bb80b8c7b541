"""What each grade does with its rows: which stages, in which order, and how long."""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.anneal import Anneal
from intriguing.blind_spots.boundary import BoundaryFinish
from intriguing.blind_spots.engine import State, run
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.penalty import PenaltySearch
from intriguing.blind_spots.schedule import Bracketing, Truncated

_INFINITY = float("inf")
_STRAIGHT = 0.866
"""Cosine of the largest turn of the gradient, 30 degrees, that a nearly linear landscape makes."""


@dataclass(frozen=True)
class Recipe:
    """How long the stages of a grade are."""

    ticks: int
    """Evaluations of the penalised start."""
    steps: int
    """Gradients of the finish, at most."""
    cuts: int
    """Linearisations that the finish keeps."""
    rugged: float
    """A row starts a second time, annealed, when its last QP still promises more than this share of its distance and
    the gradient turned by more than 30 degrees on the way from the image."""
    near: float
    """Untargeted: classes whose start ends within this factor of the nearest one are finished."""
    annealing: int = 120
    """Evaluations of the second start, which rows without a success always take."""


_RECIPES = {
    "best": Recipe(ticks=20, steps=20, cuts=8, rugged=1e-3, near=1.25),
    "fast": Recipe(ticks=22, steps=7, cuts=5, rugged=_INFINITY, near=1.0),
}


def search_rows(evaluator: Evaluator, options: SearchOptions, rows: State, owner: Tensor) -> State:
    """Search all `rows`; `owner` (R,) says which rows belong to one example, of which the nearest counts.

    Returns, per row, best (R, n), best_l2 (inf without a success), best_penalty, forward, backward, broken.
    """
    search = _Rows(evaluator, options, rows, owner)
    return search.papers() if options.grade == "faithful" else search.searched(_RECIPES[options.grade])


class _Rows:
    def __init__(self, evaluator: Evaluator, options: SearchOptions, rows: State, owner: Tensor) -> None:
        self.evaluator = evaluator
        self.options = options
        self.rows = rows
        self.owner = owner
        self.box = (options.lower, options.upper)
        self.ended: State = {}
        self.untargeted = bool(rows["rivals"].sum(1).max() == 1) and rows["rivals"].shape[1] > 2

    def _run(self, stage: PenaltySearch | BoundaryFinish | Anneal, rows: State) -> State:
        return run(stage, rows, self.options.slots, stage.evaluator.block)

    def few(self, block: int) -> Evaluator:
        """The evaluator for stages that rows leave at different times: on a CPU small blocks cost little."""
        return self.evaluator if self.rows["x0"].is_cuda else self.evaluator.of_block(block)

    def searched(self, recipe: Recipe) -> State:
        """The start of all rows, the finish of those in question, a second start for rugged and failed ones."""
        self.ended = self._run(PenaltySearch(self.evaluator, *self.box, Truncated(recipe.ticks)), self.rows)
        l2 = self.ended["best_l2"]
        self.ended |= {"promise": torch.zeros_like(l2), "normal": torch.zeros_like(self.ended["best"])}
        self._finish((l2.isfinite() & (l2 <= recipe.near * self._nearest())).nonzero().squeeze(1), recipe)
        self._again(recipe)
        return self.ended

    def papers(self) -> State:
        """The paper's procedure and nothing else."""
        schedule = Bracketing(self.options.penalty_tolerance)
        return self._run(PenaltySearch(self.evaluator, *self.box, schedule, self.options.penalty_form), self.rows)

    def _nearest(self) -> Tensor:
        """Per row, the best distance of its example."""
        l2 = self.ended["best_l2"]
        least = l2.new_full((int(self.owner.max()) + 1,), _INFINITY)
        return least.scatter_reduce(0, self.owner, l2, "amin")[self.owner]

    def _finish(self, index: Tensor, recipe: Recipe, start: State | None = None) -> None:
        """Finish the rows of `index` from a `start`, by default their best points, and keep what is better."""
        if len(index) == 0:
            return
        given = {name: value[index] for name, value in self.rows.items()}
        own = {"best": self.ended["best"][index], "target": self.ended["best_class"][index]}
        given |= own if start is None else start
        stage = BoundaryFinish(self.few(32), *self.box, steps=recipe.steps, cuts=recipe.cuts)
        self._keep(index, self._run(stage, given))

    def _keep(self, index: Tensor, new: State) -> None:
        better = new["best_l2"] < self.ended["best_l2"][index]
        for name in {"best", "best_l2", "promise", "normal"} & new.keys():
            self.ended[name][index[better]] = new[name][better]
        for name in ("forward", "backward"):
            self.ended[name][index] += new[name]

    def _again(self, recipe: Recipe) -> None:
        """The annealed start, for the nearest row of an example where that is rugged, and for all rows without any."""
        nearest = self._nearest()
        l2 = self.ended["best_l2"]
        rugged = (l2 == nearest) & l2.isfinite() & (self.ended["promise"] > recipe.rugged)
        rugged &= torch.cosine_similarity(-self.ended["first_gradient"], self.ended["normal"]) < _STRAIGHT
        index = ((rugged | nearest.isinf()) & ~self.ended["broken"]).nonzero().squeeze(1)
        if len(index) == 0:
            return
        n = self.rows["x0"].shape[1]
        blind = (self.box[1] - self.box[0]) * 0.1 * n**0.5
        scale = torch.where(l2[index].isfinite(), l2[index], torch.full_like(l2[index], blind))
        given = {name: value[index] for name, value in self.rows.items()} | {"scale": scale}
        if self.untargeted:
            given["wanted"] = ~given["rivals"]
        annealed = self._run(Anneal(self.few(16), *self.box, ticks=recipe.annealing), given)
        for name in ("forward", "backward"):
            self.ended[name][index] += annealed[name]
        won = annealed["best_l2"].isfinite().nonzero().squeeze(1)
        self._finish(index[won], recipe, {name: annealed[name][won] for name in ("best", "target")})
