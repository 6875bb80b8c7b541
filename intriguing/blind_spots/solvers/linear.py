"""The exact optimum for models that are linear by their structure.

For logits W x + b the set where class t wins is a polytope, and the nearest point of it inside the box is a quadratic
programme with classes - 1 constraints, solved by its dual in float64. The dual's value is a certificate: no smaller
change succeeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from intriguing.basics.precision import Precision
from intriguing.basics.process.memory import is_out_of_memory
from intriguing.blind_spots.arithmetic.box import Bound, Box
from intriguing.blind_spots.arithmetic.objective import margin
from intriguing.blind_spots.arithmetic.qp import project
from intriguing.blind_spots.network.autograd import functions_behind
from intriguing.blind_spots.network.evaluate import MASKED, Evaluator
from intriguing.blind_spots.solvers.loop import State
from intriguing.errors import ModelError
from intriguing.stability.problem import Network
from intriguing.stability.tracing.graph import linear_function, trace

_SHARE, _ROUNDING = 1e-6, 1.0
"""The first margin of the target class over a rival: this share of the rival's lead at the image, plus this many units
in the last place of the two logits. `optima` enlarges it where rounding inside the model is larger."""
_GROWTH, _TIMES = 3, 13
"""Factor by which the margin is enlarged, and largest number of attempts."""
_BYTES = 2**28
"""Largest size of the constraints of all rows that are solved at once."""

_BENT = 1e-2
"""Relative distance from an affine function beyond which a model is not looked at more closely."""
_ROUNDED = 4096
"""Units in the last place of the logits that rounding can be, at most, of what is not yet taken for a bend."""
_CURVED = frozenset(
    f"{name}Backward"
    for name in (
        *("Relu", "LeakyRelu", "Gelu", "Silu", "Mish", "Elu", "Softplus", "Sigmoid", "LogSigmoid", "Tanh", "Hardtanh"),
        *("Hardswish", "Hardsigmoid", "Softmax", "NativeLayerNorm", "NativeGroupNorm", "MaxPool2DWithIndices"),
    )
)
"""Functions of autograd that are never affine."""


@dataclass(frozen=True)
class Affinity:
    """A model that is affine by its structure: W (C, n) and b (C,) in float64, and its rounding errors."""

    weight: Tensor
    bias: Tensor
    network: Network

    def rounding(self, x0: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """By how much (R, C) float32 can favour class t over each other one, for changes of `x0` up to `radius`."""
        graph = self.network.graph
        values = graph.values(x0.reshape(len(x0), *graph.nodes[0].shape).double())
        return self.network.rounding.pair_error(values, radius.double(), target)


def affinity(
    network: nn.Module, shape: tuple[int, ...], evaluator: Evaluator, rows: Tensor, precision: Precision | None = None
) -> Affinity | None:
    """The affine map of (C, n) that `network` is by the operations of its forward in eval mode, else None.

    Read from the traced graph, so a normalisation in front, convolutions, batch norm, views and hooks are seen, however
    they are written. The answer never comes from trying inputs, because a ReLU network is affine near almost every
    point: `rows` (R, n) only tell what is not affine, at the cost of a forward pass, and that the graph agrees with the
    model. precision: of products, as the user has it; lower bounds take its rounding into account.
    """
    if len(rows) == 0 or _bends(evaluator, rows) or _is_curved(network, rows[:1].reshape(1, *shape)):
        return None
    try:
        graph = trace(network, shape)
        if not graph.is_affine or graph.dtype != rows.dtype:
            return None
        whole = Network.of(graph, rows, precision)
    except ModelError:
        return None
    _, adjoint = linear_function(whole.graph)
    unit = torch.eye(whole.classes, dtype=torch.float64, device=rows.device)
    origin = torch.zeros(1, *shape, dtype=torch.float64, device=rows.device)
    found = Affinity(adjoint(unit).flatten(1), whole.graph.values(origin)[-1][0], whole)
    return found if agrees(found.weight, found.bias, evaluator, rows) else None


def _bends(evaluator: Evaluator, rows: Tensor) -> bool:
    """Whether the model is not affine on the lines through some of `rows`, extended far beyond them.

    A line leads from each row to the one before; from a row that is the same, as a single one is, to a ramp.
    """
    before = rows.roll(1, 0)
    ramp = torch.linspace(0, 1, rows.shape[1], dtype=rows.dtype, device=rows.device)
    before = torch.where((before == rows).all(1, keepdim=True), ramp, before)
    ends = before * 3 - rows * 2, rows * 3 - before * 2
    try:
        left, right, middle = (evaluator.forward(end) for end in (*ends, (ends[0] + ends[1]) / 2))
    except Exception as error:  # a model that refuses values outside the box, where these lines lead
        if is_out_of_memory(error):
            raise
        return True
    usable = (left > MASKED) & (right > MASKED) & (middle > MASKED)
    gap = ((left + right) / 2 - middle).abs()[usable]
    if not len(gap):
        return False
    size, change = (left.abs() + right.abs())[usable].amax(), (left - right).abs()[usable].amax()
    # Of a network whose logits hardly change, as before training, the offset says nothing.
    rounding = _ROUNDED * torch.finfo(rows.dtype).eps * size
    return bool(gap.amax() > _BENT * size) or bool(gap.amax() > torch.maximum(_BENT * change, rounding))


def _is_curved(network: nn.Module, image: Tensor) -> bool:
    """Whether the logits of `image` (1, *shape) follow from it through a function that is known not to be affine.

    Untrained networks are nearly affine. Their structure shows so in the memory of one row; a trace takes that of many.
    """
    with torch.enable_grad():
        leaf = image.detach().clone().requires_grad_()
        try:
            out = network(leaf * 1)
        except Exception as error:  # a model that takes no single image
            if is_out_of_memory(error):
                raise
            return False
    # Autograd adds the number of an overload to a name.
    return isinstance(out, Tensor) and any(n.name().rstrip("0123456789") in _CURVED for n in functions_behind(out))


def agrees(weight: Tensor, bias: Tensor, evaluator: Evaluator, rows: Tensor) -> bool:
    """Whether the model returns W x + b on `rows` (R, n), up to rounding: a check of the traced graph."""
    expected = rows.double() @ weight.T + bias
    logits = evaluator.forward(rows).double()
    size = rows.double().abs() @ weight.abs().T + bias.abs()
    close = (logits - expected).abs() <= 64 * torch.finfo(rows.dtype).eps * size
    return bool((close | (logits <= MASKED) | ~expected.isfinite()).all())


def optima(evaluator: Evaluator, rows: State, model: Affinity, box: Box, at_once: int) -> State:
    """The exact optimum of every row of a linear model, in the format of `search_rows`, with `lower_bound` (R,).

    The margin beyond the boundary is first as small as float32 allows. Where the model does not give the target class
    on the rounded image, the row is solved again with three times the margin, until it does.
    """
    count = len(rows["x0"])
    weight, bias = model.weight, model.bias
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
            errors = partial(model.rounding, x0, target)
            x, l2, bound = solve(weight, bias, x0, target, rivals, least, box.pair, errors)
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
    weight: Tensor, bias: Tensor, x0: Tensor, target: Tensor, rivals: Tensor, slack: Tensor, box: tuple[Bound, Bound],
    rounding: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The nearest point (R, n) where class t beats each rival by its `slack` (R, C), its L2 norm, and a lower bound.

    weight: (C, n); bias: (C,); x0: (R, n); target: (R,); rivals: (R, C) mask. rounding: from radii (R,) to what the
    rounding inside the model can favour class t by over each other one, (R, C). The norm (R,) is infinite where no
    point of the box is a success. The lower bound (R,) is proven for a slack of zero, even if the dual has not
    converged, and whatever the rounding does.
    """
    eps = torch.finfo(x0.dtype).eps
    x0 = x0.double()
    logits = x0 @ weight.T + bias
    aim = logits.gather(1, target[:, None])
    never = (aim.squeeze(1) == -torch.inf) | logits.isnan().any(1)
    need = (logits - aim + slack).masked_fill(~rivals, -torch.inf)
    need = need.masked_fill(never[:, None], -torch.inf)
    if int(rivals.sum(1).max()) == 1:
        which = rivals.to(torch.int8).argmax(1)
        normals, need = (weight[target] - weight[which])[:, None], need.gather(1, which[:, None])
        slack = slack.gather(1, which[:, None])
    else:
        which = None
        normals = weight[target][:, None] - weight
    # A rival that class t beats everywhere in the box, for example a masked class, is no constraint.
    reach = torch.linalg.vector_norm(torch.maximum(box[1] - x0, x0 - box[0]), dim=1)
    need = need.masked_fill(need <= -torch.linalg.vector_norm(normals, dim=2) * reach[:, None], -torch.inf)
    r, multipliers, value = project(box[0] - x0, box[1] - x0, normals, need, rounds=60, turns=60)
    gap = torch.bmm(normals, r[:, :, None]).squeeze(2) - need
    reached = (gap >= -0.5 * slack).all(1) & ~never
    l2 = torch.linalg.vector_norm(r, dim=1)
    errors = rounding(torch.minimum(torch.where(reached, l2, reach), reach)).nan_to_num(0, 0, 0)
    errors = errors if which is None else errors.gather(1, which[:, None])
    # The right sides include the slack; without it the value of the dual is lower by this.
    value = value - (multipliers * (slack + errors)).sum(1)
    return (
        x0 + r,
        torch.where(reached, l2, torch.full_like(l2, float("inf"))),
        (2 * value.clamp(min=0)).sqrt() * (1 - 4 * eps),
    )
