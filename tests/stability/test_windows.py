"""Which inputs the windows of pools read, against torch's own pools."""

from itertools import product

import torch
from torch.nn.functional import adaptive_max_pool1d, max_pool1d

from intriguing.stability.tracing.windows import adaptive_windows, overlap, pool_windows


def largest(x, windows):
    return [max(float(x[i]) for i in window) for window in windows]


def test_windows_of_a_pool_are_torch_s():
    x = torch.randn(11, generator=torch.Generator().manual_seed(0))
    seen = 0
    for n, kernel, stride, dilation, ceil in product(range(5, 12), (1, 2, 3), (1, 2, 3), (1, 2), (False, True)):
        for padding in range(kernel // 2 + 1):
            if n + 2 * padding < dilation * (kernel - 1) + 1:
                continue
            windows = pool_windows(n, kernel, stride, padding, dilation, ceil)
            pooled = max_pool1d(x[None, :n], kernel, stride, padding, dilation, ceil)[0]
            assert largest(x, windows) == pooled.tolist(), (n, kernel, stride, padding, dilation, ceil)
            seen += 1
    assert seen > 300


def test_windows_of_an_adaptive_pool_are_torch_s():
    x = torch.randn(11, generator=torch.Generator().manual_seed(0))
    for n, count in product(range(1, 12), range(1, 12)):
        assert largest(x, adaptive_windows(n, count)) == adaptive_max_pool1d(x[None, :n], count)[0].tolist()


def test_overlap_is_how_many_windows_read_the_position_that_most_read():
    assert overlap(5, ((0, 1, 2), (1, 2, 3), (2, 3, 4))) == 3
    assert overlap(4, ((0, 1), (2, 3))) == 1 and overlap(3, ()) == 0
