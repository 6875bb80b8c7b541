"""Operator norms against brute-force singular values, and bounds that are never below them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import intriguing as ig
from intriguing.errors import InputError, ModelError, UnknownNameError
from intriguing.stability import layer_norms
from intriguing.stability.lipschitz import convolution, spectrum
from intriguing.stability.lipschitz.gains import gain, lanczos, tight_bound
from intriguing.stability.tracing import ops

from .hunt import Does

MODES = ("zeros", "circular", "reflect", "replicate")


def brute(layer, shape):
    layer = layer.double().eval()
    n = math.prod(shape)
    with torch.no_grad():
        rows = layer(torch.eye(n, dtype=torch.float64).reshape(n, *shape)) - layer(torch.zeros(1, *shape).double())
    return float(torch.linalg.matrix_norm(rows.flatten(1), 2))


def seeded(make, *args, **options):
    torch.manual_seed(0)
    return make(*args, **options)


LEFT = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
GATHERS = (
    lambda x: x.repeat(1, 2, 3),
    lambda x: x[:, None].expand(len(x), 3, -1, -1),
    lambda x: x[:, :, [0, 0, 1, 3, 3, 3]],
    lambda x: x[:, torch.tensor([True, False, True])],
    lambda x: x.index_select(2, torch.tensor([2, 2])),
    lambda x: x.repeat_interleave(2, 1),
    lambda x: x.unfold(2, 3, 1),
    lambda x: torch.cat([x, x, x], 2),
    lambda x: x.tril(),
    lambda x: x.mT.movedim(1, 2).swapaxes(1, 2),
    lambda x: LEFT.to(x) @ x,
)

LAYERS = [
    *((Does(function), (3, 4)) for function in GATHERS),
    (nn.Unfold(2, padding=1, stride=1), (2, 3, 4)),
    (nn.AvgPool3d(2, 1, divisor_override=3, ceil_mode=True), (1, 4, 3, 3)),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=7), (1, 8, 6)),
    *((seeded(nn.Conv2d, 4, 6, 3, s, 1 + (d == 2), d, g, padding_mode=m), (4, 9, 8))
      for m in MODES for s, d, g in ((1, 1, 1), (2, 1, 2), (4, 1, 1), (1, 2, 2), (2, 2, 1))),
    *((seeded(nn.Conv2d, 2, 3, 4, padding="same", padding_mode=m), (2, 6, 5)) for m in MODES),
    *((seeded(nn.Conv1d, 2, 3, 5, 2, 2, padding_mode=m), (2, 11)) for m in MODES),
    *((seeded(nn.Conv3d, 2, 3, 2, 2, 1, padding_mode=m), (2, 4, 5, 3)) for m in MODES),
    (seeded(nn.Conv2d, 2, 3, 3, padding="valid"), (2, 7, 6)),
    (seeded(nn.ConvTranspose1d, 4, 6, 3, 2), (4, 5)),
    (seeded(nn.ConvTranspose2d, 4, 6, 3, 2, 1, 1, 2), (4, 5, 4)),
    (seeded(nn.ConvTranspose2d, 4, 6, 3, 3, 1, 2, dilation=2), (4, 5, 4)),
    (seeded(nn.ConvTranspose3d, 2, 2, 3, 2, output_padding=1), (2, 3, 3, 2)),
    (seeded(nn.Linear, 7, 9), (7,)),
    (nn.AvgPool2d(3, 2, 1), (2, 8, 7)),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 8, 7)),
    (nn.AvgPool1d(3, 2), (2, 9)),
    (nn.AvgPool3d(2, 1), (1, 4, 3, 3)),
    (nn.AvgPool2d(2, divisor_override=3), (2, 8, 7)),
    (nn.AdaptiveAvgPool2d((3, 4)), (2, 8, 7)),
    (nn.Upsample(scale_factor=1.5, mode="bilinear"), (1, 6, 5)),
    (nn.Upsample(scale_factor=2), (1, 6, 5)),
    (nn.ReflectionPad2d(2), (1, 5, 4)),
    (nn.ConstantPad2d(2, 1.0), (1, 5, 4)),
    (nn.ConstantPad2d((1, -1, 2, 0), 0.0), (1, 5, 4)),
    (nn.ZeroPad1d((2, -1)), (3, 1)),
    (nn.PixelShuffle(2), (4, 3, 3)),
    (seeded(nn.Sequential, nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 4)), (2, 5, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=[str(n) for n in range(len(LAYERS))])
def test_the_norm_is_that_of_brute_force_and_the_bound_is_not_below_it(layer, shape):
    result, true = ig.operator_norm(layer, shape), brute(layer, shape)
    assert result.norm == pytest.approx(true, rel=1e-6)
    assert result.upper_bound >= true * (1 - 1e-13)


def test_a_layer_that_leaves_nothing_is_refused():
    with pytest.raises(ModelError, match=r"ReplicationPad2d gives no values for inputs of \(1, 1, 5\)"):
        ig.operator_norm(nn.ReplicationPad2d((0, 0, -1, 0)), (1, 1, 5))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_torus_is_never_below_the_layer(data):
    draw = data.draw
    d = draw(st.integers(1, 2))
    k, s, e, p = (draw(st.tuples(*[st.integers(a, b)] * d)) for a, b in ((1, 5), (1, 4), (1, 2), (0, 3)))
    n = tuple(e[i] * (k[i] - 1) + 1 + draw(st.integers(0, 6)) for i in range(d))
    mode = draw(st.sampled_from(MODES))
    p = tuple(min(p[i], n[i] - 1) if mode != "zeros" else p[i] for i in range(d))
    groups, transposed = draw(st.sampled_from((1, 2))), draw(st.booleans()) and mode == "zeros"
    torch.manual_seed(draw(st.integers(0, 10**6)))
    if transposed:
        extra = tuple(draw(st.integers(0, max(s[i], e[i]) - 1)) for i in range(d))
        layer = (nn.ConvTranspose1d, nn.ConvTranspose2d)[d - 1](2, 4, k, s, p, extra, groups, dilation=e)
    else:
        layer = (nn.Conv1d, nn.Conv2d)[d - 1](2, 4, k, s, p, e, groups, padding_mode=mode)
    try:
        outputs = tuple(layer(torch.zeros(1, 2, *n)).shape[1:])
    except RuntimeError:
        return  # an empty output
    pad = None
    if mode != "zeros":
        pad = ops.Pad(tuple(x for q in reversed(p) for x in (q, q)), mode)
    op = ops.Convolution(
        layer.weight.detach().double(), None, s, (0,) * d if pad else p, e, transposed, (), groups, pad
    )
    if math.prod(outputs) == 0:
        return
    bound = convolution.convolution_bound(op, (2, *n), outputs)
    assert bound >= brute(layer, (2, *n)) * (1 - 1e-12)


def test_a_bound_is_the_same_in_parts_as_at_once(monkeypatch):
    layers = [seeded(nn.Conv2d, 8, 12, 3, 2, padding=1, groups=2), seeded(nn.Conv2d, 3, 64, 5, padding=4, dilation=2)]
    shapes = [(8, 33, 21), (3, 40, 31)]
    whole = [ig.operator_norm(layer, shape).upper_bound for layer, shape in zip(layers, shapes, strict=True)]
    monkeypatch.setattr(convolution, "_HELD", 1)
    monkeypatch.setattr(spectrum, "_PRODUCTS", 1)
    parts = [ig.operator_norm(layer, shape).upper_bound for layer, shape in zip(layers, shapes, strict=True)]
    assert parts == pytest.approx(whole, rel=1e-8)


@pytest.mark.parametrize("shape", [(3, 7, 20), (4, 60, 50), (2, 64, 80), (1, 520, 530)])
def test_the_bound_of_a_stack_meets_its_largest_singular_value(shape):
    g = torch.Generator().manual_seed(0)
    stack = torch.randn(*shape, 2, generator=g, dtype=torch.float64)
    for blocks in (torch.view_as_complex(stack), stack[..., 0]):
        true = float(torch.linalg.matrix_norm(blocks, 2).amax())
        for stacks in (blocks, blocks.split(1), blocks.flip(0).split(1)):
            assert true <= spectrum.gram_bound(stacks) <= true * (1 + 1e-6)


def test_one_frequency_is_enough_for_pixels_and_for_weights_of_one_sign():
    g = torch.Generator().manual_seed(0)
    for kernel, stride, positive in ((1, 1, False), (1, 2, False), (3, 3, False), (3, 1, True), (3, 2, True)):
        weight = torch.randn(5, 4, kernel, kernel, generator=g, dtype=torch.float64)
        weight = weight.abs() if positive else weight
        op = ops.Convolution(weight, None, (stride,) * 2, (0, 0), (1, 1))
        inputs = (4, 12 + kernel, 12 + kernel)
        outputs = tuple(op.linear(torch.zeros(1, *inputs).double()).shape[1:])
        blocks = list(convolution._blocks(op, weight, inputs[1:] if positive else (12, 12), op.stride))
        assert [len(block) for block in blocks] == [1]
        layer = nn.Conv2d(4, 5, kernel, stride, bias=False).double()
        layer.weight.data = weight
        assert convolution.convolution_bound(op, inputs, outputs) >= brute(layer, inputs) * (1 - 1e-13)


def test_means_of_large_maps_have_a_bound():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    class Total(nn.Module):
        def forward(self, x):
            return x.sum(1, keepdim=True)

    assert ig.operator_norm(Mean(), (512, 14, 14)).upper_bound == pytest.approx(1 / 14)
    assert ig.operator_norm(Total(), (512, 14, 14)).upper_bound == pytest.approx(math.sqrt(512))
    assert ig.operator_norm(Mean(), (3, 4, 5)).norm == pytest.approx(brute(Mean(), (3, 4, 5)))


def test_a_circular_transform_at_the_own_size_would_be_no_bound():
    layer = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    layer.weight.data = torch.tensor([[[-1.0, 2.0, -1.0]]])
    result = ig.operator_norm(layer, (1, 3))
    assert result.norm == pytest.approx(2 + math.sqrt(2), abs=1e-9)
    op = ops.Convolution(layer.weight.detach().double(), None, (1,), (1,), (1,))
    assert convolution.convolution_bound(op, (1, 3), (1, 3)) >= 2 + math.sqrt(2)
    circular = ops.Convolution(op.weight, None, (1,), (0,), (1,), pad=ops.Pad((1, 1), "circular"))
    assert convolution.convolution_bound(circular, (1, 3), (1, 3)) == pytest.approx(3.0, rel=1e-6)


def test_overlapping_max_pooling_does_not_contract():
    pool = nn.MaxPool2d(3, 2)
    assert ig.operator_norm(pool, (2, 13, 13)).upper_bound == 2.0
    spike = torch.zeros(1, 1, 13, 13)
    spike[0, 0, 2, 2] = 1.0
    assert float(pool(spike).norm()) == 2.0
    assert ig.operator_norm(nn.MaxPool2d(2), (1, 8, 8)).norm == 1.0
    assert ig.operator_norm(nn.MaxPool2d(3, 1, 1), (1, 8, 8)).norm == 3.0
    assert ig.operator_norm(nn.MaxPool1d(2, 1, dilation=2), (1, 8)).norm == pytest.approx(math.sqrt(2))
    assert ig.operator_norm(nn.AdaptiveMaxPool2d(3), (1, 4, 4)).norm == 2.0


SLOPES = [
    nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(-1.5), nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(),
    nn.ELU(1.7), nn.SELU(), nn.CELU(0.7), nn.Mish(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softplus(2.0), nn.ReLU6(),
    nn.Hardtanh(), nn.LogSigmoid(), nn.PReLU(), nn.Softshrink(),
]  # fmt: skip


@pytest.mark.parametrize("layer", SLOPES, ids=str)
def test_the_bound_of_an_elementwise_function_is_its_steepest_slope(layer):
    z = torch.linspace(-8, 8, 400_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(layer.double()(z).sum(), z)
    steepest = float(slope.abs().amax()) - 5e-8
    assert steepest <= ig.operator_norm(layer, (3,)).upper_bound <= steepest * 1.0005


@pytest.mark.parametrize(
    "layer", [nn.Softmax(1), nn.LogSoftmax(1), nn.LocalResponseNorm(3, 2.0, 0.75, 0.5), nn.LayerNorm((5, 2)),
              nn.GroupNorm(1, 5), nn.InstanceNorm1d(5), nn.RMSNorm((2,), eps=0.1),
              nn.LocalResponseNorm(9, 3.0, 0.9, 2.0)],
    ids=str,
)  # fmt: skip
def test_jacobians_stay_below_the_bound_of_a_normalisation(layer):
    layer = layer.double().eval()
    bound = ig.operator_norm(layer, (5, 2)).upper_bound
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for scale in (1e-6, 1e-3, 0.1, 0.5, 1, 2, 5, 20):
        for _ in range(12):
            x = scale * torch.randn(1, 5, 2, generator=generator, dtype=torch.float64)
            jacobian = torch.autograd.functional.jacobian(layer, x).reshape(10, 10)
            worst = max(worst, float(torch.linalg.matrix_norm(jacobian, 2)))
    assert 0 < worst <= bound * (1 + 1e-9)


def test_local_response_over_all_channels_has_the_constant_of_the_paper():
    result = ig.operator_norm(nn.LocalResponseNorm(9, 1.0, 0.75, 2.0), (4, 3, 3))
    assert result.upper_bound == result.norm == pytest.approx(2**-0.75)


def test_batch_norm_in_eval_is_its_largest_scale():
    layer = nn.BatchNorm2d(3)
    layer.running_var = torch.tensor([0.25, 4.0, 1.0])
    assert ig.operator_norm(layer, (3, 4, 4)).norm == pytest.approx(2.0, rel=1e-4)
    assert layer.training


def test_a_layer_that_is_not_known_is_named_and_has_an_infinite_bound():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    for layer in (Square(), Branch(), nn.GRU(4, 4), nn.BatchNorm1d(4, track_running_stats=False)):
        result = ig.operator_norm(layer, (4, 4))
        assert result.upper_bound == math.inf
        assert result.kind != "identity"
    model = nn.Sequential(nn.Linear(4, 4), Square(), nn.Linear(4, 2))
    norms = layer_norms(model, (4,))
    assert norms.product_bound == math.inf
    (unknown,) = norms.unknown
    assert unknown.startswith("1 (a product of two inputs: no global Lipschitz constant")
    assert [r.layer for r in norms.layers] == ["0", "1", "2"]


def test_a_tight_bound_meets_the_norm():
    for layer, shape in ((nn.Conv2d(2, 3, 3, padding=1), (2, 8, 7)), (nn.Conv1d(2, 2, 3, 2, padding=1), (2, 30))):
        op = ops.Convolution(layer.weight.detach().double(), None, layer.stride, layer.padding, layer.dilation)
        outputs = tuple(layer(torch.zeros(1, *shape)).shape[1:])
        value = lanczos(op, shape, outputs).norm
        bound, true = tight_bound(op, shape, outputs, value), brute(layer, shape)
        assert true <= bound <= true * (1 + 1e-5)
        assert tight_bound(op, shape, outputs, true * 0.999) >= true


def test_the_layers_of_a_residual_network_come_in_order_and_their_branches_add_up():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.inner.weight.data = 2 * torch.eye(4)

        def forward(self, x):
            return torch.relu(x + self.inner(x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()
            self.head = nn.Linear(4, 3, bias=False)
            self.head.weight.data = 5 * torch.eye(4)[:3]

        def forward(self, x):
            return self.head(self.block((x - 0.5) / 0.25).view(x.size(0), -1))

    norms = layer_norms(Net(), (4,))
    assert [(r.layer, r.kind) for r in norms.layers] == [
        ("scale", "scale"), ("block.inner", "linear"), ("block", "sum"), ("block:2", "relu"), ("head", "linear")
    ]  # fmt: skip
    assert norms.product_bound == pytest.approx(4 * (1 + 2) * 5, rel=1e-6)


def test_the_shares_of_a_chain_sum_to_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(36, 5))
    norms = layer_norms(model, (1, 9, 9))
    assert sum(r.share for r in norms.layers) == pytest.approx(1)
    assert norms.product_bound == pytest.approx(math.prod(r.upper_bound for r in norms.layers))


def test_the_printed_formula_has_a_factor_of_the_stride_too_little():
    layer = seeded(nn.Conv2d, 3, 8, 5, 2)
    printed = ig.operator_norm(layer, (3, 21, 21), method="paper")
    assert printed.upper_bound == math.inf
    assert printed.norm < 0.5 * ig.operator_norm(layer, (3, 21, 21)).norm
    assert ig.operator_norm(nn.MaxPool2d(3, 2), (1, 9, 9), method="paper").norm == 1.0


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="without the batch"):
        ig.operator_norm(nn.Linear(2, 2), (0,))
    with pytest.raises(UnknownNameError, match="exact"):
        ig.operator_norm(nn.Linear(2, 2), (2,), method="exakt")
    with pytest.raises(ModelError, match="fails on inputs"):
        ig.operator_norm(nn.Linear(2, 2), (3,))
    with pytest.raises(ModelError, match="give a torch.nn.Module"):
        ig.operator_norm(torch.relu, (3,))  # type: ignore[arg-type]


@pytest.mark.parametrize("power", [-200, 200])
def test_a_norm_is_told_at_any_size_of_the_weights(power):
    layer = nn.Linear(6, 4, dtype=torch.float64)
    layer.weight.data.mul_(10.0**power)
    norm = ig.operator_norm(layer, (6,))
    true = float(torch.linalg.matrix_norm(layer.weight.detach() / 10.0**power, 2)) * 10.0**power
    assert norm.norm == pytest.approx(true, rel=1e-6) and norm.upper_bound >= true * (1 - 1e-12)


def test_the_gain_of_a_scaled_sum():
    op = ops.Sum((1.0, -2.0))
    assert gain(op, [(3,), (3,)], (3,)).upper == pytest.approx(math.sqrt(5))
