import numpy as np
import pytest
import torch
from torch import nn

from intriguing.activations import receptive_field
from intriguing.errors import ModelError


def test_a_convolution_sees_its_kernel():
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 2, 3)), "0", (1, 8, 6))
    assert field.rows.tolist() == [[i, i + 3] for i in range(6)]
    assert field.columns.tolist() == [[i, i + 3] for i in range(4)]


def test_strides_pooling_and_padding_add_up():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=1)
    )
    field = receptive_field(model, "3", (3, 32, 32))
    # Pooled place p sees rows 4p - 2 to 4p + 4; three of them span 15 rows.
    expected = [[max(0, 4 * (p - 1) - 2), min(32, 4 * (p + 1) + 5)] for p in range(8)]
    assert field.rows.tolist() == expected
    assert field.crop(8 * 3 + 2) == (*expected[3], *expected[2])


@pytest.mark.parametrize("size", [9, 90])
def test_gaps_between_columns_hide_no_row(size):
    # Columns 1, 2, 4, 5, ... are read by no place.
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 2, (2, 1), stride=(2, 3))), "0", (1, 8, size))
    assert field.rows.tolist() == [[0, 2], [2, 4], [4, 6], [6, 8]]
    assert field.columns.tolist() == [[i, i + 1] for i in range(0, size, 3)]


def test_what_a_wide_stride_passes_over_is_in_no_field():
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 1, (1, 2), stride=(16, 32))), "0", (1, 64, 224))
    assert field.rows.tolist() == [[i, i + 1] for i in range(0, 64, 16)]
    assert field.columns.tolist() == [[i, i + 2] for i in range(0, 224, 32)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_another_type_sees_its_kernel(dtype):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).to(dtype)
    field = receptive_field(model, "1", (1, 8, 6))
    assert field.rows.tolist() == [[i, i + 3] for i in range(6)]
    assert field.columns.tolist() == [[i, i + 3] for i in range(4)]


def test_zero_weights_do_not_hide_pixels():
    model = nn.Sequential(nn.Conv2d(1, 1, 3))
    nn.init.zeros_(model[0].weight)
    assert np.array_equal(receptive_field(model, "0", (1, 5, 5)).rows, [[0, 3], [1, 4], [2, 5]])


def test_a_large_batch_of_probes_gives_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1))
    one, many = (receptive_field(model, "1", (3, 24, 24), probes=p) for p in (1, 32))
    assert np.array_equal(one.rows, many.rows)
    assert one.rows[10].tolist() == [8, 13]


def test_a_layer_without_a_map_has_no_crop():
    with pytest.raises(ModelError, match="no map"):
        receptive_field(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), "1", (1, 4, 4))
