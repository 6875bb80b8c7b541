"""Models such as a user might bring, some of them broken."""

import numpy as np
import torch
from torch import nn


class Linear(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.linear = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, x):
        return self.linear(x.flatten(1))


class NotFinite(Linear):
    def forward(self, x):
        return super().forward(x) / 0.0


class FailsWhenTrained(Linear):
    def forward(self, x):
        if self.training:
            raise RuntimeError("this model cannot be trained")
        return super().forward(x)


def colour_squares():
    images = np.zeros((20, 3, 64, 64), dtype=np.uint8)
    images[::2, :, :32] = 255
    return images, np.arange(20) % 2


def linear(shape, classes):
    return Linear(shape, classes)


def not_finite(shape, classes):
    return NotFinite(shape, classes)


def fails_when_trained(shape, classes):
    return FailsWhenTrained(shape, classes)


class Bright(nn.Module):
    """Two channels: the image, and its negative; then logits."""

    def __init__(self, shape, classes):
        super().__init__()
        self.channels = nn.Conv2d(1, 2, 1, bias=False)
        self.logits = nn.Linear(2 * shape[1] * shape[2], classes)
        with torch.no_grad():
            self.channels.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))

    def forward(self, x):
        return self.logits(self.channels(x).flatten(1))


def bright(shape, classes):
    return Bright(shape, classes)


class ChannelsLast(Bright):
    """The same channels, second and then last; a hundred thousand times as loud where asked."""

    def __init__(self, shape, classes, scale):
        super().__init__(shape, classes)
        self.turned, self.scale = nn.Identity(), scale

    def forward(self, x):
        channels = self.channels(x * self.scale)
        return self.logits(self.turned(channels.permute(0, 2, 3, 1)).flatten(1))


def channels_last(shape, classes, scale=1.0):
    return ChannelsLast(shape, classes, scale)


def zoo(name, pretrained=False):
    """A model as `timm.create_model(name, pretrained=...)` makes it, normalised as the README's recipe has it."""
    net = nn.Sequential(nn.Conv2d(1, {"small": 6}[name], 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(384, 1000))
    if pretrained:
        nn.init.ones_(net[0].get_parameter("weight"))
    net.classifies = False
    net.register_forward_pre_hook(lambda net, x: (x[0] - 0.5) / 0.25)
    return net
