"""A user's model with a forward of its own."""

from torch import nn


class Own(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, 12), nn.ReLU())
        self.logits = nn.Linear(12, classes)

    def forward(self, x):
        return self.logits(self.hidden(x.flatten(1)))


def own(shape, classes):
    return Own(shape[0] * shape[1] * shape[2], classes)


class Stubborn(Exception):
    """An error that takes two arguments."""

    def __init__(self, name, times):
        super().__init__(name, times)


class Watched(Own):
    """Nobody may watch its layer `hidden` run alone."""

    def forward(self, x):
        if self.hidden._forward_hooks:
            raise Stubborn("hidden", 3)
        return super().forward(x)


def stubborn(shape, classes):
    return Watched(shape[0] * shape[1] * shape[2], classes)
