"""Operations of which a global Lipschitz bound is known, and no more: softmax and the normalisations of one input."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode
from torch.fx.node import map_arg

from intriguing.stability.tracing.ops import Op, Scale, Smooth, Unknown, flattened
from intriguing.stability.tracing.windows import pool_windows

if TYPE_CHECKING:
    from intriguing.stability.tracing.convert import Converter

_NAN = float("nan")
_SUMMED = 32
"""Roundings of a sum besides those of the numbers that are added one after the other."""


def softmax(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Softmax: its Jacobian diag(p) - p p^T has norm at most 1/2, reached at p = (1/2, 1/2)."""
    axis = int(a["dim"])
    if axis % x[0].ndim == 0:
        return Unknown("softmax across the batch")
    # With k classes of a large share each the norm nears 1/2, so the bound is the supremum for two classes or more.
    count = x[0].shape[axis]

    def error(values: Tensor, radius: Tensor) -> Tensor:
        # A share p errs by p (d + few) units, d its logit's distance to the largest, and p d < exp(-d) d < 0.4.
        rows = values[0].numel() / count
        return torch.full_like(radius, math.sqrt(rows) * (0.4 * math.sqrt(count) + _partial(count) + 16))

    bound = 0.5 if count > 1 else 0.0
    return Smooth("softmax", lambda t: torch.softmax(t, axis), bound, bound, error=error)


