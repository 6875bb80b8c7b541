"""Which axis of a layer's output is its units: every layout that torch.nn's layers have, against own hooks."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import intriguing as ig
from intriguing.activations import CollectOptions, collect_maps, parse_layer, receptive_field, resolve_layers
from intriguing.activations.capture import Reduce
from intriguing.activations.layout import BATCH, PLACES, UNITS, axis, kind_of, reshaped
from intriguing.activations.tracking import Tracker
from intriguing.data.vision import torchvision
from intriguing.errors import InputError, ModelError

REDUCED: dict[Reduce, Any] = {"max": lambda maps: maps.amax(2), "mean": lambda maps: maps.mean(2)}


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def raw(model, layers, x):
    """What plain hooks see of the layers (a module's first tensor)."""
    seen: dict[str, Any] = {}
    modules = dict(model.named_modules())

    def keep(name):
        return lambda module, args, output: seen.update(
            {name: (output[0] if isinstance(output, tuple) else output).clone()}
        )

    handles = [modules[name].register_forward_hook(keep(name)) for name in layers]
    with torch.no_grad():
        model.eval()(x)
    for handle in handles:
        handle.remove()
    return seen


def check(model, x, axes, batch=0, **options):
    """The activations of every layer, whose units are the axis that `axes` says, reduced and by place."""
    layers = list(axes)
    expected = {
        name: tensor.movedim((batch if tensor.ndim > 2 else 0, axes[name]), (0, 1))
        for name, tensor in raw(model, layers, x).items()
    }
    for reduce, how in REDUCED.items():
        blocks = list(collect_maps(model, x.split(3), layers, CollectOptions(reduce=reduce, slots=len(x), **options)))
        for name in layers:
            [block] = blocks
            maps = expected[name].flatten(2) if expected[name].ndim > 2 else expected[name][..., None]
            found = block.layers[name]
            torch.testing.assert_close(
                found.vectors, how(maps), atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )
            assert found.map_shape == tuple(expected[name].shape[2:]), name
            if reduce == "max" and found.places is not None:
                held = maps.gather(2, found.places.long()[..., None])[..., 0]
                torch.testing.assert_close(held, maps.amax(2), atol=1e-5, rtol=1e-4)
    for name in layers:
        if expected[name].ndim > 2:
            [block] = collect_maps(model, [x], [name], CollectOptions(reduce="positions", slots=len(x)))
            by_place = expected[name].flatten(2).transpose(1, 2)
            torch.testing.assert_close(block.layers[name].vectors, by_place, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module", autouse=True)
def seeded():
    torch.manual_seed(0)


def test_swin_has_its_channels_last_and_its_head_second():
    model = torchvision().models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5)
    last = ["features.0", "features.0.1", "features.0.2", "features.1.0", "features.1.0.attn", "features.1.1.mlp.1"]
    last += ["features.1.1.norm2", "features.1.1.mlp", "features.2"]
    last += ["features.2.reduction", "features.3.1", "norm"]
    second = ["features.0.0", "permute", "avgpool", "flatten", "head"]
    check(model, drawn(4, 3, 24, 40), dict.fromkeys(last, -1) | dict.fromkeys(second, 1))


def test_convnext_changes_between_both_layouts():
    settings_of = torchvision().models.convnext.CNBlockConfig
    model = torchvision().models.ConvNeXt([settings_of(8, 16, 2), settings_of(16, None, 1)], num_classes=5)
    second = ["features.0.0", "features.0.1", "features.0", "features.1.0.block.0", "features.1.0.block.6"]
    second += ["features.1.0.block", "features.1.1", "features.1.0.stochastic_depth", "features.2.0", "features.3"]
    second += ["avgpool", "classifier.0", "classifier.1", "classifier.2"]
    last = [f"features.1.1.block.{i}" for i in range(1, 6)]
    check(model, drawn(5, 3, 32, 48), dict.fromkeys(last, -1) | dict.fromkeys(second, 1))


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("swin_t", {"features.0.0": 1, "features.1.0.mlp.1": -1, "features.5.1": -1, "permute": 1}),
        ("convnext_tiny", {"features.0": 1, "features.1.0.block.4": -1, "features.7": 1}),
        ("vit_b_16", {"conv_proj": 1, "encoder.layers.encoder_layer_1.mlp.1": -1, "encoder.ln": -1, "encoder": -1}),
    ],
)
def test_torchvision_s_own_sizes(name, axes):
    options = {"image_size": 32} if name == "vit_b_16" else {}
    model = getattr(torchvision().models, name)(weights=None, **options)
    x, layers = drawn(4, 3, 32, 32), list(axes)
    expected = raw(model, layers, x)
    [block] = collect_maps(model, [x], layers, CollectOptions(slots=4))
    for layer, at in axes.items():
        maps = expected[layer].movedim(at, 1).flatten(2)
        torch.testing.assert_close(block.layers[layer].vectors, maps.amax(2), atol=1e-4, rtol=1e-4)


