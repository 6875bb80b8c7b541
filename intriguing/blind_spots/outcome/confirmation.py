"""Confirmation of every result: the model classifies the image alone, as a user would call it, and in a batch.

On a CUDA device the rounding of a row also depends on the size of its batch and on whether TF32 is allowed, which it is
by default in convolutions; so there a result must hold in batches of several sizes, with TF32 and without.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intriguing.basics.precision import Precision, distinct
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.objective import margin, pair
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.outcome.quantisation import Grid, outward
from intriguing.models.rows import Blocks

_FIRST, _DOUBLINGS, _HALVINGS = 2.0**-23, 24, 4
"""First length of a push, as a share of the change; largest number of doublings, which double the change; number of
bisections afterwards."""
_COARSE, _DRAWS, _REACH = 1e-3, 8, 2.0
"""The share of an image's margin above which the rounding of the logits keeps results off the boundary; number of
bisections that draw such a result back, and how far they reach, as a multiple of that share."""
_FAR, _JUMP_DRAWS = 1e-2, (3, 16)
"""The share of an image's margin by which a result must exceed the boundary to be drawn back: a finish of continuous
logits ends within a thousandth or two, `fast` on photos within 1.4 %. Number of bisections as near as that share says,
which are enough there, and of those on the way from the image, where the logits jump."""
_BATCHES = (8, 64)
"""Sizes of batches, besides the largest of the search, in which a result must hold on a CUDA device."""

Push = Callable[[int, float], Tensor]
"""A function of (i, k): the image (n,) beyond the result of example i, by a step whose length grows with k."""


@dataclass(frozen=True)
class Answer:
    """What the model says of K images: whether each is a success in every way (K,), by how much at least (K,), its
    class alone (K,), and the forward passes that it took (K,).
    """

    holds: Tensor
    gap: Tensor
    prediction: Tensor
    spent: Tensor


@dataclass(frozen=True)
class Verifier:
    """Asks the model whether images are successes, both in batches and alone, with every precision that can differ."""

    evaluator: Evaluator
    labels: Tensor
    targets: Tensor | None
    """(B,) classes to reach; None: any class but the label."""
    precisions: tuple[Precision, ...]
    batches: tuple[Evaluator, ...]
    """The model in batches of each size."""

    @classmethod
    def of(cls, evaluator: Evaluator, labels: Tensor, targets: Tensor | None) -> "Verifier":
        """With the precisions and sizes of batches that matter where the model is; call it outside of any other."""
        dtype = evaluator.conduct.dtype if evaluator.conduct else torch.float32
        batches, most = (evaluator,), evaluator.blocks.most
        if is_graphed(labels.device) and evaluator.blocks.least == 1:
            sizes = [*(size for size in _BATCHES if size < most), most]
            batches = tuple(evaluator.in_blocks(Blocks(size, size)) for size in sizes)
        return cls(evaluator, labels, targets, distinct(labels.device, dtype), batches)

    def ask(self, images: Tensor, examples: Tensor) -> Answer:
        """What the model says of the images (K, n) of `examples` (K,): alone it is asked for those that hold so far."""
        together = [self._outputs(precision, images) for precision in self.precisions]
        holds = torch.stack([self._succeeds(out, examples) for outs in together for out in outs]).all(0)
        gaps = self._gaps(together, examples)
        holds &= _clear(gaps)
        gap = gaps.amin((0, 1))
        passes = len(self.precisions) * len(self.batches)
        spent = torch.full_like(examples, passes)
        prediction = together[0][0].argmax(1)
        index = holds.nonzero().squeeze(1)
        if self.evaluator.single or len(index) == 0:
            return Answer(holds, gap, prediction, spent)
        alone = [self._alone(precision, images[index]) for precision in self.precisions]
        every = [[*(out[index] for out in outs), one] for outs, one in zip(together, alone, strict=True)]
        still = torch.stack([self._succeeds(out, examples[index]) for out in alone]).all(0)
        gaps = self._gaps(every, examples[index])
        holds[index] = still & _clear(gaps)
        gap[index] = gaps.amin((0, 1))
        prediction[index] = alone[0].argmax(1)
        spent[index] += len(self.precisions)
        return Answer(holds, gap, prediction, spent)

    def _outputs(self, precision: Precision, images: Tensor) -> list[Tensor]:
        """The outputs (K, C) in batches of each size."""
        with precision.used():
            return [batch.outputs(images) for batch in self.batches]

    def _alone(self, precision: Precision, images: Tensor) -> Tensor:
        with precision.used():
            return self.evaluator.alone(images)

    def _succeeds(self, out: Tensor, examples: Tensor) -> Tensor:
        """Which of the outputs (K, C) are successes (K,)."""
        prediction, labels = out.argmax(1), self.labels[examples]
        right = prediction != labels if self.targets is None else prediction == self.targets[examples]
        return right & ~out.isnan().any(1)

    def _gaps(self, outputs: list[list[Tensor]], examples: Tensor) -> Tensor:
        """`gap` (P, S, K) of the outputs (K, C) by P precisions in S sizes of batches."""
        return torch.stack([torch.stack([self.gap(out, examples) for out in outs]) for outs in outputs])

    def gap(self, out: Tensor, examples: Tensor) -> Tensor:
        """By how much (K,) the outputs (K, C) are successes; a NaN counts as none."""
        out = out.double().nan_to_num(-torch.inf)
        own = self.labels[examples] if self.targets is None else self.targets[examples]
        mine = out.gather(1, own[:, None]).squeeze(1)
        other = out.scatter(1, own[:, None], -torch.inf).amax(1)
        return (other - mine if self.targets is None else mine - other).nan_to_num(0, 0, 0)


def _clear(gaps: Tensor) -> Tensor:
    """Where margins leave room (K,): each is at least what the sizes of batches change in it, per precision.

    gaps: (P, S, K), as `Verifier.gap`. Other sizes than those that were tried, as that of a user's batch, change it
    about as much.
    """
    return gaps.amin((0, 1)) >= (gaps.amax(1) - gaps.amin(1)).amax(0)


@dataclass(frozen=True)
class Confirmed:
    """The confirmed results, per example (B,)."""

    best: Tensor
    """(B, n)"""
    gap: Tensor
    """By how much it is a success, at least."""
    prediction: Tensor
    unstable: Tensor
    """A success in a batch but not alone, and no push made it one."""
    forward: Tensor


def confirm(
    verifier: Verifier, box: Box, x0: Tensor, best: Tensor, success: Tensor, grid: Grid | None = None
) -> Confirmed:
    """Classify each success alone; one that fails alone is pushed further, until it is a success alone as well.

    x0: (B, n) the images; best: (B, n) the results; success: (B,). A push continues the change in its own direction,
    or follows the margin's gradient. Results on a `grid` stay on it. Each image is treated independently of the others.
    """
    done = Confirmed(
        best.clone(),
        torch.zeros_like(success, dtype=torch.float64),
        torch.full_like(verifier.labels, -1),
        torch.zeros_like(success),
        torch.zeros_like(verifier.labels),
    )
    index = success.nonzero().squeeze(1)
    if len(index) == 0:
        return done
    answer = verifier.ask(best[index], index)
    done.forward[index] += answer.spent
    done.prediction[index[answer.holds]] = answer.prediction[answer.holds]
    done.gap[index[answer.holds]] = answer.gap[answer.holds]
    failing = index[~answer.holds]
    for push in _pushes(verifier, box, x0, best) if grid is None else _grid_pushes(verifier, grid, x0, best):
        if len(failing) == 0:
            break
        failing = _smallest_pushes(verifier, push, failing, done, halved=grid is None)
    done.unstable[failing] = True
    return done


def drawn_back(
    verifier: Verifier, box: Box, x0: Tensor, done: Confirmed, coarseness: Tensor, outputs: Tensor | None
) -> Confirmed:
    """The results, nearer on the way from the image where the model says that they are successes there as well.

    coarseness: (B,) the rounding error of the logits as a share of the margin at the image; 0 for no result. A search
    counts as a success what exceeds it, so that one more pass does not undo it, and ends too far by about that share.
    outputs: (B, C) those of the unchanged images, to draw back what lies far behind the boundary as well. Where the
    logits jump no gradient tells how far; None: such results stay.
    """
    done = _drawn(verifier, box, x0, done, coarseness > _COARSE, _REACH * coarseness, _DRAWS)
    if outputs is None:
        return done
    excess = _excess(verifier, done, outputs)
    far = (excess > _FAR) & ~(excess < 2 * _REACH * coarseness) & (done.prediction >= 0)
    done = _drawn(verifier, box, x0, done, far, _REACH * excess, _JUMP_DRAWS[0])
    jumped = far & ((_excess(verifier, done, outputs) > _FAR) | (done.gap == 0))
    return _drawn(verifier, box, x0, done, jumped, torch.ones_like(excess), _JUMP_DRAWS[1])


def _excess(verifier: Verifier, done: Confirmed, outputs: Tensor) -> Tensor:
    """By how much (B,) the results exceed the boundary, as a share of the margins of the images' outputs (B, C)."""
    return done.gap / verifier.gap(outputs, torch.arange(len(outputs), device=outputs.device)).abs()


