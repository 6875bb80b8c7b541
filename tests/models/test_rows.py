"""What a row costs is counted by hand, and the batches follow from it."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from intriguing.models.feeding.rows import DEAR, MIDDLE, PADDED, SINGLE, SMALL, Blocks, blocks_of, operations_of_row


def test_operations_are_those_counted_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 8 * 8, 4)).eval()
    by_hand = 2 * (64 * 5 * 27 + 320 * 4)
    assert operations_of_row(model, torch.rand(1, 3, 8, 8)) == by_hand
    assert operations_of_row(model, torch.rand(6, 3, 8, 8)) == by_hand
    with torch.inference_mode():
        assert operations_of_row(model, torch.rand(1, 3, 8, 8)) == by_hand
    exported = torch.export.export(model, (torch.rand(2, 3, 8, 8),)).module()
    assert operations_of_row(exported, torch.rand(2, 3, 8, 8)) == by_hand


def test_counting_does_not_load_the_compiler_and_counts_compiled_models_alike():
    code = (
        "import sys, torch; from torch import nn; from intriguing.models.feeding.rows import operations_of_row as of; "
        "model, x = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval(), torch.rand(2, 1, 8, 8); "
        "print(of(model, x), 'torch._dynamo' in sys.modules); compiled = torch.compile(model, backend='eager'); "
        "compiled(x); print(of(compiled, x), of(model, x), 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=250)
    assert done.stdout.split() == ["520.0", "False", "520.0", "520.0", "True"]


def test_the_compiler_does_not_compile_what_counts():
    """It compiled the counting mode anew for each kind of call, warned of it, and a search took three times as long."""
    code = (
        "import torch; from torch import nn; from intriguing.models.feeding.rows import operations_of_row as of; "
        "from torch._dynamo.utils import counters; net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()); "
        "model = torch.compile(net.eval(), backend='eager'); print(of(model, torch.rand(2, 1, 8, 8)), "
        "counters['frames']['total'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=250)
    operations, frames = map(float, done.stdout.split())
    assert operations == 2 * 2 * 9 * 36 and frames <= 1


def test_attention_counts_and_a_layer_without_a_formula_counts_by_its_weights():
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval().requires_grad_(False)
    recurrent = nn.LSTM(8, 16, batch_first=True)
    assert operations_of_row(block, torch.rand(1, 10, 16)) >= 2 * 10 * (4 * 16 * 16 + 2 * 16 * 32)
    assert operations_of_row(recurrent, torch.rand(1, 5, 8)) >= 2 * sum(p.numel() for p in recurrent.parameters())


@pytest.mark.parametrize(
    ("blocks", "count", "sizes"),
    [
        (PADDED, 1, [32]),
        (PADDED, 130, [128, 32]),
        (SMALL, 1, [4]),
        (SMALL, 13, [8, 5]),
        (SMALL, 0, []),
        (SINGLE, 3, [1, 1, 1]),
        (Blocks(7, 7, 7), 8, [7, 7]),
        *((PADDED.finer(8, 1e4), count, sizes) for count, sizes in ((1, [8]), (17, [24]), (25, [32]), (40, [64]))),
        *((PADDED.finer(8, 1e6), count, sizes) for count, sizes in ((7, [8]), (25, [32]), (40, [32, 8]), (50, [64]))),
        (PADDED.finer(8, 1e6), 236, [128, 96, 16]),
        (PADDED.finer(8, 1e4), 130, [128, 8]),
        *((PADDED.finer(16, 1e6), count, sizes) for count, sizes in ((1, [16]), (20, [32]), (40, [32, 16]))),
    ],
)
def test_a_batch_has_what_remains_padded_to_the_least_and_to_the_step(blocks, count, sizes):
    batches = []
    while count > sum(batches):
        batches.append(blocks.size(count - sum(batches)))
    assert batches == sizes
    assert blocks.padded(count) == sum(sizes)


def test_dear_rows_are_fed_alone_and_cheap_ones_in_padded_batches():
    assert [blocks_of(w) for w in (0, MIDDLE - 1, MIDDLE, DEAR - 1, DEAR, 1e12)] == [PADDED] * 2 + [SMALL] * 2 + [
        SINGLE
    ] * 2


def test_rows_of_a_large_dense_network_share_the_reading_of_its_weights():
    least = 2e8
    assert blocks_of(least, least) == SMALL
    assert blocks_of(10 * least, least) == SINGLE
    assert blocks_of(2e7, 2e7) == PADDED
