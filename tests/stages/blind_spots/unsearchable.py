"""Models that train and classify, but that no search can see through."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.sweep.user_models import Linear


class Rounded(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.round())


class Detached(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.detach())


class Dropped(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.dropout(x))


class OfTheBatch(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - x.mean(0))


def rounded(shape: Any, classes: int) -> nn.Module:
    return Rounded(shape, classes)


def detached(shape: Any, classes: int) -> nn.Module:
    return Detached(shape, classes).requires_grad_(False)


def dropped(shape: Any, classes: int) -> nn.Module:
    return Dropped(shape, classes)


def of_the_batch(shape: Any, classes: int) -> nn.Module:
    return OfTheBatch(shape, classes)
