"""Denormal numbers: taken for zero inside, and afterwards as before."""

import pytest
import torch

from intriguing.basics.precision import without_denormals


def halved():
    """Half of the smallest normal number."""
    return float(torch.full((64,), torch.finfo(torch.float32).tiny).mul(0.5).sum())


@pytest.mark.parametrize("callers", [False, True])
def test_denormals_are_zero_inside_and_as_the_caller_has_them_afterwards(callers):
    if not torch.set_flush_denormal(callers):
        pytest.skip("this processor cannot take denormal numbers for zero")
    try:
        with pytest.raises(KeyError), without_denormals():
            assert halved() == 0
            with without_denormals():
                assert halved() == 0
            assert halved() == 0
            raise KeyError
        assert (halved() == 0) == callers
    finally:
        torch.set_flush_denormal(False)
    assert halved() > 0
