"""The entry: checks what was given, plans the rows to search, runs the stages, checks what came out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from intriguing.blind_spots.engine import State
from intriguing.blind_spots.evaluate import Evaluator, frozen, full_precision
from intriguing.blind_spots.grades import search_rows
from intriguing.blind_spots.graph import is_graphed
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.linear import is_linear, optima
from intriguing.blind_spots.memory import check_memory, reused_heap
from intriguing.blind_spots.objective import cross_entropy
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.rank import nearest_classes
from intriguing.blind_spots.result import SearchResult
from intriguing.errors import InputError
from intriguing.inputs import feeding, float_batch, looks_like_bytes

EVERY = "every"
_TOLERANCE = 1e-6
_BLOCK, _LEAST = 128, 32
"""Rows of a batch on a CPU. Below 32 rows its matrix products round otherwise, so a batch never has fewer."""
_NAN = float("nan")


def minimal_distortion(
    model: nn.Module,
    x: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | Sequence[int],
    targets: Tensor | np.ndarray | Sequence[int] | str | None = None,
    options: SearchOptions | None = None,
) -> SearchResult:
    """The smallest change of each image of `x`, in L2 and inside the box, that makes `model` give another class.

    model: from (B, *shape) to logits (B, C); put in eval mode for the search and back after. x: (B, *shape) float32 or
    float64 inside the box of the options (a rounding error of 1e-6 is clipped). labels: (B,) true classes. targets:
    (B,) classes to reach; None for any wrong one; "every" to search every wrong class and keep the nearest.

    An example that is not finite, or outside the box, gets a status of its own; what is wrong with the call as a whole
    (shapes, classes out of range, a target that is the label) raises `InputError` before any work, and a model that
    does not give (B, C) logits `ModelError`. On a CUDA device TF32 is off during the search.

    The problem is equation (1) of section 4.1 of arXiv:1312.6199.
    """
    options = options or SearchOptions()
    x = float_batch(x)
    images, labels, wanted = _checked(model, x, labels, targets)
    flat = images.flatten(1)
    bad_input = ~flat.isfinite().all(1) | (
        (flat < options.lower - _TOLERANCE) | (flat > options.upper + _TOLERANCE)
    ).any(1)
    fixed = is_graphed(flat.device)
    block = options.slots if fixed else _BLOCK if options.slots >= _BLOCK else _LEAST
    evaluator = Evaluator(model, tuple(images.shape[1:]), block, block if fixed else _LEAST)
    if len(x) and bool(bad_input.all()) and options.upper == 1 and looks_like_bytes(x):
        raise InputError(f"x runs from {float(x.min()):g} to {float(x.max()):g}, the box from 0 to 1: write x / 255.")
    with feeding(model, images), frozen(model), full_precision(), reused_heap(), torch.no_grad():
        return _Search(evaluator, options, x, flat, labels, wanted, targets, bad_input).result()


def _checked(
    model: nn.Module,
    x: Tensor,
    labels: Tensor | np.ndarray | Sequence[int],
    targets: Tensor | np.ndarray | Sequence[int] | str | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images and classes on the model's device, or `InputError`."""
    device = next((p.device for p in model.parameters()), x.device)
    classes = {}
    for name, given in (("labels", labels), ("targets", targets)):
        if given is None:
            continue
        if isinstance(given, str):
            if name == "labels" or given != EVERY:
                raise InputError(
                    f"{name} is {given!r}; give (B,) classes{'' if name == 'labels' else ', None or every'}."
                )
            continue
        value = torch.as_tensor(given)
        if value.shape != (len(x),) or value.is_floating_point() or value.dtype == torch.bool:
            hint = " For a single image write x[None]." if value.numel() == 1 else ""
            raise InputError(
                f"{name} is {tuple(value.shape)} {value.dtype}; it must be {len(x)} whole numbers, one per row of x, "
                f"which is {tuple(x.shape)}.{hint}"
            )
        if len(value) and int(value.min()) < 0:
            raise InputError(f"{name} holds {int(value.min())}; classes count from 0.")
        classes[name] = value.to(device, torch.int64)
    if "targets" in classes and bool((classes["targets"] == classes["labels"]).any()):
        row = int((classes["targets"] == classes["labels"]).nonzero()[0, 0])
        raise InputError(
            f"The target of example {row} is its label, {int(classes['labels'][row])}; give a wrong class."
        )
    return x.detach().to(device), classes["labels"], classes.get("targets")


