"""What the model says of a result: alone, as a user would call it, and in batches, with every precision that differs.

On a CUDA device the rounding of a row also depends on the size of its batch and on whether TF32 is allowed, which it is
by default in convolutions; so there a result must hold in batches of several sizes, with TF32 and without.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.basics.precision import Precision, distinct
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.models.feeding.rows import Blocks

_BATCHES = (8, 64)
"""Sizes of batches, besides the largest of the search, in which a result must hold on a CUDA device."""


@dataclass(frozen=True)
class Answer:
    """What the model says of K images, each (K,)."""

    holds: Tensor
    """Whether it is a success in every way."""
    gap: Tensor
    """By how much, at least."""
    lack: Tensor
    """By how much less than its rounding asks for; not above 0 where it is enough."""
    prediction: Tensor
    """Its class alone."""
    spent: Tensor
    """The forward passes that it took."""


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
        lack = _lack(gaps)
        holds &= lack <= 0
        gap = gaps.amin((0, 1))
        passes = len(self.precisions) * len(self.batches)
        spent = torch.full_like(examples, passes)
        prediction = together[0][0].argmax(1)
        index = holds.nonzero().squeeze(1)
        if self.evaluator.single or len(index) == 0:
            return Answer(holds, gap, lack, prediction, spent)
        alone = [self._alone(precision, images[index]) for precision in self.precisions]
        every = [[*(out[index] for out in outs), one] for outs, one in zip(together, alone, strict=True)]
        still = torch.stack([self._succeeds(out, examples[index]) for out in alone]).all(0)
        gaps = self._gaps(every, examples[index])
        lack[index] = _lack(gaps)
        holds[index] = still & (lack[index] <= 0)
        gap[index] = gaps.amin((0, 1))
        prediction[index] = alone[0].argmax(1)
        spent[index] += len(self.precisions)
        return Answer(holds, gap, lack, prediction, spent)

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


def _lack(gaps: Tensor) -> Tensor:
    """By how much margins leave too little room (K,): each must be at least what the sizes of batches change in it.

    gaps: (P, S, K), as `Verifier.gap`, per precision and size. Other sizes than those that were tried, as that of a
    user's batch, change it about as much.
    """
    return (gaps.amax(1) - gaps.amin(1)).amax(0) - gaps.amin((0, 1))
