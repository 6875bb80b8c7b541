"""The rows of a search and the best result of each so far: starts and finishes run, and what is nearer is kept.

Which starts, and in which order, is `row_search`'s.
"""

from itertools import groupby

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.groups import Groups
from intriguing.blind_spots.grades import Recipe
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, State, run
from intriguing.blind_spots.starts.further_starts import cosine
from intriguing.blind_spots.starts.trials import Start, Trial, parts

_GAIN = 1e-5
"""A result replaces another if it is nearer by this share, and by the rounding of its values (`RowResults.rounding`):
by less it could be farther after its confirmation."""
_ROUGH = 1e-3
"""A finish is continued if it ended before its QP predicted a gain of less than this share of the distance."""


class RowResults:
    """The rows and the best result of each so far (`outcome`); owner (R,) is the example of each row."""

    def __init__(
        self, evaluator: Evaluator, recipe: Recipe, layout: Layout, box: Box, rows: State, owner: Tensor
    ) -> None:
        self.evaluator = evaluator
        self.recipe = recipe
        self.layout = layout
        self.box = box.pair
        self.rows = rows
        self.owner = owner
        self.groups = Groups.of(owner)
        self.rounding = torch.finfo(rows["x0"].dtype).eps / 4 * rows["x0"].abs().amax(1) * evaluator.size**0.5
        """(R,) the usual rounding of an image in L2: of its own values, for a box may be far wider than they are."""
        self.outcome: State = {}
        """What `search_rows` returns; bound (R,), how near the last QP of a finish expects its row to come; and beyond
        (R,), how far its point is beyond the boundary if the margin is linear there, as a share of its distance."""

    def begin(self, outcome: State) -> None:
        """Take over what the first starts of all rows have found."""
        zero = torch.zeros_like(outcome["best_l2"])
        self.outcome = outcome | {"bound": zero, "beyond": zero.clone()}

    def nearest(self) -> Tensor:
        """Index of the nearest row of each example that has a success."""
        return self.groups.first(self.outcome["best_l2"])

    def run(self, solver: Start | BoundaryFinish, rows: State) -> State:
        """The outcome of a solver on any rows, which becomes no result yet."""
        return run(solver, rows, self.layout)

    def started(self, trials: list[Trial]) -> list[State]:
        """The rows of each trial that found a success, and where; all trials have the same solver."""
        index = torch.cat([trial.index for trial in trials])
        if len(index) == 0:
            return [self.reached(trial.index) for trial in trials]
        rows = {name: value[index] for name, value in self.rows.items()}
        rows |= {name: torch.cat([trial.inputs[name] for trial in trials]) for name in trials[0].inputs}
        outcome = self.run(trials[0].solver, rows)
        for name in ("forward", "backward"):
            self.outcome[name].index_add_(0, index, outcome[name])
        ends = []
        for trial, part in zip(trials, parts(outcome, trials), strict=True):
            self.outcome["blind"][trial.index] &= part["blind"]
            won = part["best_l2"].isfinite().nonzero().squeeze(1)
            ends.append({"index": trial.index[won], "best": part["best"][won], "best_class": part["best_class"][won]})
        return ends

    def again(self, trials: list[Trial], polish: int = 0) -> list[Tensor]:
        """Other starts of some rows, side by side, and one finish for all that find a success.

        Trials in a row that have the same solver run together, and no trial knows what another one finds. With `polish`
        (see `finish`) the points that their examples had reached are finished once more if they need it.
        Returns for each trial the cosines (E,) of where its finishes lead with the nearest changes so far, minus
        infinity without one.
        """
        ends: list[State] = []
        for _, group in groupby(trials, key=lambda trial: id(trial.solver)):
            ends += self.started(list(group))
        polish = polish if self.recipe.polish and not self.evaluator.dear else 0
        rough = self._rough(trials) if polish else self.owner[:0]
        before = self.outcome["best_l2"][rough]
        *directions, _ = self.finish([*ends, self.reached(rough)], polish=polish)
        # One that came no nearer would come no nearer the next time.
        stays = self.outcome["best_l2"][rough] == before
        self.outcome["bound"][rough[stays]] = before[stays]
        cosines = []
        for end, direction in zip(ends, directions, strict=True):
            cosines.append(self.largest([]))
            cosines[-1][self.owner[end["index"]]] = direction
        return cosines

    def finish(self, ends: list[State], bar: bool = True, polish: int = 0) -> list[Tensor]:
        """Finish from all of these points (I, n) of rows (I,), and keep the results that are nearer.

        bar: a row ends early when it cannot come below the distance that its example has reached. polish: gradients of
        a row that is below it and may come nearer still. Returns for each of `ends` the cosines (I,) of where they lead
        with the changes that their examples had reached.
        """
        index = torch.cat([end["index"] for end in ends])
        if len(index) == 0:
            return [self.outcome["best_l2"][end["index"]].double() for end in ends]
        steps = (self.recipe.steps, self.recipe.longest_finish)
        solver = BoundaryFinish(self.evaluator, *self.box, *steps, polish=polish, rough=_ROUGH)
        inputs = {name: self.rows[name][index] for name in ("x0", "rivals")}
        inputs |= {"best": torch.cat([end["best"] for end in ends])}
        inputs |= {"target": torch.cat([end["best_class"] for end in ends])}
        if bar:
            inputs["bar"] = self.least(self.outcome["best_l2"])[index]
        new = self.run(solver, inputs) | {"best_class": inputs["target"]}
        for name in ("forward", "backward"):
            self.outcome[name].index_add_(0, index, new[name])
        return [self.kept(end["index"], part) for end, part in zip(ends, parts(new, ends), strict=True)]

    def kept(self, index: Tensor, new: State) -> Tensor:
        """Keep the results of the rows (I,) that are nearer; the cosines (I,) of all with the nearest ones so far.

        They are those of where a finish would go next, not of the point where it ended: one that ends early, since it
        can come no nearer than what is found, is still on its way, up to 5 % too far and off to the side.
        """
        cosines = cosine(*self._changes(index, new["trial"]))
        self.outcome["blind"][index] &= new["bound"] == 0
        same = new["best_l2"] <= self.outcome["best_l2"][index]
        self.outcome["beyond"][index[same]] = new["beyond"][same]
        better = new["best_l2"] < (1 - _GAIN) * self.outcome["best_l2"][index] - self.rounding[index]
        for name in ("best", "best_l2", "best_class", "bound"):
            self.outcome[name][index[better]] = new[name][better]
        return cosines

    def _changes(self, index: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """The changes (I, n) to the points (I, n) of rows (I,), and to the nearest one of each row's example so far.

        The latter is zero, and so like no other, where the example has no success.
        """
        nearest = self.nearest()
        row = self.groups.each(-1, torch.long).index_copy_(0, self.owner[nearest], nearest)
        row = torch.where(row[self.owner[index]] < 0, index, row[self.owner[index]])
        return points - self.rows["x0"][index], self.outcome["best"][row] - self.rows["x0"][index]

    def _rough(self, trials: list[Trial]) -> Tensor:
        """The nearest row of each example of the trials, if its finish was not sure that it had ended."""
        asked = self.groups.each(False, torch.bool)
        asked[self.owner[torch.cat([trial.index for trial in trials])]] = True
        nearest = self.nearest()
        rough = self.outcome["bound"][nearest] < (1 - _ROUGH) * self.outcome["best_l2"][nearest]
        return nearest[asked[self.owner[nearest]] & rough]

    def reached(self, index: Tensor) -> State:
        """The best points of the rows (I,), for a finish."""
        return {"index": index, **{name: self.outcome[name][index] for name in ("best", "best_class")}}

    def least(self, l2: Tensor) -> Tensor:
        """Per row, the smallest `l2` (R,) of its example."""
        return self.groups.least(l2)[self.owner]

    def largest(self, values: list[Tensor]) -> Tensor:
        """The largest of the values (E,) of each example; minus infinity without any."""
        none = self.groups.each(-torch.inf, torch.float64)
        return torch.stack([none, *values]).amax(0)

    def shortened(self, started: Tensor) -> Tensor:
        """By which factor finishes have shortened the distance (E,) of each example's nearest row; 1 without a success.

        started: (R,) distances of the first start, infinite for rows that it dropped.
        """
        nearest = self.nearest()
        factor = self.groups.each(1, started.dtype)
        factor[self.owner[nearest]] = started[nearest] / self.outcome["best_l2"][nearest]
        return factor
