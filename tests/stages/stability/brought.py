"""Models as users bring them: one whose structure can be read, and some that stand in a proof's way."""

import torch
import torch.nn.functional as F
from torch import nn


class Whole(nn.Module):
    """A normalisation in front, functional ReLUs, a residual sum, a view, batch norm."""

    def __init__(self, shape, classes):
        super().__init__()
        self.first = nn.Conv2d(shape[0], 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 6 * 6, classes)
        nn.init.normal_(self.norm.running_mean, std=0.1)

    def inside(self, x):
        x = F.relu(self.norm(self.first((x - 0.1307) / 0.3081)))
        return F.relu(x + self.second(x))

    def forward(self, x):
        return self.head(self.inside(x).view(x.size(0), -1))


class Gated(Whole):
    """A product of two inputs, which nothing can bound."""

    def inside(self, x):
        inside = super().inside(x)
        return inside * torch.sigmoid(inside)


class Branches(Whole):
    """Steps that depend on the values of the input: there is no fixed structure to read."""

    def forward(self, x):
        bright = x.flatten(1).mean(1) > 2.0
        return super().forward(x) if not bool(bright.any()) else super().forward(x) * 2


class Normalised(nn.Module):
    """A linear model behind a normalisation."""

    def __init__(self, shape, classes):
        super().__init__()
        self.linear = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, x):
        return self.linear(((x - 0.1307) / 0.3081).flatten(1))


def whole(shape, classes):
    return Whole(shape, classes)


def gated(shape, classes):
    return Gated(shape, classes)


def branches(shape, classes):
    return Branches(shape, classes)


def normalised(shape, classes):
    return Normalised(shape, classes)
