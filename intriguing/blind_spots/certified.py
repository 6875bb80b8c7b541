"""The other end of a search: a norm below which no change can succeed, proven for networks that are not linear."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from intriguing.blind_spots.box import Box, clip
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.result import SearchResult
from intriguing.stability.bounds import lower_bounds

_SEARCHED = ("found", "not_found", "no_gradient", "unstable")
"""Statuses of images that the model gets right, whose distance has a lower bound above 0."""


def with_bounds(
    result: SearchResult,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    options: SearchOptions,
) -> SearchResult:
    """`result` with the certified lower bounds of the searches, and a note of what proved them or stood in the way.

    images (B, *shape), labels (B,), targets (B,) or None are those that were searched.
    """
    rows = torch.tensor([status in _SEARCHED for status in result.status], device=images.device)
    if not bool(rows.any()):
        return result
    lower, upper = Box.of(options.lower, options.upper, images).shaped(images.shape[1:])
    proven = lower_bounds(
        network,
        clip(images[rows], lower, upper),
        labels[rows],
        None if targets is None else targets[rows],
        lower=lower,
        upper=upper,
        found=result.l2.to(images.device)[rows],
        effort=options.bounds,
    )
    # Rounded down to the dtype of the result.
    low = (proven.bound * (1 - 2 * torch.finfo(result.lower_bound.dtype).eps)).to(result.lower_bound)
    best = result.lower_bound.clone()
    best[rows.to(best.device)] = torch.fmax(low, best[rows.to(best.device)])
    note = f"Lower bounds: {proven.method}" + (f" ({proven.reason})." if proven.reason else ".")
    return replace(result, lower_bound=best, notes=(*result.notes, note))
