"""The rows of a search by the examples that they belong to."""

from dataclasses import dataclass

import torch
from torch import Tensor

_INFINITY = float("inf")


@dataclass(frozen=True)
class Groups:
    """R rows of E examples."""

    owner: Tensor
    """(R,) the example of each row."""
    count: int
    """E."""

    @classmethod
    def of(cls, owner: Tensor) -> "Groups":
        """The groups of the rows whose examples are `owner` (R,); examples without a row count up to the last one."""
        return cls(owner, int(owner.max()) + 1)

    def each(self, fill: float, dtype: torch.dtype) -> Tensor:
        """A number per example (E,)."""
        return torch.full((self.count,), fill, dtype=dtype, device=self.owner.device)

    def least(self, values: Tensor, index: Tensor | None = None) -> Tensor:
        """The smallest of the values (R,) of each example (E,), infinite without one; of the rows `index` (K,) alone
        where they are given with values (K,).
        """
        owner = self.owner if index is None else self.owner[index]
        return self.each(_INFINITY, values.dtype).scatter_reduce(0, owner, values, "amin")

    def total(self, values: Tensor) -> Tensor:
        """The sum of the values (R,) of each example (E,)."""
        return self.each(0, values.dtype).index_add_(0, self.owner, values)

    def first(self, values: Tensor) -> Tensor:
        """Indices of one row per example, that of the smallest value (R,); none for an example without a finite one."""
        return self.earliest(values.isfinite() & (values == self.least(values)[self.owner]))

    def earliest(self, mask: Tensor) -> Tensor:
        """Indices of the first row per example that `mask` (R,) has."""
        index = mask.nonzero().squeeze(1)
        order = torch.arange(len(index), device=index.device)
        earliest = order.new_full((self.count,), len(index)).scatter_reduce(0, self.owner[index], order, "amin")
        return index[earliest[self.owner[index]] == order]

    def at_rank(self, values: Tensor, rank: int) -> Tensor:
        """Indices of the row per example whose finite value (R,) has this rank, the smallest 0, or else of the last."""
        ranks, _ = ranked(values, self.owner)
        last = self.each(0, ranks.dtype)
        last.scatter_reduce_(0, self.owner, torch.where(values.isfinite(), ranks, torch.zeros_like(ranks)), "amax")
        return ((ranks == last[self.owner].clamp(max=rank)) & values.isfinite()).nonzero().squeeze(1)


def ranked(values: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """The rank (R,) of each row among the rows of its example, the smallest value first, and that value (R,)."""
    order = values.argsort(stable=True)
    order = order[owner[order].argsort(stable=True)]
    place = torch.arange(len(order), device=order.device)
    begins = torch.ones_like(place, dtype=torch.bool)
    begins[1:] = owner[order][1:] != owner[order][:-1]
    first = torch.where(begins, place, torch.zeros_like(place)).cummax(0).values
    ranks, least = torch.empty_like(place), torch.empty_like(values)
    ranks[order], least[order] = place - first, values[order][first]
    return ranks, least
