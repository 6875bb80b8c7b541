"""Models in forms that a sweep has to feed otherwise, or cannot feed."""

import torch
from torch import nn


def convolution(shape, classes):
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, classes)
    )


def half(shape, classes):
    return convolution(shape, classes).half()


def brain(shape, classes):
    return convolution(shape, classes).bfloat16()


def double(shape, classes):
    return convolution(shape, classes).double()


def program(shape, classes):
    example = torch.rand(4, *shape)
    rows = torch.export.Dim("rows")
    return torch.export.export(convolution(shape, classes).eval(), (example,), dynamic_shapes=({0: rows},))


class OfRows(nn.Module):
    """A network whose forward names the number of its rows."""

    def __init__(self, shape, classes, rows):
        super().__init__()
        self.net = convolution(shape, classes)
        self.rows, self.shape = rows, shape

    def forward(self, x):
        return self.net(x.reshape(self.rows, *self.shape))


def of_rows(shape, classes, rows):
    return OfRows(shape, classes, rows)
