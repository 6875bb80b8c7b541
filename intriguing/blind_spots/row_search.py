"""The search of all rows by the recipe of a grade: which solvers run, and in which order."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import count, zip_longest
from math import log

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.grades import FAST, GRADES
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.row_results import RowResults
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
    noisy,
)
from intriguing.blind_spots.starts.noise_images import noise_pool
from intriguing.blind_spots.starts.probing import FEW, PROBES, nearest_probes, slopes
from intriguing.blind_spots.starts.race import doubted, raced
from intriguing.blind_spots.starts.trials import Trial

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
_STEEPEST = (
    _PATIENT | {"ticks": 40, "first": 16.0, "last": 1.0, "mean": 0.0},
    _PATIENT | {"ticks": 60, "first": 16.0, "last": 4.0, "mean": 0.0, "patient": False},
)
"""Options of the starts after it: long steps without momentum, which turn wherever the gradient does. Where a class has
no gradient until the image is near to it, as in a vote of the nearest neighbours, the way leads from one other class to
the next: of nine images of such a network that had no success these find all, with momentum four."""
_NOISES = (0.1, 0.3, 1.0)
"""The sizes of the noise from which rows without a success start, as a root mean square and a share of the box."""
_FROM_NOISE = {"ticks": 56, "first": 8.0, "last": 0.5, "mean": 0.9}
"""Options of these starts."""
_WIDE = 4
"""Where several classes are searched one further start in so many may reach any of them. On an L-infinity robust
network it brings as much as another one to the nearest class, and one to the second nearest hardly anything."""
_SMALL, _ANYWAY = 100, 2
"""Images of at most so many values get so many further starts even if their starts agree: they cost little there."""
_JUMP = 0.01
"""The margin jumps where a finished point is beyond the boundary by more than this share of its distance, if the margin
is linear there. On 12 networks whose results end at no jump it was 0.0008 at most."""
_RESCUES = 3
"""Largest number of segments for a row without a success, to images and to noise each."""
_COARSELY = 0.1
"""The tolerance of c in the paper's procedure for an image without a success: the finish goes the rest of the way."""
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
    width, rows = box.root_mean_square(), rows | {"x0": x0}
    layout = Layout.of(options.slots, evaluator.blocks, x0.shape[1])
    recipe = GRADES[options.grade].recipe
    if recipe is None:
        outcome = run(_paper_procedure(evaluator, options, padded, width), rows, layout)
    else:
        results = RowResults(evaluator, recipe, layout, padded, rows, owner)
        outcome = _RowSearch(results, options, padded, width, near).by_recipe(excluded)
    return outcome | {"best": outcome["best"][:, : evaluator.size]}


def _paper_procedure(evaluator: Evaluator, options: SearchOptions, box: Box, width: float) -> PenaltySearch:
    """The solver of the paper's procedure (section 4.1), which runs alone."""
    form = options.penalty_form
    schedule = Bracketing(options.penalty_tolerance, kink=form == "l2")
    return PenaltySearch(evaluator, *box.pair, schedule, form, width=width)


