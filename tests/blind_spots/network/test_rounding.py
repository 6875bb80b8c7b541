"""Few rows are padded to 8 or 16 where the network rounds them as many, and to 32 where it does not."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.objective import pair
from intriguing.blind_spots.network.evaluate import Evaluator, frozen
from intriguing.blind_spots.network.few_channels import quick_gradients
from intriguing.blind_spots.network.rounding import fewest_alike
from intriguing.models.examination import Conduct
from intriguing.models.feeding.rows import PADDED, operations_of_row


def convolutional(head, classes=7, act=nn.ReLU):
    torch.manual_seed(head)
    layers = nn.Conv2d(1, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 9, 3), act(), nn.Flatten(), nn.Linear(81, head)
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(head, classes)).eval(), (1, 14, 14)


def dense(*widths, act=nn.ReLU):
    torch.manual_seed(widths[1])
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), act())]
    return nn.Sequential(*layers[:-1]).eval(), (widths[0],)


class Few(nn.Module):
    """A network that rounds fewer than `least` rows in another way: their logits, or only their gradients."""

    def __init__(self, model, least, backward=False, but=()):
        super().__init__()
        self.model, self.least, self.backward, self.but = model, least, backward, but

    def forward(self, x):
        z = self.model(x)
        if len(x) >= self.least or len(x) in self.but:
            return z
        factor = 1 + 2**-22
        return z * factor - (z * (factor - 1)).detach() if self.backward else z * factor


def evaluator_of(model, shape):
    return Evaluator(model, shape, PADDED, Conduct(torch.float32, model(torch.zeros(1, *shape)).shape[1]))


NETS = {
    **{f"convolutional with a head of {head}": convolutional(head) for head in (10, 17, 33, 50)},
    "convolutional with values that fill no vectors": convolutional(32, act=nn.SiLU),
    "dense": dense(60, 40, 24, 5),
    "dense of odd widths": dense(61, 33, 17, 5),
    "sigmoids of odd widths": dense(61, 33, 17, 5, act=nn.Sigmoid),
    "two values": dense(2, 17, 3),
    "rounds few otherwise": (Few(dense(64, 32, 8)[0], 32), (64,)),
    "rounds few but 16 otherwise": (Few(dense(64, 32, 8)[0], 32, but=(16,)), (64,)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_row_has_the_same_bits_in_any_company_of_1_to_40(name):
    model, shape = NETS[name]
    with torch.no_grad(), frozen(model), quick_gradients(model):
        evaluator = evaluator_of(model, shape)
        x = torch.rand(40, evaluator.size, generator=torch.Generator().manual_seed(1)) ** 2
        operations = operations_of_row(model, x[:1].reshape(1, *shape))
        fewest = fewest_alike(evaluator, Box(0.0, 1.0), x, operations)
        if name.startswith(("convolutional with a head", "rounds few")):
            assert fewest == (8 if "head" in name else 16 if "16" in name else 32)
        evaluator = evaluator.in_blocks(PADDED.finer(fewest, operations))

        def margin(z, s):
            return pair(z, *z.topk(2, dim=1).indices.unbind(1))

        whole, gradient = evaluator.forward(x), evaluator.gradient(x, margin)[2]
        for count in range(1, 40):
            for part in (slice(0, count), slice(40 - count, 40)):
                assert torch.equal(evaluator.forward(x[part]), whole[part])
                assert torch.equal(evaluator.gradient(x[part], margin)[2], gradient[part])


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("least", [9, 17, 25, 32])
def test_a_network_that_rounds_8_16_or_24_rows_otherwise_is_seen(least, backward):
    model, shape = dense(64, 32, 8)
    box, x = Box(-1.0, 2.0), torch.rand(3, 64)
    with torch.no_grad(), frozen(model):
        assert fewest_alike(evaluator_of(model, shape), box, x, 1e4) == 8
        fewest = fewest_alike(evaluator_of(Few(model, least, backward), shape), box, x, 1e4)
        assert fewest == (16 if least == 9 else 32)


def test_a_network_whose_gradient_is_zero_or_that_takes_no_24_rows_tells_nothing():
    class Even(nn.Module):
        def forward(self, x):
            assert len(x) in (1, 8, 32)
            return x[:, :4]

    flat = nn.Sequential(nn.Linear(6, 3), nn.Threshold(1e9, 0.0))
    for model in (Even(), flat):
        with torch.no_grad(), frozen(model):
            assert fewest_alike(evaluator_of(model, (6,)), Box(0.0, 1.0), torch.rand(2, 6), 1e4) == 32


def test_a_search_pads_few_rows_to_eights_and_finds_what_it_finds_in_company():
    model, shape = convolutional(33)
    model[-1].weight.data.mul_(4)
    x = torch.rand(9, *shape, generator=torch.Generator().manual_seed(2))
    options = SearchOptions(grade="fast", exact_linear="off")
    y, sizes = model(x).argmax(1), []
    hook = model[0].register_forward_hook(lambda module, inputs, out: sizes.append(len(out)))
    whole = minimal_distortion(model, x, y, options=options)
    assert whole.status == ["found"] * 9 and (whole.plan.blocks.least, whole.plan.blocks.most) == (8, 128)
    assert "the model gets 8 to 128 images at a time" in str(whole.plan)
    assert set(sizes) <= {1, 8, 16, 24, 32} and sum(sizes) == whole.forward_rows
    odd = minimal_distortion(Few(model, 32), x, y, options=options)
    assert odd.plan.blocks == PADDED
    for hooked in (True, False):  # without a hook a recording stands in for the network
        whole = minimal_distortion(model, x, y, options=options)
        for part in (slice(0, 1), slice(3, 9)):
            alone = minimal_distortion(model, x[part], y[part], options=options)
            assert torch.equal(alone.adversarial, whole.adversarial[part])
        if hooked:
            hook.remove()