def log_softmax(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Log-softmax of k values: I - 1 p^T is an oblique projector, of norm |1| |p| <= sqrt(k), p near a corner.

    Of one value it is 0 everywhere.
    """
    axis = int(a["dim"])
    if axis % x[0].ndim == 0:
        return Unknown("log_softmax across the batch")
    count = x[0].shape[axis]
    bound = math.sqrt(count) if count > 1 else 0.0

    def error(values: Tensor, radius: Tensor) -> Tensor:
        span = flattened(values.amax(axis, True) - values.amin(axis, True)).amax(1) + 2 * radius
        return math.sqrt(values[0].numel()) * (4 * span + 4 * math.log(count) + _partial(count) + 16)

    return Smooth("log_softmax", lambda t: torch.log_softmax(t, axis), bound, bound, error=error)


def logsumexp(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Log of a sum of exponentials: its gradient is a softmax p, and |p| <= 1, p near a corner."""
    dims = _axes(a["dim"], x[0])
    if dims is None:
        return Unknown("logsumexp across the batch")
    keep = bool(a["keepdim"])
    count = math.prod(x[0].shape[d] for d in dims)

    def error(values: Tensor, radius: Tensor) -> Tensor:
        # Of the largest value, which is added, and of the logarithm of a sum of terms of up to 1.
        largest = flattened(values.abs()).amax(1) + radius
        return math.sqrt(values[0].numel() / count) * (8 * largest + 4 * math.log(count) + _partial(count) + 16)

    return Smooth("logsumexp", lambda t: torch.logsumexp(t, dims, keep), 1.0, 1.0, error=error)


def vector_norm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """The p-norm of n values: ||x| - |y|| <= |x - y| in the same norm.

    That is at most n^(1/p - 1/2) times the norm of p = 2, and at most once that norm for p >= 2. It is reached along
    (1, ..., 1) for p < 2, and along one axis for p >= 2.
    """
    dims, power = _axes(a["dim"], x[0]), float(a["ord"])
    if dims is None or power < 1:
        return Unknown("a norm across the batch, or one below p = 1")
    keep = bool(a["keepdim"])
    count = math.prod(x[0].shape[d] for d in dims)
    bound = count ** max(1 / power - 0.5, 0.0) * (1 + 1e-12)

    def function(t: Tensor) -> Tensor:
        return torch.linalg.vector_norm(t, power, dims, keep)

    def error(values: Tensor, radius: Tensor) -> Tensor:
        # Besides its share, what squares below the least number lose.
        reached = torch.linalg.vector_norm(flattened(function(values)), dim=1) + bound * radius
        return (count + 32) * (1 + reached)

    exact = power in (1.0, 2.0, math.inf)
    return Smooth("vector_norm", function, bound, bound, error=error if exact else None)


def distances(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Euclidean distances of a point to k constant ones: each gradient is a unit vector, so |J| <= sqrt(k)."""
    points = a["x2"]
    if not isinstance(points, Tensor) or points.ndim != 2 or float(a["p"]) != 2:
        return Unknown("distances of two inputs, or not Euclidean ones")
    points = points.detach().double()
    bound = math.sqrt(len(points)) * (1 + 1e-12)

    def function(t: Tensor) -> Tensor:
        return torch.cdist(t, points.to(t), compute_mode="donot_use_mm_for_euclid_dist")

    # torch may compute them from inner products, which err by the root of a roundoff where they are small.
    return Smooth("cdist", function, bound, _NAN)


def ordered(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """The values of sort and topk, whose Lipschitz constant is 1: sorted values lie no further apart than before.

    The rearrangement inequality (Hardy, Littlewood, Polya 1934, theorem 368): sum x_i y_i is largest when both are
    sorted alike, so |sorted x - sorted y|^2 <= |x - y|^2.
    """
    axis = int(a["dim"]) if a.get("dim") is not None else -1
    if axis % x[0].ndim == 0:
        return Unknown(f"{node.name} across the batch")
    if not a.get("sorted", True):
        return Unknown("topk in any order")
    target: Any = node.target
    rest, kwargs = node.args[1:], dict(node.kwargs)
    return Smooth("sort", lambda t: target(t, *rest, **kwargs)[0], 1.0, 1.0, error=_no_error)


def _no_error(values: Tensor, radius: Tensor) -> Tensor:
    return torch.zeros_like(radius)


def _axes(given: Any, x: Tensor) -> list[int] | None:
    """The axes that an operation works on; None where the batch is among them."""
    dims = [given] if isinstance(given, int) else list(given or ())
    dims = sorted({d % x.ndim for d in dims})
    return dims if dims and dims[0] > 0 else None


def layer_norm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Layer norm: u / sqrt(|u|^2 / n + eps) of the centred u has its steepest slope 1 / sqrt(eps) at u = 0."""
    size = math.prod(a["normalized_shape"])
    if len(a["normalized_shape"]) >= x[0].ndim:
        return Unknown("layer_norm across the batch")
    return _normalised("layer_norm", node, a, lambda t: t.reshape(len(t), -1, size))


def group_norm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Group norm, bounded as layer norm."""
    groups = int(a["num_groups"])
    # With the channels last the places of a channel are added one after the other.
    places = math.prod(x[0].shape[2:])
    return _normalised("group_norm", node, a, lambda t: t.reshape(len(t), groups, -1), together=places)


def rms_norm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """RMS norm, bounded as layer norm."""
    eps = a["eps"] if a["eps"] is not None else torch.finfo(node.meta["val"].dtype).eps
    size = math.prod(a["normalized_shape"])
    if len(a["normalized_shape"]) >= x[0].ndim:
        return Unknown("rms_norm across the batch")
    a = a | {"eps": eps}
    return _normalised("rms_norm", node, a, lambda t: t.reshape(len(t), -1, size), centred=False)


def instance_norm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Instance norm: with running statistics affine, else bounded as layer norm."""
    if a["use_input_stats"]:
        return _normalised("instance_norm", node, a, lambda t: t.flatten(2))
    scale = 1 / (a["running_var"].double() + a["eps"]).sqrt()
    scale = scale if a["weight"] is None else scale * a["weight"].detach().double()
    bias = None if a["bias"] is None else a["bias"].detach().double()
    return normalised_by(scale, a["running_mean"].double(), bias, x[0].ndim, "instance_norm")


def normalised_by(scale: Tensor, mean: Tensor, bias: Tensor | None, axes: int, kind: str) -> Op:
    """(x - mean) * scale + bias, each (channels,), of inputs (B, channels, ...) with so many axes."""
    offset = -mean * scale if bias is None else bias - mean * scale
    parts = (mean * scale).abs() + (0.0 if bias is None else bias.abs())
    scale, offset, parts = (t.reshape(-1, *[1] * (axes - 2)) for t in (scale, offset, parts))
    return Scale(scale, offset, kind, parts)


def _normalised(
    kind: str, node: FxNode, a: dict, rows: Callable[[Tensor], Tensor], *, centred: bool = True, together: int = 0
) -> Op:
    """A normalisation of `rows` (B, groups, n) of its input, each to the length sqrt(n).

    torch adds in a tree, or on a GPU by 128 threads or more; `together`: so many numbers at least one after the other.
    """
    weight, bias, eps = a["weight"], a.get("bias"), a["eps"]
    target: Any = node.target
    owner: Any = node.graph.owning_module
    rest = map_arg(node.args[1:], lambda n: getattr(owner, str(n.target)).detach().double())
    kwargs = map_arg(node.kwargs, lambda n: getattr(owner, str(n.target)).detach().double())
    gain = 1.0 if weight is None else float(weight.detach().double().abs().amax())
    bound = gain / math.sqrt(eps) if eps > 0 else math.inf

    def local(values: Tensor, radius: Tensor) -> Tensor:
        # The slope at u is that of the direction across u, gain / sqrt(|u|^2 / n + eps), and |u| >= |u_0| - radius.
        parts = rows(values)
        parts = parts - parts.mean(-1, keepdim=True) if centred else parts
        shortest = flattened(torch.linalg.vector_norm(parts, dim=-1)).amin(1) * (1 - 1e-12) - radius
        return gain / (shortest.clamp(min=0).square() / parts.shape[-1] + eps).sqrt() * (1 + 1e-12)

    shift = 0.0 if bias is None else float(bias.detach().double().abs().amax())

    def error(values: Tensor, radius: Tensor) -> Tensor:
        # Mean and variance err by so many units of the largest value and of its square, and count by the least spread.
        parts = rows(values)
        steps = _SUMMED + max(parts.shape[-1] / 128, together)
        size = (flattened(parts.abs()).amax(1) + radius) * local(values, radius) / max(gain, 1e-300)
        size = size if centred else torch.zeros_like(size)
        return math.sqrt(values[0].numel()) * (gain * (steps * size * (1 + size) + steps + 16) + 2 * shift)

    return Smooth(kind, lambda t: target(t, *rest, **kwargs), bound, _NAN, local, error)


def _partial(count: int) -> float:
    """The roundings that a sum of `count` numbers goes through, where torch adds eight or more sums side by side."""
    return count / 8 + _SUMMED


def lp_pool(node: FxNode) -> tuple[Op, FxNode] | None:
    """The p-norm pool for an even p that ends in `node` (a root), and its input; None where it is no such.

    torch writes it as (K mean of x^p over a window)^(1/p), K the size of a full window: with n values in a window, s =
    (K / n)^(1/p) times its p-norm, which moves by at most s times the L2 norm of the change in it. A value that is in
    several windows counts for each: the square of the Lipschitz constant is the largest sum over the windows that read
    one value of their s^2, which a single value that differs from 0 reaches.
    """
    at: Any = node
    kernel: list[int] = []
    rest: tuple[Any, ...] = ()
    for name in ("pow", "mul", "mul", "relu", "abs", "avg_pool", "pow"):
        if not isinstance(at, FxNode) or not str(at.target).startswith(f"aten.{name}"):
            return None
        if name == "avg_pool":
            kernel, rest = list(at.args[1]), at.args[2:]  # type: ignore[arg-type]
        elif name == "pow" and at is not node:
            break
        # The second product is that of the sign and the modulus.
        at = at.args[1] if at.args and str(at.args[0]).startswith("sign") else at.args[0]
    powers: Any = at
    if not isinstance(powers.args[1], int | float):
        return None
    source, power, whole, d = powers.args[0], float(powers.args[1]), math.prod(kernel), len(kernel)
    scaled: Any = node.args[0]
    stride = list(rest[0]) if rest and rest[0] else kernel
    padding, ceil = rest[1] if len(rest) > 1 else 0, bool(rest[2]) if len(rest) > 2 else False
    plain = scaled.args[1] == whole and node.args[1] == 1 / power and not any(_many(padding)) and len(rest) < 4
    if not plain or power < 2 or power % 2 or not isinstance(source, FxNode):
        return None
    function: Any = getattr(torch.nn.functional, f"lp_pool{d}d")

    def pooled(t: Tensor) -> Tensor:
        return function(t, power, kernel[0] if d == 1 else kernel, stride[0] if d == 1 else stride, ceil)

    bound = 1.0
    for n, k, s in zip(source.meta["val"].shape[-d:], kernel, stride, strict=True):
        reads = [0.0] * n
        for window in pool_windows(n, k, s, 0, 1, ceil):
            for position in window:
                reads[position] += (k / len(window)) ** (2 / power)
        bound *= max(reads)
    bound = math.sqrt(bound) * (1 + 1e-12)

    def error(values: Tensor, radius: Tensor) -> Tensor:
        # Sums of what is not negative, and besides what powers below the least number lose.
        reached = torch.linalg.vector_norm(flattened(pooled(values)), dim=1) + bound * radius
        return (whole + 32 + 8 * power) * (math.sqrt(pooled(values[:1]).numel()) + reached)

    return Smooth("lp_pool", pooled, bound, bound, error=error if power == 2 else None), source


def _many(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def local_response(node: FxNode, converter: "Converter") -> tuple[Op, FxNode] | None:
    """The local response normalisation that ends in `node` (a quotient), and its input; None where it is no such.

    torch writes x / (k + alpha / n * sum of x^2 over n neighbouring channels)^beta as a chain of ten operations.
    """
    if "div" not in node.name or len(node.args) != 2 or not isinstance(node.args[1], FxNode):
        return None
    source, chain, at = node.args[0], [], node.args[1]
    figures: dict[str, float] = {}
    while isinstance(at, FxNode) and at.op == "call_function" and len(chain) < 12:
        name = str(at.target).split(".")[1] if "." in str(at.target) else ""
        chain.append(name)
        if name == "mul" and at.args[0] is at.args[1]:
            break
        if name in ("pow", "mul", "add"):
            if not isinstance(at.args[1], int | float):
                return None
            figures[name] = float(at.args[1])
        if name.startswith("avg_pool"):
            figures["size"] = float(max(at.args[1]))  # type: ignore[type-var, arg-type]
        at = at.args[0]
    expected = {"pow", "add", "mul", "size"}
    if not isinstance(at, FxNode) or set(figures) != expected or at.args[0] is not source:
        return None
    if not isinstance(source, FxNode) or chain[:3] != ["pow", "add", "mul"]:
        return None
    size, alpha, beta, k = int(figures["size"]), figures["mul"], figures["pow"], figures["add"]
    channels = converter.values[converter.same.get(source, source)].shape[1]
    op = Smooth("local_response_norm", *_local_response(size, alpha, beta, k, channels))
    return op, source


def _local_response(size: int, alpha: float, beta: float, k: float, channels: int) -> tuple:
    """The function, an upper bound of its Lipschitz constant, and a value that the constant reaches.

    At x = 0 the Jacobian is k^-beta, which is what the paper gives (section 4.3, for x / (eps + |x|^2)^gamma over the
    whole vector and gamma in [0.5, 1]; right there, for then the Jacobian is symmetric with eigenvalues in +-d^-beta).
    Over a window of `size` channels J = d^-beta - 2 beta d^(-beta-1) (alpha / size) x_c x_c' has another, unsymmetric
    part: each row of it has norm at most 2 beta max_d (d - k) d^(-beta-1), and each column is in at most `size` rows.
    """
    attained = k**-beta if k > 0 else math.inf
    if k <= 0 or alpha < 0 or beta < 0:
        bound = math.inf
    elif size >= 2 * channels - 1 and beta <= 1:
        bound = attained
    else:
        rows = min(size, channels)
        bound = attained * (1 + 2 * math.sqrt(rows) * beta ** (beta + 1) / (beta + 1) ** (beta + 1))

    def error(values: Tensor, radius: Tensor) -> Tensor:
        reached = torch.linalg.vector_norm(flattened(function(values)), dim=1) + bound * radius
        # The logarithm of the denominator, which the power is computed from, at most.
        squares = alpha * (flattened(values.abs()).amax(1) + radius) ** 2
        return reached * (size + 32 + 8 * beta * (1 + abs(math.log(k)) + squares / k))

    def function(t: Tensor) -> Tensor:
        return torch.nn.functional.local_response_norm(t, size, alpha, beta, k)

    return function, bound, attained, None, error if k > 0 else None
