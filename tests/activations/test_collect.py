import gc

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.activations import Skipped, collect_maps, read_items, resolve_layers
from intriguing.errors import InputError, ModelError, UnknownNameError


class Bomb(nn.Module):
    """Counts its calls and stands for layers that need not run."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 5), Bomb(), nn.Linear(5, 3))


def convnet():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3))


def images(n=50):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def inputs(n=50):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


def gathered(*args, **options):
    blocks = list(ig.collect_activations(*args, **options))
    ids = np.concatenate([b.ids for b in blocks])
    return ids, {name: torch.cat([b.vectors[name] for b in blocks]) for name in blocks[0].vectors}


def test_several_layers_come_from_one_forward():
    model, x = mlp(), inputs()
    ids, found = gathered(model, [x[:30], x[30:]], ["1", "2"], slots=16)
    assert ids.tolist() == list(range(50))
    assert torch.allclose(found["1"], torch.relu(model[0](x)), atol=1e-6)
    assert torch.allclose(found["2"], model[2](torch.relu(model[0](x))), atol=1e-6)


def test_an_in_place_layer_does_not_overwrite_what_was_collected():
    model, x = mlp(), inputs()
    _, found = gathered(model, [x], ["0", "1:in"])
    assert (found["0"] < 0).any()
    assert torch.equal(found["0"], found["1:in"])


def test_the_forward_stops_after_the_last_wanted_layer():
    model = mlp()
    gathered(model, [inputs(64)], ["0", "2"], slots=16)
    assert model[3].calls == 2  # one row, to count what it costs, and the first batch, which is checked


def test_rows_do_not_depend_on_the_loaders_batches():
    model, x = convnet(), images(70)
    _, whole = gathered(model, [x], "3", slots=32)
    _, pieces = gathered(model, x.split(7), "3", slots=32)
    _, tail = gathered(model, [x[40:]], "3", slots=32)
    assert torch.equal(whole["3"], pieces["3"])
    assert torch.equal(whole["3"][40:], tail["3"])


@pytest.mark.parametrize("reduce", ["max", "mean", "positions"])
def test_maps_are_reduced_or_kept(reduce):
    model, x = convnet(), images(10)
    ids, found = gathered(model, [x], "3", reduce=reduce)
    with torch.no_grad():
        maps = model.eval()[3](model[2](torch.relu(model[0](x))))
    expected = {
        "max": maps.amax((2, 3)),
        "mean": maps.mean((2, 3)),
        "positions": maps.permute(0, 2, 3, 1).reshape(160, 6),
    }
    assert torch.allclose(found["3"], expected[reduce], atol=1e-6)
    assert ids.tolist() == (np.repeat(np.arange(10), 16) if reduce == "positions" else np.arange(10)).tolist()


def test_the_place_of_each_maximum_is_known():
    x = images(10)
    block = next(iter(collect_maps(nn.Sequential(nn.Identity()), [x], "0")))
    assert torch.equal(block.layers["0"].places[:, 0].long(), x.flatten(1).argmax(1))
    assert block.layers["0"].map_shape == (8, 8)


def test_tokens_are_places_and_their_last_axis_units():
    ids, found = gathered(nn.Sequential(nn.Linear(4, 7)), [torch.randn(5, 3, 4)], "0", reduce="positions")
    assert found["0"].shape == (15, 7)
    assert ids.tolist() == np.repeat(np.arange(5), 3).tolist()


def test_a_scan_over_positions_names_the_place_of_each_maximum():
    model, x = convnet(), images(9)
    scan = ig.TopK(ig.Directions.natural(6), k=3)
    for block in ig.collect_activations(model, x.split(4), "3", reduce="positions", slots=4):
        scan.update(block.vectors["3"], block.ids, block.positions)
    with torch.no_grad():
        maps = model.eval()[3](model[2](torch.relu(model[0](x))))
    best = maps.transpose(0, 1).flatten(1).argmax(dim=1)
    top = scan.result()
    assert (top.ids[:, 0] * 16 + top.positions[:, 0]).tolist() == best.tolist()


def test_one_row_per_input_has_position_zero():
    assert next(iter(ig.collect_activations(mlp(), [inputs(5)], "0"))).positions.tolist() == [0] * 5


def test_inputs_of_several_shapes_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    loader = [torch.rand(2, 1, 8, 8), torch.rand(2, 1, 9, 9)]
    with pytest.raises(
        InputError, match=r"After 2 inputs of shape \(1, 8, 8\) the loader yields a batch \(2, 1, 9, 9\)"
    ):
        list(ig.collect_activations(model, loader, ["0"]))


def test_labels_of_a_loader_are_left_alone():
    x = inputs(20)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(20)), batch_size=8)
    _, found = gathered(mlp(), loader, "0")
    assert found["0"].shape == (20, 8)


def test_ids_are_the_callers():
    ids, _ = gathered(mlp(), inputs(20).split(8), "0", ids=range(100, 140, 2), slots=16)
    assert ids.tolist() == list(range(100, 140, 2))


def test_too_few_ids_are_an_error():
    with pytest.raises(InputError, match="more inputs than the 12 ids"):
        gathered(mlp(), inputs(20).split(8), "0", ids=range(12))


def test_a_bad_input_is_named_and_skipped():
    x, skipped = inputs(20), []
    x[3, 1], x[17, 0] = float("nan"), 3e38
    model = mlp()
    with torch.no_grad():
        model[0].weight[:, 0] = 1e6
    ids, _ = gathered(model, [x], "0", skipped=skipped)
    assert sorted(set(range(20)) - set(ids.tolist())) == [3, 17]
    assert skipped[0] == Skipped(3, "the input is not finite")
    assert "activations" in skipped[1].reason


def test_an_input_that_cannot_be_read_is_named_and_skipped():
    class Corrupt(torch.utils.data.Dataset):
        def __getitem__(self, index):
            if index == 4:
                raise OSError("truncated file")
            return inputs(10)[index % 10], 0

    skipped = []
    loader = read_items(Corrupt(), range(2, 9), batch=3, skipped=skipped)
    ids, found = gathered(mlp(), loader, "0")
    assert ids.tolist() == [2, 3, 5, 6, 7, 8]
    assert skipped == [Skipped(4, "cannot be read: OSError: truncated file")]
    assert torch.equal(found["0"], gathered(mlp(), [inputs(10)[[2, 3, 5, 6, 7, 8]]], "0")[1]["0"])


def test_half_precision_rounds_the_activations():
    _, exact = gathered(mlp(), [inputs()], "0")
    _, half = gathered(mlp(), [inputs()], "0", dtype=torch.float16)
    assert torch.equal(half["0"], exact["0"].half())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("reduce", ["max", "positions"])
def test_activations_beyond_half_precision_are_refused_with_the_largest(sign, reduce):
    model, x = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False)), torch.ones(3, 1, 4)
    with torch.no_grad():
        model[0].weight.fill_(sign * 65519.0)  # rounds to the largest number of float16
    _, found = gathered(model, [x], "0", dtype=torch.float16, reduce=reduce)
    assert (found["0"] == sign * 65504).all()
    with torch.no_grad():
        model[0].weight.fill_(sign * 65520.0)
    with pytest.raises(InputError, match=r"Layer '0' has activations as large as 65520, and float16 ends at 65504"):
        gathered(model, [x], "0", dtype=torch.float16, reduce=reduce)
    assert gathered(model, [x], "0", dtype=torch.bfloat16, reduce=reduce)[1]["0"].isfinite().all()
    with pytest.raises(InputError, match="real numbers"):
        gathered(model, [x], "0", dtype=torch.int16, reduce=reduce)


def test_the_model_gets_its_mode_back_and_keeps_no_hooks():
    model = convnet().train()
    model[2].eval()
    before = model[2].running_mean.clone()
    gathered(model, [images()], "3")
    assert [m.training for m in model] == [True, True, False, True]
    assert torch.equal(model[2].running_mean, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model)


def test_an_abandoned_iterator_cleans_up():
    model = mlp().train()
    iterator = ig.collect_activations(model, inputs(64).split(8), "0", slots=8)
    next(iterator)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    del iterator
    gc.collect()
    assert model.training and not model[0]._forward_hooks


def test_wildcards_name_all_layers_that_match():
    assert [layer.name for layer in resolve_layers(convnet(), ["[03]", "2:in"])] == ["0", "3", "2:in"]
    assert [layer.name for layer in resolve_layers(convnet(), "*:in")] == ["0:in", "1:in", "2:in", "3:in"]


def test_an_unknown_layer_names_the_nearest():
    model = nn.ModuleDict({"features": nn.Linear(2, 2)})
    with pytest.raises(UnknownNameError, match="features"):
        resolve_layers(model, "feature")


def test_an_unknown_layer_s_error_lists_the_layers_in_the_model_s_order_with_types():
    model = nn.Sequential(*(nn.ReLU() if at % 2 else nn.Linear(2, 2) for at in range(12)))
    with pytest.raises(UnknownNameError) as told:
        resolve_layers(model, "12")
    assert "named '12'. Did you mean '2' or '1' or '11'? The model's layers: 0 (Linear), 1 (ReLU), 2 (L" in str(
        told.value
    )
    assert str(told.value).endswith("9 (ReLU), 10 (Linear), 11 (ReLU).")


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)
        self.unused, self.pair = nn.Linear(2, 2), Pair()

    def forward(self, x):
        return self.pair(self.relu(self.second(self.relu(self.first(x)))))[0]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_a_layer_that_runs_twice_has_to_say_which_call_is_meant():
    model, x = Shared(), inputs()
    with pytest.raises(InputError, match="'relu#1' to 'relu#2'"):
        gathered(model, [x], "relu")
    _, found = gathered(model, [x, x], ["relu#1", "relu#2"], slots=32)
    assert found["relu#1"].shape == (100, 5)
    assert found["relu#2"].shape == (100, 4)


def test_a_layer_that_does_not_run_is_an_error():
    with pytest.raises(ModelError, match="did not run"):
        gathered(Shared(), [inputs()], "unused")


class Named(nn.Module):
    """Gives its result by name, as models of Hugging Face do."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 4)

    def forward(self, x):
        return {"last_hidden_state": self.inner(x), "attentions": None}


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.top = Named(), nn.Linear(4, 2)

    def forward(self, x):
        return self.top(self.body(x)["last_hidden_state"])


