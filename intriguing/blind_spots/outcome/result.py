"""The result of a search: per example an image, a status and numbers."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intriguing.basics.text.markup import table
from intriguing.stability.bounds import is_optimal

if TYPE_CHECKING:
    from intriguing.blind_spots.memory import Plan

_SHOWN = 10
"""Searches that a notebook shows."""

STATUS_SENTENCES = {
    "found": "The model gives the wanted (untargeted: another) class on the returned image.",
    "misclassified": "The model gives a wrong (targeted: the wanted) class before any change; the image is as it was.",
    "not_found": "No change within the box was found that gives the wanted class; the image is as it was.",
    "no_gradient": "Every gradient that the search met is zero, so it saw no way to go: no sign of robustness. "
    "Look for rounding, thresholds, saturation or .detach() in the model's forward; the image is as it was.",
    "unstable": "A change was found in a batch, but fed alone the image keeps its class, and no small step beyond "
    "helps; the image is as it was.",
    "bad_output": "The model gave a logit that is not finite, or at the image a gradient of which nothing is known; "
    "the image is as it was.",
    "bad_input": "The image holds a value that is not finite or lies outside the box; it was not searched.",
}


@dataclass(frozen=True)
class SearchResult:
    """The outcome of `minimal_distortion` for B examples; tensors are on the device of the input.

        result = ig.minimal_distortion(model, images, labels)
        result.l2[result.found].median()
        [result.sentences[status] for status in result.status]

    Where the status is misclassified, `adversarial` is the input as given and norms are 0. Where it is neither that nor
    found, `adversarial` is the input as given, norms and penalty are NaN.
    """

    adversarial: Tensor
    """(B, *shape), of the input's dtype: the changed images, inside the box."""

    status: list[str]
    """A key of `sentences` per example."""

    prediction: Tensor
    """(B,) int64: the model's class of the returned image alone; -1 where there is none."""

    clean_prediction: Tensor
    """(B,) int64: the class of the unchanged image; -1 for a bad input or output."""

    target: Tensor
    """(B,) int64: the class to reach; untargeted: the class reached, -1 without one."""

    l2: Tensor
    """(B,): the L2 norm of the change."""

    distortion: Tensor
    """(B,): the paper's sqrt(sum r^2 / n), n values per input (section 4.2)."""

    linf: Tensor
    """(B,): the largest change of a value."""

    penalty: Tensor
    """(B,): the paper's c. faithful: the largest c with a success; best and fast: the c at which loss plus penalty is
    stationary along the change found."""

    forward_passes: Tensor
    """(B,) int64: number of forward passes for this example; rows that pad a batch are no example's."""

    backward_passes: Tensor
    """(B,) int64: number of backward passes for this example."""

    lower_bound: Tensor
    """(B,): a proven lower bound of the L2 norm of any success: of linear models always, of others with the option
    `bounds`; NaN without one. It holds for the network as it is evaluated, its rounding counted in."""

    forward_rows: int = 0
    """Rows that the model saw in all forward passes: those of all examples, those that pad a batch, and those of the
    examination of the model before the search (not the few of a trace that looks whether the model is linear)."""

    backward_rows: int = 0
    """The same for the backward passes."""

    plan: "Plan | None" = None
    """What was chosen: slots, rows per call of the model (`plan.blocks`) and the cost of a row that decides them, the
    memory of a slot and of a row. `print(result.plan)` says it in a sentence."""

    reasons: list[str] = field(default_factory=list)
    """Per example with the status not_found or bad_output, or found without any gradient, what the search met; else
    empty."""

    notes: tuple[str, ...] = ()
    """Remarks on how the search was done, for example that the model returns probabilities or that fewer slots were
    used."""

    @classmethod
    def none(cls, x: Tensor, labels: Tensor) -> "SearchResult":
        """The result for an empty x, of its shape and type."""
        numbers, whole = x.new_zeros(0), labels.new_zeros(0).to(x.device)
        floats = dict.fromkeys(("l2", "distortion", "linf", "penalty", "lower_bound"), numbers)
        ints = dict.fromkeys(("prediction", "clean_prediction", "target", "forward_passes", "backward_passes"), whole)
        return cls(adversarial=x.detach().clone(), status=[], **floats, **ints)

    def _summary(self) -> str:
        """How many examples have each status, and the median size of the changes found."""
        counts = ", ".join(f"{n:,} {status}" for status, n in Counter(self.status).items()) or "none"
        return counts + (
            f"; median L2 of those found {float(self.l2[self.found].median()):.4g}" if "found" in self.status else ""
        )

    def __repr__(self) -> str:
        return f"SearchResult({self._summary()})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *self.notes])

    def _repr_html_(self) -> str:
        columns = ("prediction", "clean_prediction", "l2", "distortion", "linf", "lower_bound")
        rows = []
        for at, status in enumerate(self.status[:_SHOWN]):
            numbers = [float(getattr(self, name)[at]) for name in columns]
            rows.append([at, status, *(_told(number) for number in numbers)])
        shown = dict.fromkeys(self.status[:_SHOWN])
        meant = [f"{status}: {STATUS_SENTENCES[status]}" for status in shown if status in STATUS_SENTENCES]
        more = [f"{len(self.status):,} searches: the first {_SHOWN} are shown."] if len(self.status) > _SHOWN else []
        return table(f"Searches: {self._summary()}", ["", "status", *columns], rows, [*meant, *more, *self.notes])

    @property
    def sentences(self) -> dict[str, str]:
        """What each status means."""
        return dict(STATUS_SENTENCES)

    @property
    def is_optimal(self) -> list[bool]:
        """Whether what was found is proven to be the smallest change, to within a thousandth of its norm."""
        proven = is_optimal(self.l2, self.lower_bound).tolist()
        return [status == "found" and p for status, p in zip(self.status, proven, strict=True)]

    @property
    def found(self) -> Tensor:
        """(B,) bool: whether a change was found, so that `result.l2[result.found]` are the sizes of all that were.

        `status` is a list, which `==` compares as a whole: `result.status == "found"` is False.
        """
        return torch.tensor([s == "found" for s in self.status], dtype=torch.bool, device=self.l2.device)

    @property
    def success(self) -> list[bool]:
        """Whether the model errs on the returned image: status found or misclassified (where no change is needed)."""
        return [s in ("found", "misclassified") for s in self.status]


def _told(number: float) -> str:
    return "–" if number != number else f"{number:.4g}"
