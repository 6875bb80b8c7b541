"""Small networks that are cut at their layers: some can be, some cannot."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


class Functional(nn.Module):
    """A network with a forward of its own: a block, a functional ReLU, a head."""

    def __init__(self, width=6):
        super().__init__()
        self.block = Block(12, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.block(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, x):
        return F.relu(self.linear(x))


class Skipping(Functional):
    """Something passes by `block`."""

    def __init__(self):
        super().__init__()
        self.by = nn.Linear(12, 3)

    def forward(self, x):
        return super().forward(x) + self.by(x.flatten(1))


class Twice(Functional):
    """`block.linear` runs twice."""

    def __init__(self):
        super().__init__()
        self.block = nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.block(self.block(x.flatten(1))))


class Unused(Functional):
    """`unused` does not run."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)


class Pair(Functional):
    """`block` gives two tensors."""

    def __init__(self):
        super().__init__()
        self.block = Both()

    def forward(self, x):
        return self.head(self.block(x.flatten(1))[0])


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 6)

    def forward(self, x):
        return self.linear(x), self.linear(x)


def seeded(make, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make(*arguments).eval()


def images(count=8):
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(5))


def chain(activation=nn.Sigmoid):
    """Two hidden layers of named pairs, as `mlp` has them."""
    layers = [("flatten", nn.Flatten())]
    for n, (inputs, units) in enumerate(((12, 8), (8, 7)), start=1):
        pair = OrderedDict([("linear", nn.Linear(inputs, units)), ("activation", activation())])
        layers.append((f"hidden{n}", nn.Sequential(pair)))
    net = nn.Sequential(OrderedDict([*layers, ("logits", nn.Linear(7, 3))]))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 4  # boundaries between the classes inside the box
                module.bias *= 0.1
    return net
