"""A machine without memory says nothing about a model or an input: the error goes on as it is."""

import pytest
import torch
from torch import nn

from intriguing import minimal_distortion
from intriguing.activations import read_items
from intriguing.basics.process.memory import is_out_of_memory
from intriguing.models.feeding.batches import batches_of

OUT_OF_MEMORY = [
    MemoryError("Unable to allocate 60.0 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64000000000 bytes."),
    torch.OutOfMemoryError("CUDA out of memory."),
]
KINDS = ["numpy", "cpu", "device"]


class Hungry(nn.Module):
    """Takes `calls` batches, then has no memory."""

    def __init__(self, error, calls):
        super().__init__()
        self.linear, self.error, self.calls = nn.Linear(4, 3), error, calls

    def forward(self, x):
        self.calls -= 1
        if self.calls < 0:
            raise self.error
        return self.linear(x).relu()


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=KINDS)
@pytest.mark.parametrize("calls", range(12))
def test_a_model_that_finds_no_memory_is_not_called_one_that_cannot_be_searched(error, calls):
    x = torch.rand(2, 4)
    with pytest.raises(type(error)) as raised:
        minimal_distortion(Hungry(error, calls).requires_grad_(False), x, [0, 1])
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=KINDS)
def test_a_model_without_memory_is_not_tried_with_other_batches(error):
    model = Hungry(error, 0)
    with pytest.raises(type(error)):
        batches_of(model, torch.rand(2, 4), 8)
    assert model.calls == -1


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=KINDS)
def test_an_input_that_found_no_memory_is_not_skipped(error):
    class Items:
        def __getitem__(self, index):
            raise error

    skipped = []
    with pytest.raises(type(error)):
        list(read_items(Items(), [0, 1], batch=2, skipped=skipped))
    assert not skipped