def test_tokens_of_a_vision_transformer():
    model = torchvision().models.VisionTransformer(16, 4, 2, 2, 8, 12, num_classes=5)
    tokens = ["encoder.dropout", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.mlp.1"]
    tokens += ["encoder.layers.encoder_layer_0.self_attention", "encoder.layers.encoder_layer_1.ln_1", "encoder"]
    check(model, drawn(4, 3, 16, 16), dict.fromkeys(tokens, -1) | {"conv_proj": 1, "heads": 1})
    [block] = collect_maps(model, [drawn(4, 3, 16, 16)], ["encoder"])
    assert block.layers["encoder"].map_shape == (17,)  # 4 x 4 patches and the class token, which has no place
    with pytest.raises(ModelError, match="no map of rows and columns"):
        receptive_field(model, "encoder", (3, 16, 16))


class Audio(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.pool = nn.Conv1d(1, 6, 5), nn.GELU(), nn.MaxPool1d(2)
        self.norm, self.body = nn.BatchNorm1d(6), nn.Sequential(nn.Conv1d(6, 8, 3), nn.ReLU(inplace=True))
        self.glu, self.rnn, self.after = nn.GLU(dim=1), nn.GRU(4, 7), nn.Dropout()

    def forward(self, wave):
        x = self.body(self.norm(self.pool(self.act(self.conv(wave.unsqueeze(1))))))
        x = self.glu(x).permute(2, 0, 1)
        return self.after(self.rnn(x)[0])


def test_an_audio_net_has_its_channels_second_and_its_recurrent_output_time_first():
    model, x = Audio(), drawn(6, 40)
    check(model, x, dict.fromkeys(["conv", "act", "pool", "norm", "body", "body.1", "glu"], 1))
    check(model, x, {"rnn": -1, "after": -1}, batch=1)


class Recurrent(nn.Module):
    """An LSTM with time or inputs first, over words; `turn` makes its input fit."""

    def __init__(self, batch_first, turn):
        super().__init__()
        self.words, self.drop = nn.Embedding(11, 5), nn.Dropout()
        self.lstm = nn.LSTM(5, 6, batch_first=batch_first, bidirectional=True)
        self.act, self.flat, self.turn = nn.Tanh(), nn.Linear(12, 3), turn

    def forward(self, x):
        x = self.drop(self.words(x))
        out, _ = self.lstm(x.transpose(0, 1) if self.turn else x)
        return self.flat(self.act(out).reshape(-1, 12))


@pytest.mark.parametrize("time", [9, 7, 5])
def test_an_lstm_s_output_is_read_with_the_inputs_first(time):
    x = torch.randint(11, (7, time), generator=torch.Generator().manual_seed(1))  # 7 inputs: once as many as words
    check(Recurrent(True, False), x, dict.fromkeys(["words", "drop", "lstm", "act"], -1))
    check(Recurrent(False, True), x, {"lstm": -1, "act": -1}, batch=1)


def test_rows_that_hold_inputs_and_places_are_taken_apart():
    x = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(1))
    for model, by_input in ((Recurrent(True, False), (4, 6)), (Recurrent(False, True), (6, 4))):
        expected = raw(model, ["flat"], x)["flat"].reshape(*by_input, 3)
        expected = expected if by_input[0] == 4 else expected.transpose(0, 1)
        [block] = collect_maps(model, [x], ["flat"], CollectOptions(slots=4))
        assert block.layers["flat"].map_shape == (6,)
        torch.testing.assert_close(block.layers["flat"].vectors, expected.amax(1))


def test_a_batch_that_a_recurrent_layer_takes_for_time_is_refused():
    x = torch.randint(11, (7, 5), generator=torch.Generator().manual_seed(1))
    with pytest.raises(ModelError, match="batch_first=True"):
        next(iter(ig.collect_activations(Recurrent(False, False), [x], "lstm")))


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.act = nn.LSTM(3, 4, batch_first=True), nn.Identity()

    def forward(self, x):
        lengths = (x[..., 0] != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, padding_value=-9.0)
        return self.act(out)


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_packed_sequences_are_reduced_over_their_own_length(reduce):
    model, x = Packed(), drawn(5, 6, 3)
    lengths = [6, 2, 4, 1, 3]
    for i, length in enumerate(lengths):
        x[i, length:] = 0
    found = torch.cat([b.vectors["lstm"] for b in ig.collect_activations(model, [x], "lstm", reduce=reduce, slots=5)])
    for i, length in enumerate(lengths):
        with torch.no_grad():
            alone = model.lstm(x[i : i + 1, :length])[0][0]
        torch.testing.assert_close(found[i], alone.amax(0) if reduce == "max" else alone.mean(0))
    with pytest.raises(InputError, match="[12] to 6 places"):
        next(iter(ig.collect_activations(model, [x], "lstm", reduce="positions", slots=5)))


class Attention(nn.Module):
    def __init__(self, batch_first, turn=False):
        super().__init__()
        self.attention, self.after = nn.MultiheadAttention(8, 2, batch_first=batch_first), nn.ReLU()
        self.turn = turn

    def forward(self, x):
        x = x.transpose(0, 1) if self.turn else x
        return self.after(self.attention(x, x, x)[0])


def test_attention_gives_its_output_not_its_weights():
    x = drawn(5, 7, 8)
    check(Attention(True), x, {"attention": -1, "after": -1})
    check(Attention(False, turn=True), x, {"attention": -1, "after": -1}, batch=1)


@pytest.mark.parametrize("x", [drawn(5, 7, 8), drawn(5, 8)], ids=["inputs for tokens", "no batch"])
def test_attention_over_the_inputs_of_a_batch_is_refused(x):
    with pytest.raises(ModelError, match="batch_first|no axis of inputs"):
        next(iter(ig.collect_activations(Attention(False), [x], "attention", slots=5)))


@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_layers(batch_first):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, x):
            return self.encoder(x if batch_first else x.transpose(0, 1))

    layers = ["encoder", "encoder.layers.0", "encoder.layers.1.linear1", "encoder.layers.1.norm2"]
    check(Encoder(), drawn(5, 6, 8), dict.fromkeys(layers, -1), batch=0 if batch_first else 1)


