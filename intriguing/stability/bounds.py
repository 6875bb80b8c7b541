"""Certified lower bounds on the minimal distortion that a search looks for.

    certificates = lower_bounds(model, x, labels)
    certificates.bound        # (B,): no change inside the box of a smaller L2 norm makes the model give another class

The problem is that of section 4.1 of arXiv:1312.6199: the least |r| with x + r in the box and another class. A bound
holds for the float32 network as it is evaluated: margins must exceed a bound of its rounding errors, which are larger
where torch is allowed to use TF32 (on a GPU it is by default, in convolutions: switch it off for larger bounds). Where
nothing can be proven the bound is NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from intriguing.basics.inputs import as_tensor
from intriguing.basics.text.brief import brief
from intriguing.basics.torch_modes import without_default_device
from intriguing.errors import InputError, ModelError, unknown_name
from intriguing.stability.problem import NOTHING, Network, Problem
from intriguing.stability.region import Bound
from intriguing.stability.tracing.graph import Graph, trace

EFFORTS = ("fast", "slow")
GIGAFLOPS = 10.0
"""Billions of operations that the linear bounds of an image may take: a few seconds on one CPU."""
OPTIMAL = 1e-3
"""Relative gap of a found norm and its bound up to which the result counts as optimal."""
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Certificates:
    """Certified lower bounds on the L2 norms of minimal changes, for B images and C classes; float64."""

    __repr__ = brief

    bound: Tensor
    """(B,): no change of a smaller norm inside the box succeeds. NaN if nothing is proven, 0 if the image has a wrong
    (targeted: the target) class already, infinite if no change inside the box succeeds."""
    per_class: Tensor
    """(B, C): the same for every class as a target; infinite at the label (with `targets`: at the class that the model
    gives unchanged, if that is not the target), NaN if nothing is proven. With `targets` little is proven of the other
    classes."""
    method: str
    """The method of proof: exact (an affine model), lines (linear bounds, or the product of norms if that is better),
    coupled (linear bounds and a semidefinite one), local (norms near the image), product (norms alone), or none."""
    reason: str
    """Why no better method was used, such as operations that cannot be bounded; empty if there is nothing to say."""


def lower_bounds(
    model: nn.Module | Graph | Network,
    x: Tensor,
    labels: Tensor | Sequence[int],
    targets: Tensor | Sequence[int] | None = None,
    *,
    lower: Bound = 0.0,
    upper: Bound = 1.0,
    found: Tensor | None = None,
    effort: str = "fast",
    gigaflops: float = GIGAFLOPS,
) -> Certificates:
    """Certified lower bounds on the L2 norm of the least change of each image of `x` that makes `model` err.

        import torch, intriguing as ig
        from intriguing.stability import lower_bounds
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(),
                                    torch.nn.Linear(16, 10))
        lower_bounds(model, torch.rand(4, 1, 28, 28), [0, 1, 2, 3]).bound

    model: from (B, *shape) to logits (B, C), or its traced graph (`trace`), or the network prepared once for several
    calls (`Network.of`). x: (B, *shape) inside the box from `lower` to `upper` (numbers, or tensors that broadcast to
    an image). labels: (B,) true classes. targets: (B,) classes to reach, None for any wrong one; a target is reached
    from the class that the model predicts for the unchanged image. found: (B,) norms that a search found; they save
    time, since no larger bound is tried. effort: "fast" uses linear bounds; "slow" proves more: on dense networks by a
    semidefinite bound that takes about twenty times as long, on others by the L2 balls of all layers (twice as long).
    gigaflops: billions of operations that the linear bounds of one image may take; if they take more, only norms are
    used, and `reason` says so.

    A model that cannot be traced or bounded gives NaN, with the reason.

    Raises: `InputError` for arguments that do not fit, `UnknownNameError` for an unknown effort.
    """
    if effort not in EFFORTS:
        raise unknown_name("effort of lower_bounds", str(effort), EFFORTS)
    with torch.inference_mode(False), torch.no_grad(), without_default_device():
        x = as_tensor(x, "x")
        labels, wanted = _classes("labels", labels, x), None if targets is None else _classes("targets", targets, x)
        box = _box(lower, upper, x)
        x, labels = _plain(x), _plain(labels)
        try:
            network = _network(model, x)
        except ModelError as e:
            return _nothing(x, 0, str(e))
        _check_classes(network.classes, labels, wanted)
        known = None if found is None else _radii("found", found, x)
        parts = []
        # Autocast of the caller is for networks: it would round the proof itself.
        with torch.autocast(x.device.type, enabled=False):
            for rows in _split(len(x), network.held):
                top = None if known is None else known[rows]
                problem = Problem.of(network, x[rows], labels[rows], box, top)
                parts.append(_certified(problem, None if wanted is None else wanted[rows], effort, gigaflops))
        return _joined(parts) if parts else _nothing(x, network.classes, "")


def excluded_classes(
    model: nn.Module | Graph | Network,
    x: Tensor,
    labels: Tensor | Sequence[int],
    radius: Tensor,
    *,
    lower: Bound = 0.0,
    upper: Bound = 1.0,
    gigaflops: float = GIGAFLOPS,
) -> Tensor:
    """Mask (B, C): the wrong classes that provably no change of a norm below `radius` (B,) inside the box reaches.

    It takes one evaluation of linear bounds at that radius, a fraction of the cost of `lower_bounds`. False at the
    label, and if nothing is proven (the class may be out of reach nevertheless). radius: (B,), above 0; the other
    arguments are those of `lower_bounds`.

    Raises `InputError` for arguments that do not fit; a model that cannot be traced or bounded excludes nothing.
    """
    with torch.inference_mode(False), torch.no_grad(), without_default_device():
        labels = _classes("labels", labels, x)
        box, radii = _box(lower, upper, x), _radii("radius", radius, x)
        if not bool(((radii > 0) & radii.isfinite()).all()):
            raise InputError(f"radius must be {len(x)} finite numbers above 0.")
        x, labels = _plain(x), _plain(labels)
        try:
            network = _network(model, x)
        except ModelError:
            return torch.zeros((len(x), 0), dtype=torch.bool, device=x.device)
        _check_classes(network.classes, labels, None)
        out = torch.zeros((len(x), network.classes), dtype=torch.bool, device=x.device)
        with torch.autocast(x.device.type, enabled=False):
            for rows in _split(len(x), network.held):
                problem = Problem.of(network, x[rows], labels[rows], box, radii[rows])
                out[rows] = problem.excluded(radii[rows], gigaflops)
    return out


def is_optimal(l2: Tensor, bound: Tensor) -> Tensor:
    """Whether `bound` (B,) proves changes of norm `l2` (B,) to be minimal within a relative 1e-3; False for NaN."""
    return bound.to(l2) >= (1 - OPTIMAL) * l2


def _box(lower: Bound, upper: Bound, x: Tensor) -> tuple[Bound, Bound]:
    """The ends of the box on the device of x. Raises `InputError` for none, and where an image lies outside of it."""
    lower, upper = _end("lower", lower, x), _end("upper", upper, x)
    if not bool(torch.as_tensor(lower <= upper).all()):
        raise InputError(f"The box [{lower}, {upper}] must have lower <= upper for every value.")
    if bool(((x < lower - _TOLERANCE) | (x > upper + _TOLERANCE) | ~x.isfinite()).any()):
        raise InputError(f"x holds values that are not finite or lie outside of the box [{lower}, {upper}].")
    return lower, upper


def _end(name: str, bound: Any, x: Tensor) -> Bound:
    """An end of the box: a number, or a tensor that broadcasts to an image."""
    if isinstance(bound, int | float):
        return bound
    try:
        end = torch.as_tensor(bound).to(x)
        end.expand(x.shape[1:])
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{name} is no number, and no tensor that broadcasts to an image {tuple(x.shape[1:])}."
        ) from None
    return end


def _plain(given: Tensor) -> Tensor:
    """The tensor, as one that a gradient may be taken of where it was made in inference mode."""
    return given.clone() if given.is_inference() else given


def _network(model: nn.Module | Graph | Network, x: Tensor) -> Network:
    """The network prepared for bounds. Raises `ModelError` where it cannot be traced or bounded."""
    if isinstance(model, Network):
        return model
    return Network.of(model if isinstance(model, Graph) else trace(model, tuple(x.shape[1:])), x)


def _radii(name: str, norms: Tensor, x: Tensor) -> Tensor:
    try:
        radii = torch.as_tensor(norms).detach().to(x.device, torch.float64)
    except (TypeError, ValueError, RuntimeError):
        radii = torch.empty(0)
    if radii.shape != (len(x),):
        raise InputError(f"{name} must be {len(x)} numbers, one for each image.")
    return radii.nan_to_num(torch.inf, posinf=torch.inf)


def _classes(name: str, given: Tensor | Sequence[int], x: Tensor) -> Tensor:
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} is {given!r}; it must be {len(x)} whole numbers.") from None
    if value.shape != (len(x),) or value.is_floating_point():
        raise InputError(f"{name} is {tuple(value.shape)} {value.dtype}; it must be {len(x)} whole numbers.")
    return value.to(x.device, torch.int64)


def _check_classes(count: int, labels: Tensor, wanted: Tensor | None) -> None:
    for name, value in (("labels", labels), ("targets", wanted)):
        if value is not None and len(value) and (int(value.max()) >= count or int(value.min()) < 0):
            raise InputError(f"{name} runs from {int(value.min())} to {int(value.max())}, but the model gives {count} "
                             f"classes (0 to {count - 1}).")  # fmt: skip


def _nothing(x: Tensor, classes: int, reason: str) -> Certificates:
    nan = torch.full((len(x),), math.nan, dtype=torch.float64, device=x.device)
    return Certificates(nan, nan[:, None].expand(-1, classes).clone(), NOTHING, reason)


def _certified(problem: Problem, wanted: Tensor | None, effort: str, gigaflops: float) -> Certificates:
    if wanted is None:
        method, reason, bounds = problem.bounds(effort, gigaflops)
        least = torch.where(bounds.isnan().any(1), math.nan, bounds.amin(1))
        return Certificates(least, bounds, method, reason)
    # To reach a target its logit must exceed every other one, the largest as well: that is the pair to bound. Where the
    # target is the largest already there is no such pair: another class takes its place, and the bound is 0.
    classes = problem.margins.shape[1]
    there = problem.values[-1].argmax(1) == wanted
    method, reason, bounds = problem.against(torch.where(there, (wanted + 1) % classes, wanted)).bounds(
        effort, gigaflops
    )
    bounds[there, wanted[there]] = 0.0
    return Certificates(bounds.gather(1, wanted[:, None]).squeeze(1), bounds, method, reason)


def _joined(parts: list[Certificates]) -> Certificates:
    """The certificates of all parts in one."""
    best = min(parts, key=lambda part: part.method == NOTHING)
    values = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(best)[:2]}
    return Certificates(**values, method=best.method, reason=best.reason)


def _split(count: int, each: int, held: int = 2**26) -> list[slice]:
    step = max(1, held // max(each, 1))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]