class _Search:
    """One call of `minimal_distortion`: per-example figures, filled stage by stage."""

    def __init__(
        self,
        evaluator: Evaluator,
        options: SearchOptions,
        given: Tensor,
        flat: Tensor,
        labels: Tensor,
        wanted: Tensor | None,
        targets: object,
        bad_input: Tensor,
    ) -> None:
        self.evaluator = evaluator
        self.options = options
        self.given = given
        self.labels = labels
        self.wanted = wanted
        self.every = isinstance(targets, str)
        self.bad_input = bad_input
        self.x0 = flat.nan_to_num(options.lower, options.upper, options.lower).clamp(options.lower, options.upper)
        self.classes = 0
        self.exact = options.grade != "faithful" and options.exact_linear == "auto" and is_linear(evaluator.model)
        self.lower_bound = torch.full_like(self.x0[:, :1].sum(1), torch.inf)
        self.passes = {
            k: torch.zeros(len(flat), dtype=torch.int64, device=flat.device) for k in ("forward", "backward")
        }

    def result(self) -> SearchResult:
        """Run the search."""
        if len(self.x0) == 0:
            return self._assemble(self.x0, self.labels, self.labels.bool(), self.x0.new_zeros(0), self.labels.bool())
        check_memory(self.evaluator.model, self.given, self.options, self.evaluator.block, self._tried())
        clean = self.evaluator.forward(self.x0)
        self.classes = clean.shape[1]
        self._check_classes(self.classes)
        usable = ~self.bad_input
        self.passes["forward"] += usable
        bad_output = usable & ~clean.isfinite().all(1)
        prediction = clean.argmax(1)
        wrong = prediction != self.labels if self.wanted is None else prediction == self.wanted
        done = usable & ~bad_output & wrong
        rows = self._rows(clean, (usable & ~bad_output & ~wrong).nonzero().squeeze(1))
        found, best, penalty, broken = self._searched(rows)
        clean_prediction = torch.where(usable & ~bad_output, prediction, -1)
        return self._assemble(best, clean_prediction, done, penalty, bad_output | broken, found)

    def _tried(self) -> str:
        """How many wrong classes of an example have a row: one (which may stand for all), some or all."""
        if self.wanted is not None:
            return "one"
        if self.every or self.exact:
            return "all"
        return "some" if self.options.grade == "best" else "one"

    def _check_classes(self, count: int) -> None:
        for name, value in (("labels", self.labels), ("targets", self.wanted)):
            if value is not None and int(value.max()) >= count:
                raise InputError(
                    f"{name} holds {int(value.max())}, but the model gives {count} classes (0 to {count - 1})."
                )
        if count < 2:
            raise InputError(f"The model gives {count} class; a search needs at least two.")

    def _rows(self, clean: Tensor, examples: Tensor) -> State:
        """One row per example and class to search: the class, its rivals, the image."""
        classes = clean.shape[1]
        x0, labels = self.x0[examples], self.labels[examples]
        every = torch.arange(classes, device=clean.device)
        if self.wanted is not None:
            target = self.wanted[examples]
            owner = examples
            rivals = every != target[:, None]
        else:
            near = self._near(clean, examples, x0, labels, every)
            owner = examples.repeat_interleave(near.shape[1])
            target = near.flatten()
            rivals = every == self.labels[owner][:, None]
        together = self.wanted is None and not self.every and self.options.grade != "best" and not self.exact
        wanted = ~rivals if together else every == target[:, None]
        return {"owner": owner, "target": target, "rivals": rivals, "wanted": wanted, "x0": self.x0[owner]}

    def _near(self, clean: Tensor, examples: Tensor, x0: Tensor, labels: Tensor, every: Tensor) -> Tensor:
        """The wrong classes (E, K) that an untargeted search of each example tries."""
        classes = clean.shape[1]
        if self.every or self.exact or (self.options.classes >= classes - 1 and self.options.grade == "best"):
            return (labels[:, None] + 1 + every[: classes - 1]) % classes
        if self.options.grade != "best" or len(examples) == 0:
            # All wrong classes are wanted together; the class held here stands for them.
            return (labels[:, None] + 1) % classes
        count = self.options.classes
        near, spent = nearest_classes(self.evaluator, x0, labels, clean[examples], count, *self._box())
        for kind in self.passes.values():
            kind[examples] += spent
        return near

    def _penalty(self, best: Tensor, r: Tensor, found: Tensor) -> Tensor:
        """The c (B,) at which loss + c |r|^2 (or c |r|) is stationary along the change r (B, n) that was found."""
        classes = torch.arange(self.classes, device=best.device)
        wanted = classes != self.labels[:, None] if self.wanted is None else classes == self.wanted[:, None]
        _, _, slope = self.evaluator.gradient(best, lambda z, s: cross_entropy(z, wanted[s], ~wanted[s]))
        for kind in self.passes.values():
            kind += found
        pull = 2 * dot(r, r) if self.options.penalty_form == "squared_l2" else dot(r, r).sqrt()
        return (-dot(slope, r)).clamp(min=0) / pull

    def _box(self) -> tuple[float, float]:
        return self.options.lower, self.options.upper

    def _searched(self, rows: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Per example: whether a success was found, the nearest one, its penalty, and whether the model broke."""
        count = len(self.x0)
        owner = rows.pop("owner")
        best, l2 = self.x0.clone(), self.x0.new_full((count,), float("inf"))
        penalty = self.x0.new_full((count,), _NAN)
        broken = torch.zeros(count, dtype=torch.bool, device=owner.device)
        if len(owner):
            if self.exact:
                box, at_once = self._box(), self.options.slots
                ended = optima(self.evaluator, rows, self.evaluator.shape, box, at_once)
                bounds = ended["lower_bound"].nan_to_num(torch.inf)
                self.lower_bound.scatter_reduce_(0, owner, bounds, "amin")
            else:
                ended = search_rows(self.evaluator, self.options, rows, owner)
            for kind, name in (("forward", "forward"), ("backward", "backward")):
                self.passes[kind].index_add_(0, owner, ended[name])
            broken.index_fill_(0, owner[ended["broken"]], True)
            l2.scatter_reduce_(0, owner, ended["best_l2"], "amin")
            winners = ended["best_l2"].isfinite() & (ended["best_l2"] == l2[owner])
            index = owner[winners].flip(0)
            best[index] = ended["best"][winners].flip(0)
            if "best_penalty" in ended:
                penalty[index] = ended["best_penalty"][winners].flip(0)
        return l2.isfinite(), best, penalty, broken

    def _assemble(
        self,
        best: Tensor,
        clean_prediction: Tensor,
        already: Tensor,
        penalty: Tensor,
        broken: Tensor,
        found: Tensor | None = None,
    ) -> SearchResult:
        """The result, every success checked again on the returned image."""
        if found is None:
            found = torch.zeros_like(already)
        best = best.clamp(*self._box())
        prediction = clean_prediction.clone()
        if bool(found.any()):
            logits = self.evaluator.forward(best)
            self.passes["forward"] += found
            now = logits.argmax(1)
            success = (now != self.labels) if self.wanted is None else (now == self.wanted)
            found = found & success & logits.isfinite().all(1)
            prediction = torch.where(found, now, prediction)
        status = [
            "bad_input" if bad else "misclassified" if a else "found" if f else "bad_output" if b else "not_found"
            for bad, a, f, b in zip(
                self.bad_input.tolist(), already.tolist(), found.tolist(), broken.tolist(), strict=True
            )
        ]
        r = torch.where(found[:, None], best - self.x0, torch.zeros_like(best))
        if self.options.grade != "faithful" and bool(found.any()):
            penalty = self._penalty(best, r, found)
        known = found | already
        blank = r.new_tensor(_NAN)
        l2 = torch.where(known, torch.linalg.vector_norm(r, dim=1), blank)
        out = self.given.detach().to(best.device).clone()
        image = best.reshape(out.shape)
        out[found] = image[found]
        clean = self.x0.reshape(out.shape)
        out[already] = clean[already]
        target = self.wanted if self.wanted is not None else torch.where(known, prediction, -1)
        home = self.given.device
        figures = {
            "adversarial": out,
            "prediction": torch.where(self.bad_input | (prediction < 0), -1, prediction),
            "clean_prediction": clean_prediction,
            "target": target,
            "l2": l2,
            "distortion": l2 / max(1, self.x0.shape[1]) ** 0.5,
            "linf": torch.where(known, r.abs().amax(1) if r.numel() else l2, blank),
            "penalty": torch.where(found, penalty, blank),
            "forward_passes": self.passes["forward"],
            "backward_passes": self.passes["backward"],
            "lower_bound": torch.where(found & self.lower_bound.isfinite(), self.lower_bound, blank),
        }
        return SearchResult(status=status, **{name: value.to(home) for name, value in figures.items()})
