"""Device, eval mode and threads: what is set inside is as it was afterwards."""

import pytest
import torch
from torch import nn

from intriguing.basics.torch_modes import device_of, evaluating, threads


def test_every_module_has_its_own_mode_again_even_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3).eval()).train()
    model[1].eval()
    with pytest.raises(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False]


def test_an_exported_program_inside_a_model_keeps_its_mode():
    exported = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)).module()
    model = nn.Sequential(exported, nn.Dropout())
    with evaluating(model):
        assert not model[1].training
    assert model[1].training


def test_the_device_is_that_of_weights_or_buffers():
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")) == torch.device("meta")
    assert device_of(nn.Flatten()) == torch.device("cpu")


def test_the_number_of_threads_comes_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
