"""In what batches a network is fed: padded where rows are cheap, what there is where they are dear."""

import pytest
import torch
from torch import nn

from intriguing.activations import CollectOptions, collect_activations, collect_maps
from intriguing.models import build_model, predict, probe
from intriguing.models.feeding import batches
from intriguing.models.feeding.batches import Batches, batches_of


class Counting(nn.Module):
    """A network that notes the sizes of its batches; `dear` by the number of its channels."""

    def __init__(self, width, least=1):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.head = nn.Linear(width, 5)
        self.least = least
        self.seen = []

    def forward(self, x):
        if len(x) < self.least:
            raise ValueError(f"at least {self.least} rows")
        self.seen.append(len(x))
        return self.head(self.conv(x).relu().mean((2, 3)))


def dear(**options):
    torch.manual_seed(0)
    return Counting(128, **options)  # 128 x 27 x 4,096 multiplications and as many additions: 3e7


def photos(count):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 16, 17, 255])
def test_batches_hold_what_there_is_and_are_even(count):
    parts = list(Batches(8, 1).parts(count))
    sizes = [part.stop - part.start for part in parts]
    assert sum(sizes) == count
    assert max(sizes) <= 8
    assert min(sizes) >= min(count, 4)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]


def test_dear_rows_are_not_padded():
    model = dear()
    logits = predict(model, photos(20), slots=256)
    assert model.seen == [1, 6, 7, 7]  # the first one is to count what a row costs
    model.seen.clear()
    predict(model, photos(1), slots=256)
    assert model.seen == [1]
    apart = torch.cat([predict(model, part, slots=32) for part in photos(20).split([1, 2, 17])])
    torch.testing.assert_close(apart, logits, rtol=1e-5, atol=1e-6)


def test_cheap_rows_are_padded():
    model = Counting(2)
    predict(model, photos(20), slots=32)
    assert model.seen == [1, 32]


def test_cheap_rows_are_padded_to_a_multiple_of_32_and_not_to_all_slots():
    """Padded to 256, the six photos of a sweep cost a MobileNet 94 times the rows that were needed to follow rays."""
    model = Counting(2)
    logits = predict(model, photos(330), slots=256)
    assert model.seen == [1, 256, 96]
    model.seen.clear()
    for count in (1, 32, 40, 200):
        assert torch.equal(predict(model, photos(330)[7 : 7 + count], slots=256), logits[7 : 7 + count])
    assert model.seen == [32, 32, 64, 224]
    model.seen.clear()
    [block] = collect_maps(model, [photos(3)], "conv", CollectOptions(slots=256))
    assert model.seen == [32, 32]
    assert block.layers["conv"].vectors.shape == (3, 2)


def test_padded_batches_of_large_inputs_hold_fewer(monkeypatch):
    monkeypatch.setattr(batches, "ROOM", 70 * 3 * 64 * 64 * 4)
    for slots, size in ((256, 64), (48, 48)):
        model = Counting(2)
        predict(model, photos(100), slots=slots)
        assert set(model.seen[1:]) == {size}
    monkeypatch.setattr(batches, "ROOM", 1)
    assert batches_of(Counting(2), photos(2), 256) == Batches(32, 32, 32)
    assert batches_of(dear(least=200), photos(2), 256) == Batches(256, 256, 256)  # it takes full batches alone


def test_a_network_that_takes_no_single_row_gets_two():
    model = dear(least=2)
    logits = predict(model, photos(1))
    assert model.seen[-1] == 2
    assert logits.shape == (1, 5)


def test_a_network_that_takes_full_batches_alone_gets_them():
    model = dear(least=16)
    predict(model, photos(20), slots=16)
    assert model.seen == [16, 16]
    [block] = collect_maps(model, [photos(3)], "conv", CollectOptions(slots=16))
    assert model.seen[2:] == [16, 16]
    assert block.layers["conv"].vectors.shape == (3, 128)


def test_collection_feeds_dear_rows_once_and_a_few_to_learn_the_axes():
    model = dear()
    blocks = list(collect_activations(model, photos(40).split(7), "conv", ids=range(100, 140), slots=16))
    assert sum(model.seen) == 1 + 5 + 40
    assert max(model.seen) <= 8
    assert [int(i) for block in blocks for i in block.ids] == list(range(100, 140))
    with torch.no_grad():
        expected = model.conv(photos(40)).amax((2, 3))
    torch.testing.assert_close(torch.cat([b.vectors["conv"] for b in blocks]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 5, 40, 100])
def test_dear_rows_of_a_loader_are_fed_in_full_batches_whatever_its_batches_are(size):
    model = dear()
    blocks = list(collect_activations(model, photos(80).split(size), "conv", slots=64))
    assert model.seen == [1, 5] + [8] * 10  # one to count what a row costs, five to learn the axes
    assert [int(i) for block in blocks for i in block.ids] == list(range(80))


def test_windows_that_share_an_axis_with_the_inputs_are_read_at_any_batch_size():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 128, 3, padding=1)
            self.inside = nn.Identity()

        def forward(self, x):
            n = len(x)
            tokens = self.conv(x).permute(0, 2, 3, 1).reshape(n * 4, 1024, 128)
            return self.inside(tokens).reshape(n, 4, 1024, 128).mean((1, 2))

    model, x = Windows(), photos(11)
    [*blocks] = collect_activations(model, [x], "inside@-1", slots=16)
    with torch.no_grad():
        expected = model.conv(x).amax((2, 3))
    torch.testing.assert_close(torch.cat([b.vectors["inside@-1"] for b in blocks]), expected, rtol=1e-5, atol=1e-6)


def test_what_a_row_costs_is_seen_in_inference_mode_and_through_a_fused_transformer():
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
    encoder = probe(nn.TransformerEncoder(layer, 4))  # 64 tokens x 200,000 weights, used once each: 2.5e7
    with torch.inference_mode():
        assert not batches_of(dear(), photos(2), 64).is_padded
        assert not batches_of(encoder, torch.rand(1, 64, 64), 64).is_padded
        assert batches_of(probe(build_model("mlp", (1, 28, 28), 10, seed=0)), torch.rand(2, 1, 28, 28), 64).is_padded
