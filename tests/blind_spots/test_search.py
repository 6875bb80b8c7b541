"""What `minimal_distortion` promises about its call: statuses, counts, the box, and independence of company."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, SearchResult, minimal_distortion
from intriguing.blind_spots.grades import GRADES, Grade
from intriguing.errors import InputError, ModelError, UnknownNameError


def net(hidden=16, inputs=12, classes=4, seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, classes)
    return nn.Sequential(nn.Flatten(), *layers).requires_grad_(False)


def batch(model, count, inputs=12, seed=1):
    x = torch.rand(count, inputs, generator=torch.Generator().manual_seed(seed))
    return x, model(x).argmax(1)


def test_a_success_fools_the_bare_model_and_stays_in_the_box():
    model = net()
    x, y = batch(model, 20)
    result = minimal_distortion(model, x, y)
    assert result.status == ["found"] * 20
    assert bool((model(result.adversarial).argmax(1) != y).all())
    assert result.adversarial.min() >= 0 and result.adversarial.max() <= 1


def test_bad_rows_get_a_status_and_disturb_no_other():
    model = net()
    x, y = batch(model, 6)
    dirty = x.clone()
    dirty[1, 3] = float("nan")
    dirty[4, 0] = 1.5
    result = minimal_distortion(model, dirty, y)
    assert result.status == ["found", "bad_input", "found", "found", "bad_input", "found"]
    clean = minimal_distortion(model, x, y)
    assert torch.equal(result.adversarial[2], clean.adversarial[2])
    assert result.forward_passes[1] == 0
    [told] = [note for note in result.notes if note not in clean.notes]
    assert told.startswith("2 of 6 images are not finite or lie outside the box (values from 0")
    assert "to 1.5), and are not searched" in told and "SearchOptions(lower=..., upper=...)" in told


def test_a_rounding_error_outside_the_box_is_clipped():
    model = net()
    x, y = batch(model, 2)
    x[0, 0] = -3e-8
    assert minimal_distortion(model, x, y).status == ["found", "found"]


def test_a_wrong_label_before_any_change_is_told_apart():
    model = net()
    x, y = batch(model, 3)
    result = minimal_distortion(model, x, (y + 1) % 4)
    assert result.status == ["misclassified"] * 3
    assert torch.equal(result.adversarial, x) and bool((result.l2 == 0).all())


def test_a_constant_network_is_never_fooled():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([1.0, 0.0, 0.0])
    x = torch.rand(3, 12)
    result = minimal_distortion(model, x, torch.zeros(3, dtype=torch.int64), options=SearchOptions(exact_linear="off"))
    assert result.status == ["no_gradient"] * 3
    assert torch.equal(result.adversarial, x) and bool(result.l2.isnan().all())


def test_logits_that_are_not_finite_are_told():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.cat([x[:, :1], x[:, 1:2] / (x[:, 2:3] > 0.5)], 1)

    x = torch.tensor([[0.9, 0.4, 0.9], [0.9, 0.4, 0.1]])
    result = minimal_distortion(Broken(), x, [0, 0])
    assert result.status[1] == "bad_output"


@pytest.mark.parametrize("grade", GRADES)
def test_images_without_a_finite_gradient_are_told_even_where_there_is_no_other(grade):
    class Broken(nn.Module):
        def forward(self, x):
            root = (x.sum(1, keepdim=True) - x.sum(1, keepdim=True)).sqrt()  # its slope is infinite
            return torch.cat([x[:, :1], x[:, 1:2] + root], 1)

    x = torch.tensor([[0.9, 0.4, 0.9], [0.9, 0.4, 0.1]])
    for targets in (None, [1, 1]):
        result = minimal_distortion(Broken(), x, [0, 0], targets, SearchOptions(grade=grade))
        assert result.status == ["bad_output"] * 2 and torch.equal(result.adversarial, x)


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("hidden", [16, 33])
def test_results_do_not_depend_on_company_order_or_slots(hidden, grade):
    """To the bit: in a layer of an odd width a row's place in memory must not matter either."""
    model = net(hidden, inputs=61)
    count = 30 if grade == "thorough" else 90  # more searches than slots; thorough makes many of an image
    x, y = batch(model, count, inputs=61)
    whole = minimal_distortion(model, x, y, options=SearchOptions(grade=grade, slots=64))
    assert whole.status == ["found"] * count
    order = torch.randperm(count, generator=torch.Generator().manual_seed(3))
    shuffled = minimal_distortion(model, x[order], y[order], options=SearchOptions(grade=grade, slots=256))
    alone = minimal_distortion(model, x[5:6], y[5:6], options=SearchOptions(grade=grade, slots=7))
    assert torch.equal(shuffled.adversarial, whole.adversarial[order])
    assert torch.equal(alone.adversarial, whole.adversarial[5:6])


