"""Random graphs of all operations that have an operator norm, and what their bounds may not fall below.

    python -m tests.stability.graphs SECONDS [SEED]

prints the number of graphs and every violation. The suite takes a few of them.
"""

import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import intriguing as ig
from intriguing.stability import layer_norms, lower_bounds
from intriguing.stability.tracing.graph import trace


def pick(g, options):
    return options[int(torch.randint(len(options), (), generator=g))]


def number(g, low, high):
    return low + (high - low) * float(torch.rand((), generator=g))


class Drawn(nn.Module):
    """Random operations of (B, C, H) one after the other, some with an earlier value beside."""

    def __init__(self, seed, count):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.shape = (pick(g, (1, 2, 3, 4)), pick(g, (3, 4, 5)))
        self.seed, self.steps = seed, []
        self.held = nn.ParameterList()
        values = [torch.randn(3, *self.shape, generator=g)]
        while len(self.steps) < count:
            name = pick(g, tuple(OPERATIONS))
            at = len(values) - 1 if pick(g, (0, 1, 1, 1)) else int(torch.randint(len(values), (), generator=g))
            other = int(torch.randint(len(values), (), generator=g))
            kept = len(self.held)
            try:
                run = OPERATIONS[name](g, values[at], self)
                value = run(values[at], values[other])
                fits = value.ndim == 3 and len(value) == 3 and 0 < value.numel() <= 300 and value.is_floating_point()
            except (RuntimeError, IndexError, ValueError, TypeError, AssertionError):
                fits = False
            if not fits:
                self.held = nn.ParameterList(list(self.held)[:kept])
                continue
            self.steps.append((name, at, other, run))
            values.append(value.detach())
        self.form = pick(g, ("same", "flat", "sum", "all", "vector"))

    def hold(self, g, *shape):
        """A constant of the network; a parameter, so that it follows the network's dtype."""
        self.held.append(nn.Parameter(torch.randn(*shape, generator=g), requires_grad=bool(pick(g, (0, 1)))))
        at = len(self.held) - 1
        return lambda: self.held[at]

    def forward(self, x):
        values = [x]
        for _, at, other, run in self.steps:
            values.append(run(values[at], values[other]))
        y = values[-1]
        if self.form == "all":
            return torch.cat([v.flatten(1) for v in values], 1)
        return {"same": lambda: y, "flat": lambda: y.flatten(1), "sum": lambda: y.sum(dim=(-1, 1))[:, None],
                "vector": lambda: y.amax((1, 2)).unsqueeze(-1)}[self.form]()  # fmt: skip

    def names(self):
        return [name for name, *_ in self.steps]


def plain(function):
    return lambda g, x, m: lambda a, b: function(a)


def both(function):
    return lambda g, x, m: lambda a, b: function(a, b)


def constant(shape, function):
    def make(g, x, m):
        c = m.hold(g, *shape(x.shape[1], x.shape[2], g))
        return lambda a, b: function(a, c())

    return make


