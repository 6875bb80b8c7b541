"""The race of an image's wrong classes: all of them start, and those that come near go on.

A distance that is linearised at the image ranks the classes badly where a network is robust: there it is 0.9 to 2.6
times the true one. After a few long steps the rays from the image to the trial points rank them well.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.groups import ranked
from intriguing.blind_spots.grades import Cut
from intriguing.blind_spots.solvers.loop import State
from intriguing.blind_spots.solvers.primal_dual import PrimalDual

CANDIDATES = 9
"""Largest number of classes that start, unless the options ask for more: those with the largest logits."""

_DOUBTED = 3.0
"""A prediction that is larger than the distance by more than this factor says that the network is flat at the image."""
_FALLEN = 1.4
"""An estimate that falls by more than this factor during the race says that the first ones were misled: of
networks that are curved all along, as trees of soft decisions and recurrent ones, that of the nearest class may be 3 to
6 times too far when it is dropped. Also some images of other networks have such an estimate, and pay for starts that
find nothing: a tenth more passes on convolutional networks, up to half as many again where activations are
smooth or patches are mixed."""


def doubted(predicted: Tensor, reached: Tensor) -> Tensor:
    """Mask (E,) of the examples whose race says little: the gradient at the image predicted a distance (E,) of its
    nearest class that is several times the one that was reached (E,).

    There the network is flat at the image, as heads and gates are that saturate, so that the first evaluations say
    little of the classes. Infinite predictions count: of a slope that is infinite or unknown at the image. On 16
    ordinary networks of MNIST, Fashion-MNIST and CIFAR-10 it is so for 4 of 768 images.
    """
    return (predicted > _DOUBTED * reached) & reached.isfinite()


def candidates(labels: Tensor, logits: Tensor, classes: int) -> Tensor:
    """The wrong classes (R, K) that start a race of which `classes` shall be searched. labels: (R,); logits: (R, C)."""
    wrong = logits.scatter(1, labels[:, None], -torch.inf)
    return wrong.topk(min(max(CANDIDATES, classes), logits.shape[1] - 1), dim=1).indices


def goes_on(cut: Cut, estimates: Tensor, owner: Tensor, classes: int, logit_ranks: Tensor) -> Tensor:
    """Mask (R,) of the rows that go on.

    estimates: (R,) distances; owner: (R,) the example of each row; logit_ranks: (R,) its class among the example's
    candidates, the largest logit first.
    """
    ranks, least = ranked(estimates, owner)
    most = max(1, round(cut.share * classes))
    return (ranks == 0) | (logit_ranks < cut.leading) | ((ranks < most) & (estimates <= cut.within * least))


def contested(owner: Tensor, classes: int) -> Tensor:
    """Mask (R,) of the rows whose example (R,) has more rows than `classes`, so that it needs a race."""
    return owner.bincount()[owner] > classes


def raced(
    run: Callable[[PrimalDual, State], State],
    solver: PrimalDual,
    rows: State,
    owner: Tensor,
    cuts: tuple[Cut, ...],
    classes: int,
    beyond: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> tuple[State, Tensor, Tensor, Tensor]:
    """The outcome of the first start of all rows, the mask (R,) of the rows that went through, the distance (R,) that
    each was last estimated at, infinite where none was, and the mask (R,) of those whose estimate fell far during the
    race.

    Other rows were dropped at one of the `cuts`; they keep what they had found until then. No row is dropped so of an
    example that has no more of them than `classes`. beyond: of the rows of an index (K,) and their distances (K,), a
    mask of those that are proven to come no nearer than their example is: they are dropped at the middle cut, and what
    they had found is forgotten.
    """
    going = torch.arange(len(owner), device=owner.device)
    racing = contested(owner, classes)
    logit_ranks = ranked(torch.zeros_like(owner), owner)[0]  # an example's rows come in the order of logits
    middle = cuts[len(cuts) // 2] if cuts else None
    cuts = cuts if bool(racing.any()) else tuple(cut for cut in cuts if beyond and cut is middle)
    outcome: State = {}
    early = last = rows["x0"].new_full((len(owner),), torch.inf)
    inputs, begin = rows, 0
    for cut in (*cuts, None):
        end = cut.tick if cut else solver.ticks
        state = run(solver.paused(begin, end), inputs)
        for name in solver.outputs:
            outcome[name] = outcome[name].index_copy(0, going, state[name]) if begin else state[name]
        if cut is None:
            break
        last = last.index_copy(0, going, state["estimates"].amin(1))
        early = early if begin else last
        passed = goes_on(cut, last[going], owner[going], classes, logit_ranks[going])
        passed |= ~racing[going]
        if beyond and cut is middle:
            proven = beyond(going, state["best_l2"])
            outcome["best_l2"][going[proven]] = torch.inf
            last = last.index_fill(0, going[proven], torch.inf)
            passed &= ~proven
        keep = passed.nonzero().squeeze(1)
        going = going[keep]
        inputs = {name: value[going] for name, value in rows.items()} | {n: v[keep] for n, v in state.items()}
        begin = end
    through = torch.zeros_like(owner, dtype=torch.bool)
    through[going] = True
    return outcome, through, last, racing & (early > _FALLEN * last)