def _drawn(
    verifier: Verifier, box: Box, x0: Tensor, done: Confirmed, chosen: Tensor, reach: Tensor, draws: int
) -> Confirmed:
    """As `drawn_back`: so many bisections of the last share `reach` (B,) of the changes of the `chosen` (B,)."""
    index = chosen.nonzero().squeeze(1)
    if len(index) == 0:
        return done
    best, gap, prediction, forward = (v.clone() for v in (done.best, done.gap, done.prediction, done.forward))
    low = (1 - reach[index]).clamp(min=0).to(x0.dtype)
    high = torch.ones_like(low)
    for _ in range(draws):
        middle = (low + high) / 2
        images = box.clamp(torch.lerp(x0[index], done.best[index], middle[:, None]))
        answer = verifier.ask(images, index)
        forward[index] += answer.spent
        won = index[answer.holds]
        best[won], prediction[won], gap[won] = (v[answer.holds] for v in (images, answer.prediction, answer.gap))
        low, high = torch.where(answer.holds, low, middle), torch.where(answer.holds, middle, high)
    return replace(done, best=best, gap=gap, prediction=prediction, forward=forward)


def _pushes(verifier: Verifier, box: Box, x0: Tensor, best: Tensor) -> Iterator[Push]:
    """Two pushes: along the change, and along the gradient of the margin."""

    def ray(i: int, k: float) -> Tensor:
        return box.clamp(torch.lerp(x0[i], best[i], 1 + _FIRST * 2.0**k)[None])[0]

    slopes: dict[int, Tensor] = {}

    def up(i: int, k: float) -> Tensor:
        if i not in slopes:
            slopes[i] = slope_of(verifier, best[i], i)
        normal = slopes[i]
        size = (best[i] - x0[i]).norm() / normal.norm().clamp(min=1e-30)
        return box.clamp((best[i] + _FIRST * 2.0**k * size * normal)[None])[0]

    yield ray
    yield up


