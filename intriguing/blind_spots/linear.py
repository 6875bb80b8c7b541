"""The exact optimum for models that are linear by their structure.

For logits W x + b the set where class t wins is a polytope, and the nearest point of it inside the box is a quadratic
programme with classes - 1 constraints, solved by its dual in float64. The dual's value is a certificate: no smaller
change succeeds.
"""

from typing import Any

import torch
from torch import Tensor, nn

from intriguing.blind_spots.box import Bound, Box
from intriguing.blind_spots.evaluate import MASKED, Evaluator
from intriguing.blind_spots.loop import State
from intriguing.blind_spots.objective import margin
from intriguing.blind_spots.qp import project

_SHARE, _ROUNDING = 1e-6, 1.0
"""The first margin of the target class over a rival: this share of the rival's lead at the image, plus this many units
in the last place of the two logits. `optima` enlarges it where rounding inside the model is larger."""
_GROWTH, _TIMES = 3, 13
"""Factor by which the margin is enlarged, and largest number of attempts."""
_BYTES = 2**28
"""Largest size of the constraints of all rows that are solved at once."""

_PASSIVE = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Unflatten)
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FORWARDS: dict[type[nn.Module], Any] = {kind: kind.forward for kind in (*_PASSIVE, *_LINEAR, *_NORM, nn.Sequential)}
"""The forward methods as torch defines them, to notice when one has been replaced."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_linear(model: nn.Module) -> bool:
    """Whether `model` is, by its structure, an affine map of its input in eval mode.

    True for the affine layers of torch.nn and sequences of them. The answer never comes from trying inputs, because a
    ReLU network is affine near almost every point. A module of any other class, a module with hooks (its own or global
    ones) and a module whose forward was replaced count as not linear.
    """
    every = nn.modules.module
    if any(getattr(every, f"_global{name}") for name in _HOOKS):
        return False
    if any(getattr(model, name) for name in _HOOKS) or {"forward", "_call_impl", "__call__"} & vars(model).keys():
        return False
    if type(model) in _FORWARDS and type(model).forward is not _FORWARDS[type(model)]:
        return False
    if type(model) is nn.Sequential:
        return all(is_linear(child) for child in model)
    if type(model) in _NORM:
        return model.running_mean is not None
    if type(model) in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return model.padding_mode in ("zeros", "circular", "replicate", "reflect")
    return type(model) in _PASSIVE or type(model) in _LINEAR


def affine(model: nn.Module, shape: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
    """W (C, n) and b (C,) in float64 of a linear `model` on inputs of `shape`."""
    with torch.enable_grad():
        zero = torch.zeros(1, *shape, dtype=like.dtype, device=like.device, requires_grad=True)
        logits = model(zero)
        rows = [torch.autograd.grad(z, zero, retain_graph=True)[0].flatten() for z in logits[0]]
    return torch.stack(rows).double(), logits[0].detach().double()


def agrees(weight: Tensor, bias: Tensor, evaluator: Evaluator, rows: Tensor) -> bool:
    """Whether the model returns W x + b on `rows` (R, n), up to rounding: a check of `is_linear` and `affine`."""
    expected = rows.double() @ weight.T + bias
    logits = evaluator.forward(rows).double()
    size = rows.double().abs() @ weight.abs().T + bias.abs()
    close = (logits - expected).abs() <= 64 * torch.finfo(rows.dtype).eps * size
    return bool((close | (logits <= MASKED) | ~expected.isfinite()).all())


def optima(evaluator: Evaluator, rows: State, affinity: tuple[Tensor, Tensor], box: Box, at_once: int) -> State:
    """The exact optimum of every row of a linear model, in the format of `search_rows`, with `lower_bound` (R,).

    affinity: W (C, n) and b (C,), as `affine` returns them. The margin beyond the boundary is as small as float32
    allows: while the model itself does not give the target class on the rounded image, the margin is tripled.
    """
    count = len(rows["x0"])
    weight, bias = affinity
    at_once = max(1, min(at_once, _BYTES // (weight.element_size() * weight.numel())))
    ended = {
        "best": rows["x0"].clone(),
        "best_l2": rows["x0"].new_full((count,), float("inf")),
        "lower_bound": rows["x0"].new_full((count,), float("nan")),
        "forward": torch.zeros_like(rows["target"]),
        "backward": torch.zeros_like(rows["target"]),
        "broken": torch.zeros_like(rows["target"], dtype=torch.bool),
        "blind": torch.zeros_like(rows["target"], dtype=torch.bool),
    }
    waiting = torch.arange(count, device=weight.device)
    for turn in range(_TIMES):
        missed = []
        for index in waiting.split(at_once):
            x0, target, rivals = rows["x0"][index], rows["target"][index], rows["rivals"][index]
            least = _GROWTH**turn * _least(weight, bias, x0, target, box)
            x, l2, bound = solve(weight, bias, x0, target, rivals, least, box.pair)
            image = box.clamp(x.to(x0.dtype))
            won = l2.isfinite() & (margin(evaluator.forward(image), target, rivals)[0] > 0)
            ended["forward"][index] += 1
            if turn == 0:
                ended["lower_bound"][index] = bound.to(x0.dtype)
            done = index[won]
            ended["best"][done] = image[won]
            ended["best_l2"][done] = torch.linalg.vector_norm(image[won] - x0[won], dim=1)
            missed.append(index[l2.isfinite() & ~won])
        waiting = torch.cat(missed) if missed else waiting[:0]
        if len(waiting) == 0:
            break
    return ended


def _least(weight: Tensor, bias: Tensor, x0: Tensor, target: Tensor, box: Box) -> Tensor:
    """The first margin (R, C) of class t over each rival; it depends on that rival's own logit only."""
    logits = x0.double() @ weight.T + bias
    aim = logits.gather(1, target[:, None])
    size = torch.maximum(logits.abs(), aim.abs())
    least = _SHARE * (logits - aim).abs() + _ROUNDING * torch.finfo(x0.dtype).eps * size
    tiny = _SHARE * torch.linalg.vector_norm(weight, dim=1).amax() * min(1.0, box.root_mean_square())
    return torch.where(least.isfinite() & (least > 0), least, tiny)


