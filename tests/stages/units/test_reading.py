"""How the inputs of collection are read: small ones by slots, photos a few at a time."""

import numpy as np
import pytest

from intriguing.data import Split
from intriguing.stages.units.tasks.activations import readable


class Noted:
    """Images of zeros that note how many are read at a time."""

    def __init__(self, count, size):
        self.shape, self.dtype = (count, 3, size, size), np.dtype(np.uint8)
        self.reads = []

    def __getitem__(self, rows):
        self.reads.append(len(rows))
        return np.zeros((len(rows), *self.shape[1:]), np.uint8)


@pytest.mark.parametrize(("size", "reads"), [(32, [256, 44]), (224, [32] * 9 + [12])])
def test_large_inputs_are_read_a_few_at_a_time(size, reads):
    images = Noted(300, size)
    names = []
    batches = readable(Split(images, np.zeros(300, int), np.arange(300)), np.arange(300)[::-1], 256, names, [])
    assert [len(batch) for batch in batches] == images.reads == reads
    assert names == list(range(299, -1, -1))