VOLUMES = [
    (nn.Sequential(nn.Conv3d(2, 3, 2), nn.ReLU(), nn.AvgPool3d(2), nn.InstanceNorm3d(3)), drawn(4, 2, 7, 6, 5)),
    (nn.Sequential(nn.ConvTranspose1d(2, 3, 2), nn.SiLU(), nn.Upsample(scale_factor=2), nn.PReLU(3)), drawn(4, 2, 5)),
    (nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.ZeroPad2d(1), nn.GroupNorm(2, 2)), drawn(4, 3, 6, 5)),
    (nn.Sequential(nn.MaxPool2d(2, return_indices=False), nn.LocalResponseNorm(2), nn.Softmax2d()), drawn(4, 3, 6, 5)),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, return_indices=True)), drawn(4, 3, 6, 5)),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 4, 3]), nn.ELU(), nn.Dropout2d()), drawn(4, 3, 6, 5)),
    (nn.Sequential(nn.Unfold(2), nn.Fold((6, 5), 2)), drawn(4, 3, 6, 5)),
]


@pytest.mark.parametrize(("model", "x"), VOLUMES)
def test_channels_are_second_after_convolutions_and_what_keeps_their_layout(model, x):
    check(model, x, {str(i): 1 for i in range(len(model))})


def test_a_linear_map_on_a_map_has_its_units_last_and_so_has_what_follows():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.LayerNorm(7), nn.Sequential(nn.Dropout(), nn.Identity()))
    for x in (drawn(4, 3, 6, 5), drawn(4, 6, 5), drawn(4, 3, 2, 6, 5)):
        check(model, x, dict.fromkeys(["0", "1", "2", "3", "3.1"], -1))


