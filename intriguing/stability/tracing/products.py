"""Products of an input with a constant tensor: einsum and matmul of any form, as sums over named axes.

Let the axes of the input x, of the constant w and of the result y have letters. An axis of w and y alone is one of
outputs (F); of x and w alone, it is summed over (C); of all three, each of its places has a matrix of its own (S); of x
and y alone, all of its places share the matrices (G, the batch among them); of x alone, x is summed over it (R):

    y[g, s, f] = sum over c of w[s, f, c] (sum over r of x[g, s, c, r])

so the map is the direct sum, over g and s, of W_s (sum over r). The sum over R is sqrt(|R|) times a map with
orthonormal rows, hence the norm is sqrt(|R|) max_s |W_s|, exactly.
"""

import math
import string
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from intriguing.stability.tracing.ops import Op, Product, Unknown

TWO_INPUTS = "no global Lipschitz constant, for its slope grows with the inputs"
"""Why a product of two inputs has no bound: the slope of x y in x is y."""


def einsum(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """An einsum of one input and constants."""
    tensors = a["tensors"]
    moving = [place for place, t in enumerate(tensors) if isinstance(t, FxNode)]
    if len(moving) != 1:
        return Unknown(f"einsum of several inputs: {TWO_INPUTS}")
    shapes = [x[0].shape if isinstance(t, FxNode) else t.shape for t in tensors]
    terms, result = _letters(a["equation"], [len(s) for s in shapes])
    own = terms[moving[0]]
    others = [(terms[i], t.detach().double()) for i, t in enumerate(tensors) if i != moving[0]]
    if not others:
        others = [("", torch.ones((), dtype=torch.float64))]
    kept = "".join(sorted({c for letters, _ in others for c in letters} & set(own + result)))
    joined = f"{','.join(letters for letters, _ in others)}->{kept}"
    weight = torch.einsum(joined, *(t for _, t in others))
    found = _contraction(x[0], own, weight, kept, result)
    alone = len(others) == len(tensors) - 1 == 1 and set(others[0][0]) <= set(own + result)
    if alone or not isinstance(found, Product):
        return found
    # torch may multiply the input with the constants in any order, and each product and sum rounds.
    moduli = torch.einsum(joined, *(t.abs() for _, t in others))
    sizes = {c: n for letters, t in [(own, x[0]), *others] for c, n in zip(letters, t.shape, strict=True)}
    terms = len(tensors) * math.prod(max(n, 1) for c, n in sizes.items() if c not in result)
    return replace(found, moduli=moduli, terms=terms)


def matmul(x: Tensor, weight: Tensor, *, left: bool) -> Op:
    """The matrix product of an input x (B, ...) and a constant, which stands on the `left` or on the right."""
    weight = weight.detach().double()
    names = iter(string.ascii_letters)
    inner, free, own = next(names), next(names), next(names)
    batch = [next(names) for _ in range(x.ndim - 2)]
    rows = [next(names)]
    if x.ndim == 2:
        # Vectors: one of each row.
        if left or weight.ndim > 1:
            return Unknown("matmul across the batch")
        return _contraction(x, rows[0] + inner, weight, inner, rows[0])
    axes = rows + batch[1:]
    if weight.ndim == 1:
        letters = "".join(axes) + (inner + own if left else own + inner)
        return _contraction(x, letters, weight, inner, "".join(axes) + own)
    stack = list(weight.shape[:-2])
    if len(stack) > len(axes) or (len(stack) == len(axes) and stack[0] != 1):
        if len(stack) > len(axes) or not _rows_agree(weight, x):
            return Unknown("matmul with a constant for every row of a batch")
        weight, stack = weight[:1], [1, *stack[1:]]
    taken, given, out = list(axes), "", list(axes)
    for place in range(1, len(stack) + 1):
        n, at = stack[-place], len(axes) - place
        if n == 1:
            weight = weight.select(len(stack) - place, 0)
        elif x.shape[at] == 1:
            # The input is read by all of them: an axis of the result that the input does not have.
            given = (letter := next(names)) + given
            out[at] = letter
        else:
            given = axes[at] + given
    ends = (inner + own, free + inner, free + own) if left else (own + inner, inner + free, own + free)
    return _contraction(x, "".join(taken) + ends[0], weight, given + ends[1], "".join(out) + ends[2])


def tensordot(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """The tensordot of an input from the left and a constant."""
    weight = a["other"]
    if not isinstance(weight, Tensor):
        return Unknown(f"tensordot of two inputs: {TWO_INPUTS}")
    mine, theirs = ([d % n for d in a[k]] for k, n in (("dims_self", x[0].ndim), ("dims_other", weight.ndim)))
    own = string.ascii_letters[: x[0].ndim]
    free = iter(string.ascii_letters[x[0].ndim :])
    letters = [own[mine[theirs.index(d)]] if d in theirs else next(free) for d in range(weight.ndim)]
    kept = "".join(c for d, c in enumerate(own) if d not in mine)
    result = kept + "".join(c for d, c in enumerate(letters) if d not in theirs)
    return _contraction(x[0], own, weight.detach().double(), "".join(letters), result)


def _contraction(x: Tensor, own: str, weight: Tensor, given: str, result: str) -> Op:
    """The sum over named axes: of the input `own`, of the constant `given`, of the result `result`."""
    if own[:1] != result[:1] or own[:1] in given or own.count(own[:1]) != 1:
        return Unknown("einsum across the batch")
    if any(len(set(letters)) != len(letters) for letters in (own, given, result)):
        return Unknown("einsum of a diagonal")
    size_of = dict(zip(own, x.shape, strict=True))
    if any(n != size_of.setdefault(c, n) for c, n in zip(given, weight.shape, strict=True)):
        return Unknown("einsum that repeats an axis")
    if not set(result) <= set(own + given):
        return Unknown("einsum with an axis of its own in the result")
    alone = [i for i, c in enumerate(given) if c not in own + result]
    weight = weight.sum(alone) if alone else weight
    given = "".join(c for c in given if c in own + result)
    each = [c for c in given if c in own and c in result]
    outputs = [c for c in given if c not in own]
    summed = [c for c in given if c not in result]
    gone = [c for c in own if c not in given + result]
    order = [given.index(c) for c in (*each, *outputs, *summed)]
    shape = [math.prod(size_of[c] for c in group) for group in (each, outputs, summed)]
    equation = f"{own},{given}->{result}"

    def blocks(w: Tensor) -> Tensor:
        return w.permute(order).reshape(shape)

    count = math.prod(size_of[c] for c in gone)
    terms = shape[2] * count
    return Product(weight, lambda t, w: torch.einsum(equation, t, w), blocks, terms, math.sqrt(count))


def _letters(equation: str, axes: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand (of so many axes) and of the result, with an ellipsis spelt out."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    free = [c for c in string.ascii_letters if c not in equation]
    wide = max((n - len(t.replace("...", "")) for t, n in zip(terms, axes, strict=True) if "..." in t), default=0)
    spelt = "".join(free[:wide])
    out = []
    for term, n in zip(terms, axes, strict=True):
        hidden = n - len(term.replace("...", ""))
        out.append(term.replace("...", spelt[wide - hidden :]) if "..." in term else term)
    if not arrow:
        every = "".join(terms).replace("...", "")
        result = "..." + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    return out, result.replace("...", spelt)


def _rows_agree(value: Tensor, x: Tensor) -> bool:
    """Whether a constant with an entry for each row of the batch has the same in all."""
    return len(value) == len(x) and bool((value == value[:1]).all())


def repeated(value: Any, x: Tensor) -> Tensor | None:
    """The entry (1, ...) of a constant that has the same for each row of the batch; None where rows differ."""
    constant = torch.as_tensor(value).detach().double()
    return constant[:1] if constant.ndim == x.ndim and _rows_agree(constant, x) else None