def solve(
    weight: Tensor, bias: Tensor, x0: Tensor, target: Tensor, rivals: Tensor, slack: Tensor, box: tuple[Bound, Bound]
) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest point (R, n) where class t beats each rival by its `slack` (R, C), its L2 norm, and a lower bound.

    weight: (C, n); bias: (C,); x0: (R, n); target: (R,); rivals: (R, C) mask. The norm (R,) is infinite where no point
    of the box is a success. The lower bound (R,) is proven for a slack of zero, even if the dual has not converged, and
    even if the rounding inside the model favours class t.
    """
    eps = torch.finfo(x0.dtype).eps
    x0 = x0.double()
    logits = x0 @ weight.T + bias
    aim = logits.gather(1, target[:, None])
    never = (aim.squeeze(1) == -torch.inf) | logits.isnan().any(1)
    need = (logits - aim + slack).masked_fill(~rivals, -torch.inf)
    need = need.masked_fill(never[:, None], -torch.inf)
    size = x0.abs() @ weight.abs().T + bias.abs()
    rounding = (2 * eps * (size + size.gather(1, target[:, None]))).nan_to_num(0, 0, 0)
    if int(rivals.sum(1).max()) == 1:
        which = rivals.to(torch.int8).argmax(1)
        normals, need = (weight[target] - weight[which])[:, None], need.gather(1, which[:, None])
        slack, rounding = slack.gather(1, which[:, None]), rounding.gather(1, which[:, None])
    else:
        normals = weight[target][:, None] - weight
    # A rival that class t beats everywhere in the box, for example a masked class, is no constraint.
    reach = torch.linalg.vector_norm(torch.maximum(box[1] - x0, x0 - box[0]), dim=1)
    need = need.masked_fill(need <= -torch.linalg.vector_norm(normals, dim=2) * reach[:, None], -torch.inf)
    r, multipliers, value = project(box[0] - x0, box[1] - x0, normals, need, rounds=60, turns=60)
    # The right sides include the slack; without it the value of the dual is lower by this.
    value = value - (multipliers * (slack + rounding)).sum(1)
    gap = torch.bmm(normals, r[:, :, None]).squeeze(2) - need
    reached = (gap >= -0.5 * slack).all(1) & ~never
    l2 = torch.linalg.vector_norm(r, dim=1)
    return (
        x0 + r,
        torch.where(reached, l2, torch.full_like(l2, float("inf"))),
        (2 * value.clamp(min=0)).sqrt() * (1 - 4 * eps),
    )