def _grid_pushes(verifier: Verifier, grid: Grid, x0: Tensor, best: Tensor) -> Iterator[Push]:
    """Two pushes on a grid: along the margin's gradient, one level at a time, and along the change."""
    walks: dict[int, list[Tensor]] = {}

    def up(i: int, k: float) -> Tensor:
        walk = walks.setdefault(i, [best[i]])
        while len(walk) < k + 2:
            walk.append(outward(grid, x0[i], walk[-1], slope_of(verifier, walk[-1], i), 1))
        return walk[int(k) + 1]

    def ray(i: int, k: float) -> Tensor:
        return grid.nearest(torch.lerp(x0[i], best[i], 1 + 2.0 ** (k - 12))[None])[0]

    yield up
    yield ray


def slope_of(verifier: Verifier, image: Tensor, example: int) -> Tensor:
    """The gradient (n,) at an image (n,) of the margin of the best goal over its best rival."""
    classes = torch.arange(verifier.evaluator.classes, device=image.device)[None]
    targets = verifier.targets
    rivals = classes == verifier.labels[example] if targets is None else classes != targets[example]

    def loss(logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
        target = logits.masked_fill(rivals, -torch.inf).argmax(1)
        _, rival = margin(logits, target, rivals)
        return pair(logits, target, rival)

    return verifier.evaluator.gradient(image[None], loss)[2][0]


def _smallest_pushes(verifier: Verifier, push: Push, failing: Tensor, done: Confirmed, halved: bool) -> Tensor:
    """Write the smallest pushes of the `failing` examples that are successes into `done`; those without one (F,).

    The length is doubled until it is enough, then bisected: all examples at a time, each as if it were alone.
    """
    lengths: dict[int, float] = {}

    def attempt(examples: Tensor, steps: list[float]) -> Tensor:
        images = torch.stack([push(i, k) for i, k in zip(examples.tolist(), steps, strict=True)])
        answer = verifier.ask(images, examples)
        done.forward[examples] += answer.spent
        won = examples[answer.holds]
        done.best[won], done.prediction[won] = images[answer.holds], answer.prediction[answer.holds]
        done.gap[won] = answer.gap[answer.holds]
        return answer.holds

    for k in range(_DOUBLINGS):
        if len(failing) == 0:
            break
        holds = attempt(failing, [float(k)] * len(failing))
        lengths |= dict.fromkeys(failing[holds].tolist(), float(k))
        failing = failing[~holds]
    brackets = {i: (k - 1.0, k) for i, k in lengths.items() if halved and k}
    for _ in range(_HALVINGS if brackets else 0):
        examples = failing.new_tensor(list(brackets))
        middles = [(low + high) / 2 for low, high in brackets.values()]
        holds = attempt(examples, middles).tolist()
        for (i, (low, high)), middle, enough in zip(list(brackets.items()), middles, holds, strict=True):
            brackets[i] = (low, middle) if enough else (middle, high)
    return failing
