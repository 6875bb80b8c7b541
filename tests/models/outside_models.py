"""Models that keep numbers in places of their own, and models in odd forms, as functions for `build_model`."""

import random

import numpy as np
import torch
from torch import nn


class Projected(nn.Module):
    """Classes of a projection that `keep` keeps somewhere."""

    def __init__(self, keep):
        super().__init__()
        keep(self)
        self.classes = nn.Linear(8, 3)

    def forward(self, x):
        return self.classes(torch.relu(x.flatten(1) @ self.projection))

    @property
    def projection(self):
        return self.held[0] if isinstance(self.held, list) else torch.as_tensor(self.held).float()


def _held(value):
    return Projected(lambda model: setattr(model, "held", value))


def in_a_list():
    return _held([torch.randn(16, 8)])


def in_an_array():
    return _held(np.random.randn(16, 8))  # noqa: NPY002


def of_pythons_random():
    return _held(torch.tensor([[random.gauss(0, 1) for _ in range(8)] for _ in range(16)]))


def without_a_seed():
    return _held(np.random.default_rng().normal(size=(16, 8)))


def in_a_buffer_that_is_not_kept():
    return Projected(lambda model: model.register_buffer("held", torch.randn(16, 8), persistent=False))


def a_constant():
    return _held(torch.linspace(-1, 1, 128).view(16, 8))


def in_a_buffer():
    return Projected(lambda model: model.register_buffer("held", torch.randn(16, 8)))


def made_of_its_weights():
    return nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(16, 3)))


class Recurrent(nn.Module):
    """Its LSTM lists its weights in an attribute, too."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.classes = nn.Linear(6, 3)

    def forward(self, x):
        return self.classes(self.lstm(x[:, 0])[0][:, -1])


class ExtraState(nn.Linear):
    """Its state dict has something else than tensors."""

    def get_extra_state(self):
        return {"scale": 2.0}

    def set_extra_state(self, state):
        pass


def with_extra_state():
    return nn.Sequential(nn.Flatten(), ExtraState(16, 3))


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))


def complex_weights():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 3, dtype=torch.complex64))

        def forward(self, x):
            return (x.flatten(1).to(torch.complex64) @ self.weight).abs()

    return Complex()


def scripted():
    return torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)))


def frozen_script():
    return torch.jit.freeze(scripted().eval())


def with_a_frozen_part():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    model[1].requires_grad_(False)
    return model
