"""The search of all rows by the recipe of a grade: which solvers run, and in which order."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count, groupby, zip_longest
from math import log

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.groups import Groups
from intriguing.blind_spots.grades import FAST, GRADES, Recipe
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, State, run
from intriguing.blind_spots.solvers.penalty import PenaltySearch
from intriguing.blind_spots.solvers.penalty_schedule import Bracketing, Truncated
from intriguing.blind_spots.solvers.primal_dual import PrimalDual
from intriguing.blind_spots.starts.further_starts import (
    COARSE,
    EVERY,
    FINE,
    FIRST_OF_DEAR,
    KINDS,
    SAME,
    SURELY_SAME,
    Neighbours,
    Plan,
    Pool,
    Segment,
    cosine,
    noisy,
)
from intriguing.blind_spots.starts.probing import FEW, PROBES, nearest_probes, slopes
from intriguing.blind_spots.starts.race import doubted, raced
from intriguing.blind_spots.starts.trials import Start, Trial, parts

_INFINITY = float("inf")
ALIGNED = 16
"""The length of a row is padded to a multiple of this, because unaligned rows of a product may be rounded
differently."""
_UNSETTLED = 1.25
"""If the finish shortens the distance of a start by more than this factor, the start had not converged, which happens
where the network is saturated; another start follows."""
_TOO_COARSE = 1.1
"""If it does so by more than this factor, long steps are too coarse for the network there, and further starts are made
by slow descents. On two adversarially trained networks it does for 3 % of the images whose starts disagree, on
ResNet-20 for 60 %, on a ViT for 86 %; where it does not, slow starts find hardly more than short ones, for three times
the passes."""
_PATIENT = {"ticks": 120, "first": 5.0, "last": 0.02, "mean": 0.9, "inertia": 0.8, "dual": log(10), "patient": True}
"""Options of the last start, for rows without a success so far."""
_NOISES = (0.1, 0.3, 1.0)
"""The sizes of the noise from which rows without a success start, as a root mean square and a share of the box."""
_FROM_NOISE = {"ticks": 56, "first": 8.0, "last": 0.5, "mean": 0.9}
"""Options of these starts."""
_GAIN = 1e-5
"""A result replaces another if it is nearer by this share, and by the rounding of its values (`_RowSearch.rounding`):
by less it could be farther after its confirmation."""
_ROUGH = 1e-3
"""A finish is continued if it ended before its QP predicted a gain of less than this share of the distance."""
_WIDE = 4
"""Where several classes are searched one further start in so many may reach any of them. On an L-infinity robust
network it brings as much as another one to the nearest class, and one to the second nearest hardly anything."""
_SMALL, _ANYWAY = 100, 2
"""Images of at most so many values get so many further starts even if their starts agree: they cost little there."""
_RESCUES = 3
"""Largest number of segments for a row without a success."""
_PROBINGS = 3
"""Largest number of times that points are tried around an image, each time within the distance that is reached."""

Excluded = Callable[[Tensor], Tensor]
"""From distances that are found (E,) to the mask (E, C) of the classes that are proven to be no nearer."""


def search_rows(
    evaluator: Evaluator,
    options: SearchOptions,
    box: Box,
    rows: State,
    owner: Tensor,
    pool: Pool | None = None,
    excluded: Excluded | None = None,
) -> State:
    """Search all `rows`; owner (R,) is the example of each row, and the nearest row of an example is its result.

    pool: images of other classes, from which a search may start, padded as rows are. excluded: proves that classes are
    no nearer than what is found; best and thorough drop them.

    Returns per row: best (R, n); best_l2 (R,), infinite without a success; forward and backward passes (R,); broken
    (R,), an output or gradient was not finite; blind (R,), every gradient was zero; for the paper's procedure also
    best_penalty (R,).
    """
    # The padding lies at a bound and has no gradient, so it never changes.
    x0, padded = box.padded(rows["x0"], ALIGNED)
    near = None if pool is None else Neighbours(pool, x0, rows["goals"])
    search = _RowSearch(evaluator, options, padded, box.root_mean_square(), rows | {"x0": x0}, owner, near)
    recipe = GRADES[options.grade].recipe
    outcome = search.paper_procedure() if recipe is None else search.by_recipe(recipe, excluded)
    return outcome | {"best": outcome["best"][:, : evaluator.size]}


class _RowSearch:
    """The rows and the best result of each so far (`outcome`)."""

    def __init__(
        self,
        evaluator: Evaluator,
        options: SearchOptions,
        box: Box,
        width: float,
        rows: State,
        owner: Tensor,
        near: Neighbours | None,
    ) -> None:
        self.evaluator = evaluator
        self.options = options
        self.layout = Layout.of(options.slots, evaluator.blocks, rows["x0"].shape[1])
        self.rows = rows
        self.owner = owner
        self.groups = Groups.of(owner)
        self.box = box.pair
        self.width = width
        """Of the box, as a root mean square over its values; the padding does not count."""
        self.rounding = torch.finfo(rows["x0"].dtype).eps / 4 * rows["x0"].abs().amax(1) * evaluator.size**0.5
        """(B,) the usual rounding of an image in L2: of its own values, for a box may be far wider than they are."""
        self.near = near
        """Images to start from."""
        lone = bool((rows["goals"].sum(1) == 1).all())
        self.descent = partial(PrimalDual, evaluator, *box.pair, width=width, lone=lone)
        """The starts by descent: all but the number of evaluations and other options."""
        self.longer = self.descent(int(max(kind["ticks"] for kind in KINDS.values())))
        """The further starts; each gives its rows their pace, so that all kinds run side by side."""
        self.wide = replace(self.longer, lone=False)
        """Those that may reach any wrong class."""
        self.several = bool((rows["goals"] != ~rows["rivals"]).any())
        """Whether a row's example may also reach classes that are no goals of the row."""
        self.segment = Segment(evaluator, *box.pair)
        self.outcome: State = {}
        self.pending = torch.zeros_like(owner, dtype=torch.bool)
        """(R,) rows without a success so far that are estimated to be as near as the nearest of their example."""

    def paper_procedure(self) -> State:
        """The paper's procedure and nothing else (section 4.1)."""
        form = self.options.penalty_form
        schedule = Bracketing(self.options.penalty_tolerance, kink=form == "l2")
        return self._run(PenaltySearch(self.evaluator, *self.box, schedule, form, width=self.width), self.rows)

    def by_recipe(self, recipe: Recipe, excluded: Excluded | None = None) -> State:
        """One start for all rows and a finish for the near ones, then second starts.

        The nearest row of an example is finished first. Its distance is the bar for the example's other rows: they end
        early when they cannot come below it.
        """
        first = self.descent(recipe.ticks, recipe.longest_start, outputs=(*PrimalDual.outputs, "predicted"))
        beyond = partial(self._beyond, excluded) if excluded else None
        # Where each row is fed alone, the leading classes that look far cost more than they find.
        race = tuple(replace(cut, leading=0) for cut in recipe.race) if self.evaluator.dear else recipe.race
        self.outcome, through, estimates = raced(
            self._run, first, self.rows, self.owner, race, self.options.classes, beyond
        )
        self.outcome["bound"] = torch.zeros_like(self.outcome["best_l2"])
        started = torch.where(through, self.outcome["best_l2"], _INFINITY)
        nearest = self.groups.first(started)
        self._finish([self._reached(nearest)], recipe, bar=False)
        # A start may end below the boundary, and its last success be far from it.
        reach = torch.minimum(started, estimates)
        near = through & reach.isfinite()
        near &= reach <= recipe.near * self._least(reach.where(near, _INFINITY))
        self.pending = near & started.isinf() & ~self.outcome["broken"] & (not self.evaluator.dear)
        near &= started.isfinite()
        near[nearest] = False
        self._finish([self._reached(near.nonzero().squeeze(1))], recipe)
        near[nearest] = True
        coarse = self._shortened(started) > _TOO_COARSE
        missed = self._missed(reach, near | self.pending)
        behind = missed & started.isfinite()
        self._finish([self._reached(behind.nonzero().squeeze(1))], recipe)
        agreed = self._second(recipe, started, self._misjudged(recipe, missed & ~behind))
        self._rescue(recipe)
        self._probe(recipe)
        self._further(recipe, agreed, coarse)
        return self.outcome

    def _shortened(self, started: Tensor) -> Tensor:
        """By which factor finishes have shortened the distance (E,) of each example's nearest row; 1 without a success.

        started: (R,) distances of the first start, infinite for rows that it dropped.
        """
        nearest = self.groups.first(self.outcome["best_l2"])
        factor = self.groups.each(1, started.dtype)
        factor[self.owner[nearest]] = started[nearest] / self.outcome["best_l2"][nearest]
        return factor

    def _missed(self, reach: Tensor, done: Tensor) -> Tensor:
        """Mask (R,) of the rows, besides those that are `done`, that look nearer than what their example has reached.

        reach: (R,) estimated distances. The race has dropped them, or they were not near enough for a finish, since
        others looked nearer still, which then ended farther.
        """
        least = self._least(self.outcome["best_l2"])
        missed = (reach < least) & least.isfinite() & ~done & ~self.outcome["broken"]
        return missed & (not self.evaluator.dear)

    def _misjudged(self, recipe: Recipe, missed: Tensor) -> list[Trial]:
        """Starts for what the race may have misjudged: of the rows that it missed (R,), each to its class, and where it
        missed some or is doubted, the start of `fast`, which may reach any class.
        """
        if self.evaluator.dear or not self.several:
            return []
        asked = doubted(self.groups.least(self.outcome["predicted"]), self.groups.least(self.outcome["best_l2"]))
        asked[self.owner[missed]] = True
        nearest = self.groups.first(self.outcome["best_l2"])
        nearest = nearest[asked[self.owner[nearest]]]
        wide = replace(self.descent(FAST.ticks, FAST.longest_start), lone=False)
        any_class = {"goals": ~self.rows["rivals"][nearest]}
        return [Trial(self.descent(recipe.ticks), missed.nonzero().squeeze(1)), Trial(wide, nearest, any_class)]

    def _second(self, recipe: Recipe, started: Tensor, besides: list[Trial]) -> Tensor:
        """Another start for the nearest row of each example, all finished together; started: (R,) first distances.

        Rows that have settled look for another basin. Where the first start had not converged, and for all rows of an
        example without a success, the penalised search takes its place. Those `besides` are made together with these.
        Returns the mask (E,) of the examples whose two starts lead into the same basin.
        """
        nearest = self.groups.first(self.outcome["best_l2"])
        unsettled = self._shortened(started)[self.owner[nearest]] > _UNSETTLED
        several = self.rows["goals"][nearest].sum(1) > 1
        trials = []
        for ticks, first, last, which in ((recipe.second, 8.0, 2.0, ~several), (recipe.elsewhere, 2.0, 0.5, several)):
            if ticks:
                solver = self.descent(ticks, first=first, last=last)
                index = nearest[which & ~unsettled]
                trials.append(Trial(solver, index, {"goals": self._elsewhere(index)}))
        lost = self._least(started).isinf() & ~self.outcome["broken"]
        lost[nearest[unsettled]] = True
        lost |= self.pending
        penalised = PenaltySearch(self.evaluator, *self.box, Truncated(recipe.penalised), width=self.width)
        trials.append(Trial(penalised, lost.nonzero().squeeze(1)))
        *cosines, of_penalised = self._again([*trials, *besides], recipe, recipe.steps)[: len(trials)]
        return (self._largest(cosines) > SAME) | (of_penalised > SURELY_SAME)

    def _elsewhere(self, index: Tensor) -> Tensor:
        """The goals of rows (I,), of several without the class that is reached already (I, C)."""
        goals = self.rows["goals"][index]
        others = goals.scatter(1, self.outcome["best_class"][index][:, None], False)
        return torch.where(others.any(1, keepdim=True), others, goals)

    def _rescue(self, recipe: Recipe) -> None:
        """Starts of other kinds for rows whose example has no success: patient ones, then from noise, then segments.

        From noise, since values may have no gradient where the image has them, as those that a network clips. The last
        kind needs no gradient: the segments to the nearest images of the class, where there are any.
        """
        self._again([Trial(self.descent(**_PATIENT), self._lost().nonzero().squeeze(1))], recipe)
        self._from_noise(recipe)
        index = self._lost().nonzero().squeeze(1)
        for _ in range(_RESCUES if self.near is not None else 0):
            if len(index) == 0:
                break
            trial = self._segment(index)
            index = trial.index
            self._again([trial], recipe)

    def _from_noise(self, recipe: Recipe) -> None:
        """Starts from noise for rows whose example has no success.

        A success of a row that has never met a gradient is chance, and is left alone, as in `_probe`.
        """
        for number, size in enumerate(_NOISES):
            index = self._lost().nonzero().squeeze(1)
            if len(index) == 0:
                return
            x0 = self.rows["x0"][index]
            distance = torch.full_like(x0[:, 0], size * self.width * self.evaluator.size**0.5)
            begin = noisy(x0, distance, number, *self.box)
            (end,) = self._started([Trial(self.descent(**_FROM_NOISE), index, {"begin": begin})])
            guided = ~self.outcome["blind"][end["index"]]
            self._finish([{name: value[guided] for name, value in end.items()}], recipe)

    def _lost(self) -> Tensor:
        """Mask (R,) of the rows of examples without a success, and of the pending ones."""
        none = self._least(self.outcome["best_l2"]).isinf() & ~self.outcome["broken"]
        return none | (self.pending & self.outcome["best_l2"].isinf())

    def _probe(self, recipe: Recipe) -> None:
        """Points all around the images that have few values, from the nearest success of which a finish starts.

        A success without a gradient is left alone where every gradient so far is zero: that the network has none is
        what the user must know, and no finish could start there.
        """
        if not recipe.further or self.evaluator.dear or self.evaluator.size > FEW:
            return
        l2 = self.outcome["best_l2"]
        index = self.groups.earliest((l2 == self._least(l2)) & (l2.isfinite() | self._lost()))
        for _ in range(_PROBINGS):
            if len(index) == 0:
                break
            x0, rivals = self.rows["x0"][index], self.rows["rivals"][index]
            reach = self.outcome["best_l2"][index].clamp(max=self.width * self.evaluator.size**0.5)
            there, found = nearest_probes(self.evaluator, x0, rivals, reach, *self.box)
            self.outcome["forward"][index] += PROBES
            blind = found & self.outcome["blind"][index]
            if bool(blind.any()):
                found[blind] = slopes(self.evaluator, there[blind], rivals[blind])
                self.outcome["backward"][index[blind]] += 1
                self.outcome["blind"][index[blind & found]] = False
            index = index[found]
            inputs = {"there": there[found], "goals": ~rivals[found]}
            self._again([Trial(Segment(self.evaluator, *self.box), index, inputs)], recipe)

    def _further(self, recipe: Recipe, agreed: Tensor, coarse: Tensor) -> None:
        """More starts, for examples whose starts did not agree yet (E,), or for all until their passes are spent.

        coarse: (E,) the examples for which long steps are too coarse; they have a plan of their own. Which start is the
        next for an example does not depend on the passes: with more of them there are more starts, and the nearest
        result is kept. With a pool of images every third start is a segment to one of them. Where rows are so dear that
        each is fed alone and no passes are asked for, examples with one class to reach have one more start: with
        several, further starts found nothing nearer on a photo network, for 1.6 times the passes.
        """
        budget = self.options.passes or recipe.passes
        anyway = _ANYWAY if self.evaluator.size <= _SMALL else 0
        going = torch.zeros_like(agreed)
        going[self.owner[self.outcome["best_l2"].isfinite()]] = True
        if self.evaluator.dear and not budget:
            going &= self.owner.bincount(minlength=len(going)) == 1
        plans = ((FINE, ~coarse), (COARSE, coarse))
        most = (recipe.further, budget, self.evaluator.dear, self.near is not None)
        for waves in zip_longest(*(plan.by_waves(*most) for plan, _ in plans), fillvalue=range(0)):
            spent = self.groups.total(self.outcome["forward"] + self.outcome["backward"])
            trials: list[Trial] = []
            for (plan, members), wave in zip(plans, waves, strict=True):
                for number in wave:
                    going = going & (spent < budget if budget else ~agreed | (number < anyway) | ~members)
                    if not bool((going & members).any()):
                        break
                    trials.append(self._trial(plan, number, going & members))
                    spent[self.owner[trials[-1].index]] += trials[-1].least
            if not trials:
                break
            trials.sort(key=lambda trial: (trial.solver is self.wide, trial.least))  # those of one solver together
            agreed |= self._largest(self._again(trials, recipe, recipe.polish)) > SAME

    def _trial(self, plan: Plan, number: int, members: Tensor) -> Trial:
        """The further start of this number for the examples (E,): a segment, or the next one of the plan."""
        if self.near is not None and number % EVERY == 0:
            index = self._ranked(number)
            return self._segment(index[members[self.owner[index]]])
        index = self._ranked(0)
        step = number if self.near is None else number - number // EVERY - 1
        return self._steps(plan, step, index[members[self.owner[index]]], self.several and (number + 1) % _WIDE == 0)

    def _steps(self, plan: Plan, number: int, index: Tensor, wide: bool) -> Trial:
        """A start from the image, or from noise as large as the distance that is reached, with longer steps.

        wide: to any wrong class, in place of the nearest one so far.
        """
        starts = (FIRST_OF_DEAR, *plan.starts) if self.evaluator.dear else plan.starts
        size, first, kind = starts[number % len(starts)]
        x0, l2 = self.rows["x0"][index], self.outcome["best_l2"][index]
        begin = noisy(x0, size * l2, number, *self.box) if size else x0
        pace = {"first": first, **KINDS[kind]}
        inputs = {name: torch.full_like(l2, value, dtype=torch.float64) for name, value in pace.items()}
        if wide:
            inputs["goals"] = ~self.rows["rivals"][index]
        solver = self.wide if wide else self.longer
        return Trial(solver, index, {"begin": begin, **inputs}, 2 * int(pace["ticks"]))

    def _segment(self, index: Tensor) -> Trial:
        """A start on the way to the nearest image of the class, then to the next nearest, and so on."""
        assert self.near is not None
        images, index = self.near.take(index)
        return Trial(self.segment, index, {"there": images}, self.segment.bisections + 1)

    def _ranked(self, number: int) -> Tensor:
        """Indices of one row per example that has a success: three of four times of the nearest row, and so on.

        The rank of the row is the number of times that 4 divides number + 1, or that of the last row with a success.
        """
        rank = next(power for power in count() if (number + 1) % 4 ** (power + 1))
        return self.groups.at_rank(self.outcome["best_l2"], rank)

    def _run(self, solver: Start | BoundaryFinish, rows: State) -> State:
        return run(solver, rows, self.layout)

    def _beyond(self, excluded: Excluded, index: Tensor, l2: Tensor) -> Tensor:
        """Mask (K,) of the rows of `index` whose class is proven to be no nearer than the nearest of `l2` (K,)."""
        owner, least = self.owner[index], self.groups.least(l2, index)
        return excluded(least)[owner, self.rows["target"][index]] & (l2 > least[owner])

    def _least(self, l2: Tensor) -> Tensor:
        """Per row, the smallest `l2` (R,) of its example."""
        return self.groups.least(l2)[self.owner]

    def _reached(self, index: Tensor) -> State:
        """The best points of the rows (I,), for a finish."""
        return {"index": index, **{name: self.outcome[name][index] for name in ("best", "best_class")}}

    def _largest(self, values: list[Tensor]) -> Tensor:
        """The largest of the values (E,) of each example; minus infinity without any."""
        none = self.groups.each(-_INFINITY, torch.float64)
        return torch.stack([none, *values]).amax(0)

    def _again(self, trials: list[Trial], recipe: Recipe, polish: int = 0) -> list[Tensor]:
        """Other starts of some rows, side by side, and one finish for all that find a success.

        Trials in a row that have the same solver run together, and no trial knows what another one finds. With `polish`
        (see `_finish`) the points that their examples had reached are finished once more if they need it.
        Returns for each trial the cosines (E,) of where its finishes lead with the nearest changes so far, minus
        infinity without one.
        """
        ends: list[State] = []
        for _, group in groupby(trials, key=lambda trial: id(trial.solver)):
            ends += self._started(list(group))
        polish = polish if recipe.polish and not self.evaluator.dear else 0
        rough = self._rough(trials) if polish else self.owner[:0]
        before = self.outcome["best_l2"][rough]
        *directions, _ = self._finish([*ends, self._reached(rough)], recipe, polish=polish)
        # One that came no nearer would come no nearer the next time.
        stays = self.outcome["best_l2"][rough] == before
        self.outcome["bound"][rough[stays]] = before[stays]
        cosines = []
        for end, direction in zip(ends, directions, strict=True):
            cosines.append(self._largest([]))
            cosines[-1][self.owner[end["index"]]] = direction
        return cosines

    def _rough(self, trials: list[Trial]) -> Tensor:
        """The nearest row of each example of the trials, if its finish was not sure that it had ended."""
        asked = self.groups.each(False, torch.bool)
        asked[self.owner[torch.cat([trial.index for trial in trials])]] = True
        nearest = self.groups.first(self.outcome["best_l2"])
        rough = self.outcome["bound"][nearest] < (1 - _ROUGH) * self.outcome["best_l2"][nearest]
        return nearest[asked[self.owner[nearest]] & rough]

    def _started(self, trials: list[Trial]) -> list[State]:
        """The rows of each trial that found a success, and where; all trials have the same solver."""
        index = torch.cat([trial.index for trial in trials])
        if len(index) == 0:
            return [self._reached(trial.index) for trial in trials]
        rows = {name: value[index] for name, value in self.rows.items()}
        rows |= {name: torch.cat([trial.inputs[name] for trial in trials]) for name in trials[0].inputs}
        outcome = self._run(trials[0].solver, rows)
        for name in ("forward", "backward"):
            self.outcome[name].index_add_(0, index, outcome[name])
        ends = []
        for trial, part in zip(trials, parts(outcome, trials), strict=True):
            self.outcome["blind"][trial.index] &= part["blind"]
            won = part["best_l2"].isfinite().nonzero().squeeze(1)
            ends.append({"index": trial.index[won], "best": part["best"][won], "best_class": part["best_class"][won]})
        return ends

    def _finish(self, ends: list[State], recipe: Recipe, bar: bool = True, polish: int = 0) -> list[Tensor]:
        """Finish from all of these points (I, n) of rows (I,), and keep the results that are nearer.

        bar: a row ends early when it cannot come below the distance that its example has reached. polish: gradients of
        a row that is below it and may come nearer still. Returns for each of `ends` the cosines (I,) of where they lead
        with the changes that their examples had reached.
        """
        index = torch.cat([end["index"] for end in ends])
        if len(index) == 0:
            return [self.outcome["best_l2"][end["index"]].double() for end in ends]
        steps = (recipe.steps, recipe.longest_finish)
        solver = BoundaryFinish(self.evaluator, *self.box, *steps, polish=polish, rough=_ROUGH)
        inputs = {name: self.rows[name][index] for name in ("x0", "rivals")}
        inputs |= {"best": torch.cat([end["best"] for end in ends])}
        inputs |= {"target": torch.cat([end["best_class"] for end in ends])}
        if bar:
            inputs["bar"] = self._least(self.outcome["best_l2"])[index]
        new = self._run(solver, inputs) | {"best_class": inputs["target"]}
        for name in ("forward", "backward"):
            self.outcome[name].index_add_(0, index, new[name])
        return [self._kept(end["index"], part) for end, part in zip(ends, parts(new, ends), strict=True)]

    def _kept(self, index: Tensor, new: State) -> Tensor:
        """Keep the results of the rows (I,) that are nearer; the cosines (I,) of all with the nearest ones so far.

        They are those of where a finish would go next, not of the point where it ended: one that ends early, since it
        can come no nearer than what is found, is still on its way, up to 5 % too far and off to the side.
        """
        cosines = cosine(*self._changes(index, new["trial"]))
        self.outcome["blind"][index] &= new["bound"] == 0
        better = new["best_l2"] < (1 - _GAIN) * self.outcome["best_l2"][index] - self.rounding[index]
        for name in ("best", "best_l2", "best_class", "bound"):
            self.outcome[name][index[better]] = new[name][better]
        return cosines

    def _changes(self, index: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """The changes (I, n) to the points (I, n) of rows (I,), and to the nearest one of each row's example so far.

        The latter is zero, and so like no other, where the example has no success.
        """
        nearest = self.groups.first(self.outcome["best_l2"])
        row = self.groups.each(-1, torch.long).index_copy_(0, self.owner[nearest], nearest)
        row = torch.where(row[self.owner[index]] < 0, index, row[self.owner[index]])
        return points - self.rows["x0"][index], self.outcome["best"][row] - self.rows["x0"][index]
