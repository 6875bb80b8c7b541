"""A network whose rows are dear, and which counts the images that it sees (rows of zeros or NaN are probes)."""

import torch
from torch import nn

SEEN = {"images": 0}


class Counting(nn.Module):
    """16 x 16 patches as 512 units of a 4 x 4 map, and a linear map of their means."""

    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 512, 16, stride=16)
        self.head = nn.Linear(512, classes)

    def forward(self, x):
        SEEN["images"] += int((x.flatten(1).abs().sum(1) > 0).sum())
        return self.head(self.conv(x).relu().mean((2, 3)))


def build(classes):
    torch.manual_seed(0)
    return Counting(classes)