def test_the_only_tensor_of_a_layer_that_gives_it_by_name_is_its_output():
    torch.manual_seed(0)
    model, x = Head(), inputs()
    _, found = gathered(model, [x], ["body", "body.inner"])
    assert torch.equal(found["body"], found["body.inner"])
    torch.testing.assert_close(found["body"], model.body.inner(x).detach())


def test_a_layer_that_gives_two_tensors_is_an_error():
    with pytest.raises(ModelError, match="not one tensor"):
        gathered(Shared(), [inputs()], "pair")


def test_a_layer_without_units_is_an_error():
    with pytest.raises(InputError, match="'1' has no units"):
        gathered(nn.Sequential(nn.Linear(9, 4), nn.AdaptiveAvgPool1d(0)), [torch.randn(4, 9)], "1")


def test_inputs_of_the_wrong_shape_are_a_model_error():
    with pytest.raises(ModelError, match=r"\(256, 9\)"):
        gathered(mlp(), [torch.randn(4, 9)], "0")


def test_maps_of_different_shapes_cannot_share_positions():
    with pytest.raises(InputError, match="one shape"):
        gathered(convnet(), [images(4)], ["0", "3"], reduce="positions")


@pytest.mark.parametrize("ids", [[0.5, 1.5], ["a", "b"], [2**63, 0]])
def test_ids_that_are_no_whole_numbers_of_64_bits_are_refused(ids):
    """0.5 was taken for the input 0."""
    with pytest.raises(InputError, match="whole numbers of 64 bits"):
        list(ig.collect_activations(nn.Sequential(nn.Linear(3, 2)), [torch.rand(2, 3)], "0", ids=ids))
