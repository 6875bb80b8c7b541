"""What the evaluator gives of a network is what the network gives."""

import torch
from torch import nn

from intriguing.blind_spots.evaluate import Evaluator
from intriguing.models.rows import Blocks


def test_the_gradient_in_pixels_of_tiny_weights_is_zero_and_the_others_keep_their_bits():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 16), nn.Sigmoid(), nn.Linear(16, 3)).requires_grad_(False)
    with torch.no_grad():
        model[0].weight[:, :8] *= 1e-37  # as weight decay leaves them where every image is black
    x = torch.rand(32, 32)
    x[:, :8] = 0
    leaf, slope = x.clone().requires_grad_(), torch.randn(32, 3)
    (usual,) = torch.autograd.grad(model(leaf), leaf, slope)
    assert 0 < usual[:, :8].abs().max() < 1e-37
    _, _, found = Evaluator(model, (32,), Blocks(32, 32)).gradient(x, lambda z, _: (z[:, 0], slope))
    assert torch.equal(found[:, 8:], usual[:, 8:])
    tiny = usual[:, :8].abs() < torch.finfo(torch.float32).tiny
    assert tiny.any() and not found[:, :8][tiny].any()
    assert float(usual[:, :8].mul(0.1).abs().max()) > 0  # outside of it such numbers are what they were