class _RowSearch:
    """Which starts the rows have, and in which order, by the recipe of a grade."""

    def __init__(
        self, results: RowResults, options: SearchOptions, box: Box, width: float, near: Neighbours | None
    ) -> None:
        self.results = results
        self.recipe, self.evaluator = results.recipe, results.evaluator
        self.rows, self.owner, self.groups = results.rows, results.owner, results.groups
        self.options = options
        self.box = box.pair
        self.width = width
        """Of the box, as a root mean square over its values; the padding does not count."""
        self.near = near
        """Images to start from."""
        lone = bool((self.rows["goals"].sum(1) == 1).all())
        self.descent = partial(PrimalDual, self.evaluator, *box.pair, width=width, lone=lone)
        """The starts by descent: all but the number of evaluations and other options."""
        self.longer = self.descent(int(max(kind["ticks"] for kind in KINDS.values())))
        """The further starts; each gives its rows their pace, so that all kinds run side by side."""
        self.wide = replace(self.longer, lone=False)
        """Those that may reach any wrong class."""
        self.several = bool((self.rows["goals"] != ~self.rows["rivals"]).any())
        """Whether a row's example may also reach classes that are no goals of the row."""
        self.segment = Segment(self.evaluator, *box.pair)
        self.pending = torch.zeros_like(self.owner, dtype=torch.bool)
        """(R,) rows without a success so far that are estimated to be as near as the nearest of their example."""

    @property
    def outcome(self) -> State:
        """The best result of each row so far."""
        return self.results.outcome

    def by_recipe(self, excluded: Excluded | None = None) -> State:
        """One start for all rows and a finish for the near ones, then second starts.

        The nearest row of an example is finished first. Its distance is the bar for the example's other rows: they end
        early when they cannot come below it.
        """
        recipe = self.recipe
        first = self.descent(recipe.ticks, recipe.longest_start, outputs=(*PrimalDual.outputs, "predicted"))
        beyond = partial(self._beyond, excluded) if excluded else None
        # Where each row is fed alone, the leading classes that look far cost more than they find.
        race = tuple(replace(cut, leading=0) for cut in recipe.race) if self.evaluator.dear else recipe.race
        outcome, through, estimates, fell = raced(
            self.results.run, first, self.rows, self.owner, race, self.options.classes, beyond
        )
        self.results.begin(outcome)
        started = torch.where(through, self.outcome["best_l2"], torch.inf)
        nearest = self.groups.first(started)
        self.results.finish([self.results.reached(nearest)], bar=False)
        # A start may end below the boundary, and its last success be far from it.
        reach = torch.minimum(started, estimates)
        near = through & reach.isfinite()
        near &= reach <= recipe.near * self.results.least(reach.where(near, torch.inf))
        self.pending = near & started.isinf() & ~self.outcome["broken"] & (not self.evaluator.dear)
        near &= started.isfinite()
        near[nearest] = False
        self.results.finish([self.results.reached(near.nonzero().squeeze(1))])
        near[nearest] = True
        coarse = self.results.shortened(started) > _TOO_COARSE
        missed = self._missed(reach, near | self.pending)
        behind = missed & started.isfinite()
        self.results.finish([self.results.reached(behind.nonzero().squeeze(1))])
        agreed = self._second(started, self._misjudged(missed & ~behind, fell))
        self._rescue()
        self._probe()
        self._further(agreed & ~self._jumps(), coarse)
        return self.outcome

    def _missed(self, reach: Tensor, done: Tensor) -> Tensor:
        """Mask (R,) of the rows, besides those that are `done`, that look nearer than what their example has reached.

        reach: (R,) estimated distances. The race has dropped them, or they were not near enough for a finish, since
        others looked nearer still, which then ended farther.
        """
        least = self.results.least(self.outcome["best_l2"])
        missed = (reach < least) & least.isfinite() & ~done & ~self.outcome["broken"]
        return missed & (not self.evaluator.dear)

    def _misjudged(self, missed: Tensor, fell: Tensor) -> list[Trial]:
        """Starts for what the race may have misjudged: of the rows that it missed (R,), each to its class, and where it
        missed some, is doubted, or an estimate `fell` (R,), the start of `fast`, which may reach any class.

        Where one fell, others may have been dropped before theirs did. There two starts to any class but the one that
        is reached follow: that of `fast`, and one of longer steps, which crosses what is curved.
        """
        if self.evaluator.dear or not self.several:
            return []
        asked = doubted(self.groups.least(self.outcome["predicted"]), self.groups.least(self.outcome["best_l2"]))
        asked[self.owner[missed]] = True
        misled = self.groups.each(False, torch.bool)
        misled[self.owner[fell]] = True
        nearest = self.results.nearest()
        others = nearest[misled[self.owner[nearest]]]
        nearest = nearest[(asked | misled)[self.owner[nearest]]]
        wide = replace(self.descent(FAST.ticks, FAST.longest_start), lone=False)
        longer = replace(self.descent(self.recipe.ticks, first=16.0, last=2.0), lone=False)
        any_class = {"goals": ~self.rows["rivals"][nearest]}
        elsewhere = {"goals": self._elsewhere(others, ~self.rows["rivals"][others])}
        return [
            Trial(self.descent(self.recipe.ticks), missed.nonzero().squeeze(1)),
            *(Trial(wide, nearest, any_class), Trial(wide, others, elsewhere), Trial(longer, others, elsewhere)),
        ]

    def _second(self, started: Tensor, besides: list[Trial]) -> Tensor:
        """Another start for the nearest row of each example, all finished together; started: (R,) first distances.

        Rows that have settled look for another basin. Where the first start had not converged, and for all rows of an
        example without a success, the penalised search takes its place. Those `besides` are made together with these.
        Returns the mask (E,) of the examples whose two starts lead into the same basin.
        """
        nearest, recipe = self.results.nearest(), self.recipe
        unsettled = self.results.shortened(started)[self.owner[nearest]] > _UNSETTLED
        several = self.rows["goals"][nearest].sum(1) > 1
        trials = []
        for ticks, first, last, which in ((recipe.second, 8.0, 2.0, ~several), (recipe.elsewhere, 2.0, 0.5, several)):
            if ticks:
                solver = self.descent(ticks, first=first, last=last)
                index = nearest[which & ~unsettled]
                trials.append(Trial(solver, index, {"goals": self._elsewhere(index, self.rows["goals"][index])}))
        lost = self.results.least(started).isinf() & ~self.outcome["broken"]
        lost[nearest[unsettled]] = True
        lost |= self.pending
        penalised = PenaltySearch(self.evaluator, *self.box, Truncated(recipe.penalised), width=self.width)
        trials.append(Trial(penalised, lost.nonzero().squeeze(1)))
        *cosines, of_penalised = self.results.again([*trials, *besides], recipe.steps)[: len(trials)]
        return (self.results.largest(cosines) > SAME) | (of_penalised > SURELY_SAME)

    def _jumps(self) -> Tensor:
        """Mask (E,) of the examples whose nearest row ended at a jump of the margin.

        There two starts that agree say little: both stopped at the same jump, and others may be far nearer.
        """
        nearest = self.results.nearest()
        jumps = self.groups.each(False, torch.bool)
        jumps[self.owner[nearest]] = self.outcome["beyond"][nearest] > _JUMP
        return jumps

    def _elsewhere(self, index: Tensor, goals: Tensor) -> Tensor:
        """Of the goals (I, C) of rows (I,) those but the class that is reached already, where there are several."""
        others = goals.scatter(1, self.outcome["best_class"][index][:, None], False)
        return torch.where(others.any(1, keepdim=True), others, goals)

    def _rescue(self) -> None:
        """Starts of other kinds for rows whose example has no success: patient ones, from noise, without momentum, then
        segments to images and to noise, then the paper's procedure; and from noise again where there is a budget.

        From noise, since values may have no gradient where the image has them, as those that a network clips. Segments
        need no gradient: they lead to the nearest images of the class, where there are any. To noise they are made of
        rows that have met a gradient: without one a success is chance.
        """
        self.results.again([Trial(self.descent(**_PATIENT), self._lost().nonzero().squeeze(1))])
        self._from_noise(range(len(_NOISES)))
        for options in _STEEPEST:
            index = (self._lost() & ~self.outcome["blind"]).nonzero().squeeze(1)
            self.results.again([Trial(self.descent(**options), index)])
        if self.near is not None:
            self._from_images(self.near, self._lost())
        lost = self._lost() & ~self.outcome["blind"]
        if bool(lost.any()) and not self.evaluator.dear:
            x0 = self.rows["x0"]
            self._from_images(Neighbours(noise_pool(self.evaluator, x0, *self.box), x0, self.rows["goals"]), lost)
        self._by_the_paper()
        self._from_noise(count(len(_NOISES)), self.options.passes or self.recipe.passes)

    def _from_images(self, near: Neighbours, lost: Tensor) -> None:
        """Segments to the nearest images of the class, for the rows that are `lost` (R,), where there are any."""
        index = lost.nonzero().squeeze(1)
        for _ in range(_RESCUES):
            if len(index) == 0:
                break
            trial = self._segment(index, near)
            index = trial.index
            self.results.again([trial])

    def _by_the_paper(self) -> None:
        """The paper's procedure, to any class that an example may reach, where it has no success and met a gradient.

        It goes down from the image in steps that lower the loss, by however little. Where outputs are saturated, as
        behind a sigmoid, that comes to classes which longer steps miss. What it finds is finished as other starts are.
        """
        none = self.results.least(self.outcome["best_l2"]).isinf() & ~self.outcome["broken"]
        index = self.groups.earliest(none & ~self.outcome["blind"])
        paper = PenaltySearch(self.evaluator, *self.box, Bracketing(_COARSELY), width=self.width)
        self.results.again([Trial(paper, index, {"goals": ~self.rows["rivals"][index]})])

    def _from_noise(self, numbers: Iterable[int], budget: float = float("inf")) -> None:
        """Starts from noise of these numbers, each in a direction of its own, for rows whose example has no success and
        has not had so many passes.

        A success of a row that has never met a gradient is chance, and is left alone, as in `_probe`.
        """
        for number in numbers:
            lost = self._lost()
            if budget < float("inf"):
                spent = self.groups.total(self.outcome["forward"] + self.outcome["backward"])
                lost &= (spent < budget)[self.owner] & self.results.least(self.outcome["best_l2"]).isinf()
            index = lost.nonzero().squeeze(1)
            if len(index) == 0:
                return
            x0, size = self.rows["x0"][index], _NOISES[number % len(_NOISES)]
            distance = torch.full_like(x0[:, 0], size * self.width * self.evaluator.size**0.5)
            begin = noisy(x0, distance, number, *self.box)
            (end,) = self.results.started([Trial(self.descent(**_FROM_NOISE), index, {"begin": begin})])
            guided = ~self.outcome["blind"][end["index"]]
            self.results.finish([{name: value[guided] for name, value in end.items()}])

    def _lost(self) -> Tensor:
        """Mask (R,) of the rows of examples without a success, and of the pending ones."""
        none = self.results.least(self.outcome["best_l2"]).isinf() & ~self.outcome["broken"]
        return none | (self.pending & self.outcome["best_l2"].isinf())

    def _probe(self) -> None:
        """Points all around the images that have few values, from the nearest success of which a finish starts.

        A success without a gradient is left alone where every gradient so far is zero: that the network has none is
        what the user must know, and no finish could start there.
        """
        if not self.recipe.further or self.evaluator.dear or self.evaluator.size > FEW:
            return
        l2 = self.outcome["best_l2"]
        index = self.groups.earliest((l2 == self.results.least(l2)) & (l2.isfinite() | self._lost()))
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
            self.results.again([Trial(Segment(self.evaluator, *self.box), index, inputs)])

    def _further(self, agreed: Tensor, coarse: Tensor) -> None:
        """More starts, for examples whose starts did not agree yet (E,), or for all until their passes are spent.

        coarse: (E,) the examples for which long steps are too coarse; they have a plan of their own. Which start is the
        next for an example does not depend on the passes: with more of them there are more starts, and the nearest
        result is kept. With a pool of images every third start is a segment to one of them. Where rows are so dear that
        each is fed alone and no passes are asked for, examples with one class to reach have one more start: with
        several, further starts found nothing nearer on a photo network, for 1.6 times the passes.
        """
        budget = self.options.passes or self.recipe.passes
        anyway = _ANYWAY if self.evaluator.size <= _SMALL else 0
        going = torch.zeros_like(agreed)
        going[self.owner[self.outcome["best_l2"].isfinite()]] = True
        if self.evaluator.dear and not budget:
            going &= self.owner.bincount(minlength=len(going)) == 1
        plans = ((FINE, ~coarse), (COARSE, coarse))
        most = (self.recipe.further, budget, self.evaluator.dear, self.near is not None)
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
            agreed |= self.results.largest(self.results.again(trials, self.recipe.polish)) > SAME

    def _trial(self, plan: Plan, number: int, members: Tensor) -> Trial:
        """The further start of this number for the examples (E,): a segment, or the next one of the plan."""
        if self.near is not None and number % EVERY == 0:
            index = self._ranked(number)
            return self._segment(index[members[self.owner[index]]], self.near)
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

    def _segment(self, index: Tensor, near: Neighbours) -> Trial:
        """A start on the way to the nearest image of the class, then to the next nearest, and so on."""
        images, index = near.take(index)
        return Trial(self.segment, index, {"there": images}, self.segment.bisections + 1)

    def _ranked(self, number: int) -> Tensor:
        """Indices of one row per example that has a success: three of four times of the nearest row, and so on.

        The rank of the row is the number of times that 4 divides number + 1, or that of the last row with a success.
        """
        rank = next(power for power in count() if (number + 1) % 4 ** (power + 1))
        return self.groups.at_rank(self.outcome["best_l2"], rank)

    def _beyond(self, excluded: Excluded, index: Tensor, l2: Tensor) -> Tensor:
        """Mask (K,) of the rows of `index` whose class is proven to be no nearer than the nearest of `l2` (K,)."""
        owner, least = self.owner[index], self.groups.least(l2, index)
        return excluded(least)[owner, self.rows["target"][index]] & (l2 > least[owner])