class Windows(nn.Module):
    """Windows of a map as inputs of their own, by reshapes alone; then heads; then the map again."""

    def __init__(self):
        super().__init__()
        self.embed, self.inside, self.heads, self.whole = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 8), nn.ReLU(), nn.GELU()

    def forward(self, x):
        x = self.embed(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        x = x.view(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
        x = self.inside(x)
        q = x.reshape(-1, 4, 2, c // 2).transpose(1, 2)
        x = self.heads(F.softmax(q @ q.mT, -1) @ q).transpose(1, 2).flatten(2)
        x = x.view(n, h // 2, w // 2, 2, 2, c).transpose(2, 3).reshape(n, h, w, c)
        return self.whole(x)


def test_windows_and_heads_are_followed():
    model, x = Windows(), drawn(5, 3, 8, 12)
    check(model, x, {"embed": 1, "whole": -1})
    inside = raw(model, ["inside"], x)["inside"].view(5, 6 * 4, 8)
    [block] = collect_maps(model, [x], ["inside"], CollectOptions(slots=5))
    torch.testing.assert_close(block.layers["inside"].vectors, inside.amax(1))


class Mixer(nn.Module):
    """Mixes tokens by a linear map, and adds: the sum has two readings."""

    def __init__(self):
        super().__init__()
        self.mix, self.block, self.norm, self.act = nn.Linear(6, 6), nn.Identity(), nn.LayerNorm(6), nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(self.block(self.norm(x) + self.mix(x.mT).mT)))


def test_an_ambiguous_layer_is_refused_with_its_readings_and_told_by_its_axis():
    model, x = Mixer(), drawn(4, 6, 6)
    with pytest.raises(
        InputError, match=r"Write 'block@1' \(6 units at 6 places\) or 'block@2' \(6 units at 6 places\)"
    ):
        next(iter(ig.collect_activations(model, [x], "block")))
    seen = raw(model, ["block", "act"], x)
    [one, other, last, act] = _gathered(model, x, ["block@1", "block@2", "block@-1", "act"])
    torch.testing.assert_close(one, seen["block"].amax(2))
    torch.testing.assert_close(other, seen["block"].amax(1))
    assert torch.equal(other, last)
    torch.testing.assert_close(act, seen["act"].amax(1))


def _gathered(model, x, layers):
    [block] = ig.collect_activations(model, [x], layers, slots=len(x))
    return list(block.vectors.values())


@pytest.mark.parametrize("x", [drawn(4, 3, 5), drawn(4, 3, 5, 6, 7)])
def test_sequences_and_volumes_that_nothing_was_done_to_are_ambiguous(x):
    with pytest.raises(InputError, match=f"'0@1' .* or '0@{x.ndim - 1}'"):
        next(iter(ig.collect_activations(nn.Sequential(nn.ReLU()), [x], "0")))
    [found] = _gathered(nn.Sequential(nn.ReLU()), x, ["0@1"])
    torch.testing.assert_close(found, x.relu().flatten(2).amax(2))
    [block] = ig.collect_activations(nn.Sequential(nn.Linear(x.shape[-1], 2)), [x], "0:in", slots=4)
    torch.testing.assert_close(block.vectors["0:in"], x.flatten(1, -2).amax(1))


def test_pooling_over_units_is_ambiguous():
    model = nn.Sequential(nn.Linear(5, 8), nn.AvgPool1d(2), nn.ReLU())
    for layer in ("1", "2"):
        with pytest.raises(InputError, match="nothing tells which axis"):
            next(iter(ig.collect_activations(model, [drawn(4, 6, 5)], layer)))


@pytest.mark.parametrize(
    ("axis", "message"), [("9", "no axis 9"), ("0", "no axis 0"), ("-4", "no axis -4"), ("x", "'@'")]
)
def test_an_axis_that_is_none_is_refused(axis, message):
    with pytest.raises(InputError, match=message):
        next(iter(ig.collect_activations(nn.Sequential(nn.Linear(3, 2)), [drawn(4, 6, 3)], f"0@{axis}")))


def test_endings_come_in_any_order_and_names_may_hold_their_marks():
    for name in ("a.b:in#2@-1", "a.b@-1:in#2", "a.b#2@-1:in"):
        layer = parse_layer(name)
        assert (layer.path, layer.is_input, layer.call, layer.axis) == ("a.b", True, 2, -1)
    model = nn.Sequential()
    for name in ("x@1", "x", "y#2", "z:in"):
        model.add_module(name, nn.Linear(4, 4))
    resolved = {layer.name: layer for layer in resolve_layers(model, ["x@1", "x@1@2", "x@2", "y#2", "z:in", "z:in:in"])}
    assert [(v.path, v.axis, v.call, v.is_input) for v in resolved.values()] == [
        ("x@1", None, None, False),
        ("x@1", 2, None, False),
        ("x", 2, None, False),
        ("y#2", None, None, False),
        ("z:in", None, None, False),
        ("z:in", None, None, True),
    ]
    assert [layer.axis for layer in resolve_layers(model, "*@-1")] == [-1] * 4
    with pytest.raises(InputError, match="two endings"):
        parse_layer("x@1@2")


def test_a_class_of_its_own_forward_is_followed_not_believed():
    class Turned(nn.Linear):
        def forward(self, input):
            return super().forward(input.movedim(1, -1)).movedim(-1, 1)

    check(nn.Sequential(Turned(3, 5), nn.ReLU()), drawn(4, 3, 6, 6), {"0": 1, "1": 1})


def test_a_map_with_channels_last_has_the_receptive_fields_of_one_with_channels_second():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(1, 6, 3), nn.ReLU()

        def forward(self, x):
            return self.act(self.conv(x).permute(0, 2, 3, 1))

    field, known = (receptive_field(Last(), layer, (1, 8, 6)) for layer in ("act", "conv"))
    assert np.array_equal(field.rows, known.rows) and np.array_equal(field.columns, known.columns)
    assert field.crop(4 * 2 + 1) == (2, 5, 1, 4)


class Company(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.norm, self.how = nn.BatchNorm1d(6, track_running_stats=how != "statistics"), how

    def forward(self, x):
        x = self.norm(x)
        if self.how == "mean":
            return nn.functional.relu(x - x.mean(0))
        return F.dropout(x, training=self.how == "dropout")


@pytest.mark.parametrize(("how", "layer"), [("statistics", "norm"), ("mean", ""), ("dropout", "")])
def test_activations_that_depend_on_company_or_chance_are_refused(how, layer):
    model = nn.Sequential(Company(how))
    with pytest.raises(ModelError, match="other inputs beside them"):
        next(iter(ig.collect_activations(model, [drawn(8, 6)], f"0.{layer}".rstrip("."), slots=8)))


def test_an_error_inside_the_model_is_told_once_and_in_its_own_words():
    with pytest.raises(ModelError, match=r"^Layer '0' gives a .*sparse"):
        next(iter(ig.collect_activations(nn.Sequential(Sparse()), [drawn(3, 4)], "0")))


class Sparse(nn.Module):
    def forward(self, x):
        return x.to_sparse()


def test_a_model_that_cannot_be_followed_is_read_by_the_kinds_of_its_modules():
    class Rude(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool, self.linear, self.act = (
                nn.Conv1d(2, 3, 1),
                nn.MaxPool1d(2),
                nn.Linear(4, 5),
                nn.ReLU(),
            )

        def forward(self, x):
            if torch.overrides._get_current_function_mode_stack():
                raise RuntimeError("no modes here")
            return self.act(self.linear(self.pool(self.conv(x))))

    check(Rude(), drawn(4, 2, 8), {"conv": 1, "pool": 1, "linear": -1})
    with pytest.raises(InputError, match="nothing tells"):
        next(iter(ig.collect_activations(Rude(), [drawn(4, 2, 8)], "act")))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_reshape_keeps_the_kind_of_every_number(data):
    """Axes are dealt out as numpy deals out numbers: an axis is the units' exactly where it varies with them."""
    sizes = [data.draw(st.sampled_from([1, 2, 3, 4, 6])) for _ in range(3)]
    layout = tuple(axis(kind, size) for kind, size in zip((BATCH, UNITS, PLACES), sizes, strict=True))
    factors = [f for size in sizes for f in ({4: [2, 2], 6: [2, 3]}.get(size, [size]))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(factors) - 1)))) if len(factors) > 1 else []
    shape = [int(np.prod(part)) for part in np.split(np.array(factors), cuts)]
    made = reshaped(layout, shape)
    assert made is not None and [int(np.prod([a.size for a in one])) for one in made] == shape
    numbers = np.arange(np.prod(sizes)).reshape(sizes)
    unit = np.broadcast_to(np.arange(sizes[1])[None, :, None], numbers.shape).reshape(shape)
    inputs = np.broadcast_to(np.arange(sizes[0])[:, None, None], numbers.shape).reshape(shape)
    for at, one in enumerate(made):
        varies = [bool((np.diff(values, axis=at) != 0).any()) for values in (unit, inputs)]
        assert varies == [any(a.kind == kind and a.size > 1 for a in one) for kind in (UNITS, BATCH)]
        assert kind_of(one) in ("mixed", BATCH) if varies[1] else True


MOVES = {
    "permute": lambda x, i, j: x.permute(*np.roll(range(x.ndim), i).tolist()),
    "transpose": lambda x, i, j: x.transpose(i, j),
    "movedim": lambda x, i, j: torch.movedim(x, i, j),
    "t": lambda x, i, j: x.mT if x.ndim > 1 else x,
    "flatten": lambda x, i, j: x.flatten(min(i, j), max(i, j)),
    "unflatten": lambda x, i, j: x.unflatten(i, (x.shape[i] // 2, 2)) if x.shape[i] % 2 == 0 else x,
    "unsqueeze": lambda x, i, j: x.unsqueeze(i),
    "halves": lambda x, i, j: torch.cat(x.tensor_split(2, i)[::-1], i) if x.shape[i] > 1 else x,
    "first": lambda x, i, j: x[(slice(None),) * i + (slice(0, 2),)],
    "new": lambda x, i, j: x[..., None, :],
    "chunk": lambda x, i, j: x.chunk(2, dim=i)[0],
    "residual": lambda x, i, j: x + torch.relu_(x.clone()),
    "scaled": lambda x, i, j: torch.ones(x.shape[-1]) * x.contiguous(),
    "stack": lambda x, i, j: torch.stack([x, x], i) if x.ndim < 6 else x,
    "mean": lambda x, i, j: x.mean(i, keepdim=True),
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 5), st.integers(0, 5)), max_size=7))
def test_the_tracker_knows_along_which_axes_units_vary(moves):
    """Every number of the input is its channel's: wherever numbers differ along an axis, it is said to be units."""
    x = torch.arange(1.0, 7.0)[None, :, None, None].expand(2, 6, 4, 3).contiguous()
    with Tracker(x) as tracker:
        for name, i, j in moves:
            x = MOVES[name](x, i % x.ndim, j % x.ndim)
    layout = tracker.layout_of(x)
    if layout is None:
        assert {name for name, *_ in moves} & {"flatten", "unflatten", "first", "chunk", "halves", "mean"}
        return
    for at, one in enumerate(layout):
        if bool((x.diff(dim=at).abs() > 1e-5).any()):
            assert {a.kind for a in one} & {UNITS, "open"}, (at, layout)