def conv(g, x, m):
    c, groups = x.shape[1], pick(g, [d for d in (1, 2, 3) if x.shape[1] % d == 0])
    k, s, d, mode = pick(g, (1, 2, 3)), pick(g, (1, 2)), pick(g, (1, 2)), pick(g, ("constant", "circular", "replicate"))
    w, p = m.hold(g, groups * pick(g, (1, 2)), c // groups, k), pick(g, (0, 1))
    return lambda a, b: F.conv1d(F.pad(a, (p, p), mode=mode), w(), None, s, 0, d, groups)


def transposed(g, x, m):
    c, groups = x.shape[1], pick(g, [d for d in (1, 2) if x.shape[1] % d == 0])
    k, s, p = pick(g, (1, 2, 3)), pick(g, (1, 2)), pick(g, (0, 1))
    w = m.hold(g, c, pick(g, (1, 2)), k)
    return lambda a, b: F.conv_transpose1d(a, w(), None, s, p, s - 1, groups)


def einsum(g, x, m):
    equation = pick(g, ("bij,jk->bik", "bij,ijk->bik", "bij,ik->bkj", "bij,ij->bji", "bij,jk,kl->bil", "...j,kj->...k",
                        "bij,ijk->bk", "bij,k->bkj", "jk,bij->bki", "bij,jk->bij", "bij,iJ"))  # fmt: skip
    size = {"i": x.shape[1], "j": x.shape[2], "k": pick(g, (1, 2, 4)), "l": 3, "J": 2}
    terms = equation.partition("->")[0].split(",")
    held = [None if "b" in t or "." in t else m.hold(g, *(size[c] for c in t)) for t in terms]

    def run(a, b):
        y = torch.einsum(equation, *(a if h is None else h() for h in held))
        return y if y.ndim == 3 else y[:, None]

    return run


def norm_of(layer):
    def make(g, x, m):
        one = layer(x)
        for value in (getattr(one, "weight", None), getattr(one, "running_mean", None)):
            if value is not None:
                value.data.normal_(generator=g)
        if getattr(one, "running_var", None) is not None:
            one.running_var.uniform_(0.1, 2.0, generator=g)
        name = f"norm{len(m._modules)}"
        m.add_module(name, one.eval())
        return lambda a, b: m._modules[name](a)

    return make


def resized(g, x, m):
    mode, size = pick(g, ("nearest", "linear", "nearest-exact")), pick(g, (1, 2, 4, 7))
    return lambda a, b: F.interpolate(a, size, mode=mode, align_corners=True if mode == "linear" else None)


def resized_2d(g, x, m):
    mode, size = pick(g, ("bilinear", "bicubic")), (pick(g, (1, 2, 5)), pick(g, (2, 3, 6)))
    smooth = bool(pick(g, (0, 1)))
    return lambda a, b: F.interpolate(a[:, None], size, mode=mode, antialias=smooth)[:, 0]


def in_place(a, b):
    a = a.clone()
    a[:, :1].clamp_(min=0.1)
    return a


def powers(p):
    return lambda a: torch.linalg.vector_norm(a, p, dim=-1, keepdim=True)


OPERATIONS = {
    "einsum": einsum,
    "conv": conv,
    "transposed": transposed,
    "resized": resized,
    "resized 2d": resized_2d,
    "matmul": constant(lambda c, h, g: (h, pick(g, (1, 3))), lambda a, w: a @ w),
    "stack of matrices": constant(lambda c, h, g: (c, h, 3), lambda a, w: (a[:, :, None] @ w)[:, :, 0]),
    "left": constant(lambda c, h, g: (pick(g, (1, 4)), c), lambda a, w: w @ a),
    "linear": constant(lambda c, h, g: (4, h), F.linear),
    "tensordot": constant(lambda c, h, g: (h, 2), lambda a, w: torch.tensordot(a, w, ([2], [0]))),
    "times": constant(lambda c, h, g: (pick(g, (1, c)), h), lambda a, w: a * w),
    "plus": constant(lambda c, h, g: (c, 1), lambda a, w: w - a),
    "maximum with": constant(lambda c, h, g: (h,), torch.maximum),
    "minimum with": constant(lambda c, h, g: (c, 1), lambda a, w: torch.min(w, a)),
    "clamp": constant(lambda c, h, g: (h,), lambda a, w: torch.clamp(a, w, w.abs() + 0.1)),
    "clamp max": constant(lambda c, h, g: (1,), lambda a, w: torch.clamp(a, max=w)),
    "constant beside": constant(lambda c, h, g: (1, 1, h), lambda a, w: torch.cat([w.expand(len(a), -1, -1), a], 1)),
    "distances": constant(lambda c, h, g: (4, h), torch.cdist),
    "prelu": constant(lambda c, h, g: (pick(g, (1, c)),), lambda a, w: F.prelu(a, w)),
    "masked": lambda g, x, m: (lambda mask: lambda a, b: a.masked_fill(mask, 0.5))(
        torch.rand(x.shape[1:], generator=g) < 0.3
    ),
    "lerp": lambda g, x, m: (lambda w: lambda a, b: torch.lerp(a, b, w))(number(g, -2, 3)),
    "add": lambda g, x, m: (lambda w: lambda a, b: torch.add(a, b, alpha=w))(number(g, -2, 2)),
    "sum": both(lambda a, b: b + a),
    "difference": both(lambda a, b: a.mean(-1, keepdim=True) - b),
    "broadcast": both(lambda a, b: a.sum(1, keepdim=True) + b.amax(2, keepdim=True)),
    "maximum": both(torch.maximum),
    "minimum": both(torch.minimum),
    "least": both(lambda a, b: a.minimum(b.mT)),
    "cat": both(lambda a, b: torch.cat([a, b, a], -1)),
    "cat 1": both(lambda a, b: torch.cat((b, a), dim=1)),
    "cat same": plain(lambda a: torch.cat([a, a, a], -2)),
    "stack": both(lambda a, b: torch.stack([a, b], -1).flatten(2)),
    "stack same": plain(lambda a: torch.stack(dim=1, tensors=[a, a]).flatten(1, 2)),
    "cumsum": plain(lambda a: a.cumsum(-1)),
    "cumsum 1": plain(lambda a: torch.cumsum(dim=1, input=a)),
    "amax": plain(lambda a: a.amax(-1, keepdim=True)),
    "amax 1": plain(lambda a: a.amax(dim=1)[:, None]),
    "amin": plain(lambda a: a.amin((1, -1), keepdim=True)),
    "max": plain(lambda a: a.max(-2, keepdim=True).values),
    "softsign": plain(F.softsign),
    "sort": plain(lambda a: a.sort(dim=-1, descending=True)[0]),
    "sort 1": plain(lambda a: a.sort(1).values),
    "topk": plain(lambda a: a.topk(2, -1)[0]),
    "least two": plain(lambda a: a.topk(2, dim=2, largest=False).values),
    "logsumexp": plain(lambda a: a.logsumexp(-1, keepdim=True)),
    "logsumexp 1": plain(lambda a: a.logsumexp(1)[:, None]),
    "softmax": plain(lambda a: a.softmax(-1)),
    "log softmax": plain(lambda a: a.log_softmax(1)),
    **{f"norm {p}": plain(powers(p)) for p in (1, 1.5, 2, 3, math.inf)},
    "lp pool": lambda g, x, m: (lambda k, s, c: lambda a, b: F.lp_pool1d(a, 2, k, s, c))(
        pick(g, (2, 3)), pick(g, (1, 2)), bool(pick(g, (0, 1)))
    ),
    "avg pool": lambda g, x, m: (lambda k, p, c: lambda a, b: F.avg_pool1d(a, k, 2, p, c))(
        pick(g, (2, 3)), pick(g, (0, 1)), bool(pick(g, (0, 1)))
    ),
    "max pool": lambda g, x, m: (lambda k, s: lambda a, b: F.max_pool1d(a, k, s, 1))(pick(g, (2, 3)), pick(g, (1, 2))),
    "adaptive": plain(lambda a: F.adaptive_avg_pool1d(a, 2)),
    "adaptive max": plain(lambda a: F.adaptive_max_pool1d(a, 3)),
    "relu": plain(lambda a: a.clone().relu_()),
    "leaky": plain(lambda a: F.leaky_relu(a, -1.5)),
    "abs": plain(torch.abs),
    "tanhshrink": plain(F.tanhshrink),
    "gelu": plain(F.gelu),
    "elu": plain(lambda a: F.elu(a, 2.0)),
    "sin": plain(torch.sin),
    "hardswish": plain(F.hardswish),
    "erf": plain(torch.erf),
    "softshrink": plain(lambda a: F.softshrink(a, 0.3)),
    "permute": plain(lambda a: a.permute(0, -1, 1)),
    "flip": plain(lambda a: a.flip(-1)),
    "roll": plain(lambda a: a.roll(1, 2)),
    "view": plain(lambda a: a.reshape(len(a), -1, 1)),
    "unfold": plain(lambda a: a.unfold(-1, 2, 1).flatten(2)),
    "index": plain(lambda a: a[..., [0, 0, -1]]),
    "repeat": plain(lambda a: a.repeat(1, 2, 1)),
    "halves": plain(lambda a: torch.cat(a.chunk(2, -1)[::-1], -1)),
    "in place": both(in_place),
    "mean": plain(lambda a: a.mean(dim=[-1], keepdim=True)),
    "pad": plain(lambda a: F.pad(a, (1, 2), value=0.3)),
    "shuffle": plain(
        lambda a: F.pixel_unshuffle(F.pad(a, (0, a.shape[2] % 2, 0, a.shape[1] % 2))[:, None], 2).flatten(2)
    ),
    "tril": plain(torch.tril),
    "dropout": plain(lambda a: F.dropout(a, 0.5, False)),
    "batch norm": norm_of(lambda x: nn.BatchNorm1d(x.shape[1])),
    "layer norm": norm_of(lambda x: nn.LayerNorm(x.shape[2])),
    "group norm": norm_of(lambda x: nn.GroupNorm(1, x.shape[1])),
    "rms norm": norm_of(lambda x: nn.RMSNorm(x.shape[2], eps=1e-5)),
    "local response": plain(lambda a: F.local_response_norm(a, 2, alpha=1.0)),
}


def steepest(model, bound, g, points=3):
    """The largest ratio to `bound` of a slope or of a pair of points: of points of many scales, with ties and kinks."""
    model = model.double()
    worst = 0.0
    for scale in (1e-3, 0.3, 1.0, 10.0):
        x, y = (scale * torch.randn(24, *model.shape, generator=g, dtype=torch.float64) for _ in range(2))
        x[::4] = (2 * x[::4] / scale).round() * scale / 2
        y = torch.cat([y, x + 1e-5 * y, x * 0.9])
        x = torch.cat([x, x, x])
        far = (x - y).flatten(1).norm(dim=1)
        with torch.no_grad():
            moved = (model(x) - model(y)).flatten(1).norm(dim=1)
        worst = max(worst, float(((moved - 1e-12 * (1 + moved)) / far.clamp(min=1e-9)).amax()))
        for one in x[:points]:
            slope = torch.autograd.functional.jacobian(lambda v: model(v[None]).flatten(), one).reshape(-1, one.numel())
            if bool(slope.isfinite().all()):
                worst = max(worst, float(torch.linalg.matrix_norm(slope, 2)))
    return worst / bound if bound else (math.inf if worst > 1e-9 else 0.0)


def certified(model, seed, count=4):
    """Bounds of a network of the graph and a dense layer, and the distances that a search found: (bound, found)."""
    torch.manual_seed(seed)
    with torch.no_grad():
        width = model.float()(torch.zeros(1, *model.shape)).numel()
    whole = nn.Sequential(model, nn.Flatten(), nn.Linear(width, 3)).eval()
    x = torch.rand(count, *model.shape)
    with torch.no_grad():
        labels = whole(x).argmax(1)
    proven = lower_bounds(whole, x, labels, lower=-2.0, upper=3.0, effort=("fast", "slow")[seed % 2],
                          gigaflops=(10.0, 10.0, 0.0)[seed % 3])  # fmt: skip
    options = ig.SearchOptions(grade="fast", lower=-2.0, upper=3.0, exact_linear="off")
    found = ig.minimal_distortion(whole, x, labels, options=options)
    return proven.bound, found.l2.double()


def trial(seed, search=False):
    """What is wrong with the bounds of one graph (empty: nothing), and whether it has any."""
    model = Drawn(seed, 1 + seed % 5).eval()
    graph = trace(model, model.shape)
    bound = layer_norms(model, model.shape, norm=False, graph=graph).product_bound
    wrong = []
    if math.isfinite(bound):
        ratio = steepest(model, bound, torch.Generator().manual_seed(seed))
        if ratio > 1 + 1e-6:
            wrong.append((seed, model.names(), model.form, ratio))
        if search:
            bounds, found = certified(model, seed)
            if bool((bounds > found * (1 + 1e-6)).any()):
                wrong.append((seed, model.names(), model.form, bounds, found))
    return wrong, math.isfinite(bound)


if __name__ == "__main__":
    torch.set_num_threads(1)
    at = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    end, counted, bounded = time.monotonic() + float(sys.argv[1]), 0, 0
    while time.monotonic() < end:
        try:
            wrong, known = trial(at, search=True)
            if wrong:
                sys.stdout.write(f"VIOLATION {wrong}\n")
            if not known:
                sys.stdout.write(f"unbounded {Drawn(at, 1 + at % 5).names()}\n")
            bounded += known
        except Exception as e:
            sys.stdout.write(f"RAISES {at} {Drawn(at, 1 + at % 5).names()} {type(e).__name__} {str(e)[:200]}\n")
        counted, at = counted + 1, at + 1
        sys.stdout.flush()
    sys.stdout.write(f"{counted} graphs, {bounded} with a bound\n")
