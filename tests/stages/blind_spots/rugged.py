"""A network whose distance has many local minima, so that searches make further starts."""

import torch
from torch import nn


def build(classes):
    torch.manual_seed(2)
    layers = [nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, classes)]
    with torch.no_grad():
        for layer in layers[::2]:
            layer.weight.mul_(4)
    return nn.Sequential(nn.Flatten(), *layers)