def test_every_wrong_class_is_never_farther_than_a_single_one():
    model = net()
    x, y = batch(model, 10)
    every = minimal_distortion(model, x, y, "every")
    one = minimal_distortion(model, x, y, (y + 1) % 4)
    assert bool((every.l2 <= one.l2.nan_to_num(torch.inf) * (1 + 1e-4)).all())


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)).train()
    model[2].eval()
    minimal_distortion(model, torch.rand(2, 5), [0, 1])
    assert model.training and model[1].training and not model[2].training
    assert all(p.requires_grad for p in model.parameters())


def test_no_precision_is_given_up_silently():
    """torch rounds CUDA convolutions to TF32 unless it is told not to; results are confirmed as the user has it."""
    seen = []

    class Watching(nn.Sequential):
        def forward(self, x):
            seen.append((len(x), torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
            return super().forward(x)

    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    torch.manual_seed(0)
    model = Watching(nn.Linear(5, 3))
    x = torch.rand(1, 5)
    minimal_distortion(model, x, nn.Sequential.forward(model, x).argmax(1), options=SearchOptions(grade="fast"))
    confirmed = next(i for i, call in enumerate(seen) if call[1:] == before)
    assert {call[1:] for call in seen[:confirmed]} == {("ieee", "ieee")}
    assert [call for call in seen[confirmed:] if call[1:] == before][:2] == [(32, *before), (1, *before)]
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


@pytest.mark.parametrize(
    ("labels", "targets"),
    [
        ([0], None),
        ([0, 9], None),
        ([0, -1], None),
        ([0, 1], [0, 2]),
        ([0, 1], [1]),
        ([0, 1], "all"),
        ([0.5, 1.0], None),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(labels, targets):
    with pytest.raises(InputError):
        minimal_distortion(net(), torch.rand(2, 12), labels, targets)


def test_a_model_without_logits_is_refused():
    with pytest.raises(ModelError):
        minimal_distortion(nn.Flatten(0), torch.rand(2, 12), [0, 1])


def test_unknown_options_name_the_valid_ones():
    with pytest.raises(UnknownNameError, match="best"):
        SearchOptions(grade="bset")
    with pytest.raises(InputError):
        SearchOptions(lower=1.0, upper=0.0)


def test_a_new_grade_is_one_entry(monkeypatch):
    short = replace(GRADES["fast"].recipe, steps=2, elsewhere=0)
    hasty = Grade("hasty", "for a first look", separate=False, exact=False, recipe=short)
    monkeypatch.setitem(GRADES, "hasty", hasty)
    model = net()
    x, y = batch(model, 12)
    hurried = minimal_distortion(model, x, y, options=SearchOptions(grade="hasty"))
    fast = minimal_distortion(model, x, y, options=SearchOptions(grade="fast"))
    assert hurried.status == fast.status and hurried.status.count("found") > 10
    assert int(hurried.backward_passes.sum()) < int(fast.backward_passes.sum())
    assert float((hurried.l2 / fast.l2).nanmedian()) < 1.1


def test_every_grade_has_a_sentence_under_its_own_name():
    assert all(name == grade.name and len(grade.sentence) > 10 for name, grade in GRADES.items())


def test_the_result_of_a_search_prints_as_a_line_that_can_be_read():
    model = nn.Linear(2, 2)
    model.weight.data, model.bias.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(2)
    x = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.6]])
    result = minimal_distortion(model, x, torch.tensor([0, 1, 0]))
    assert repr(result) == "SearchResult(2 found, 1 misclassified; median L2 of those found 0.4243)"
    assert result.found.tolist() == [True, True, False] and result.found.device == result.l2.device
    assert float(result.l2[result.found].median()) == pytest.approx(0.4243, abs=1e-4)
    assert result.l2.tolist()[2] == 0
    assert SearchResult.none(x[:0], torch.zeros(0, dtype=torch.int64)).found.dtype == torch.bool
