"""Rows that are paid for are rows that are searched: what the network sees is counted by a hook on its first layer."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import row_search
from intriguing.errors import InputError
from intriguing.models.examination import ROWS, examine
from intriguing.models.feeding import rows


class Seen:
    """Counts the rows of each call of a module, forward and backward."""

    def __init__(self, module):
        self.calls, self.backward = [], 0
        module.register_forward_hook(self._fed)
        module.register_full_backward_hook(self._pulled)

    def _fed(self, module, inputs, output):
        self.calls.append(len(output))

    def _pulled(self, module, inputs, outputs):
        self.backward += len(outputs[0])


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(5 * 16, 33), nn.ReLU(), nn.Linear(33, 7),
    )  # fmt: skip
    model[-1].weight.data.mul_(4)
    x = torch.rand(4, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    return model.eval(), x, model(x).argmax(1)


@pytest.fixture(params=["single", "small"])
def kind(request, monkeypatch):
    """A network of this size, taken for one whose rows are dear or of middling cost."""
    monkeypatch.setattr(rows, "MIDDLE", 1.0)
    monkeypatch.setattr(rows, "DEAR", 1.0 if request.param == "single" else 1e9)
    return request.param


@pytest.mark.parametrize("grade", ["best", "fast", pytest.param("faithful", marks=pytest.mark.slow)])
def test_the_network_sees_what_is_reported_and_no_row_for_company(kind, grade):
    model, x, y = network()
    seen = Seen(model[0])
    options = SearchOptions(grade=grade, penalty_tolerance=0.5, exact_linear="off")
    result = minimal_distortion(model, x[:1], y[:1], options=options)
    assert result.status == ["found"]
    assert (sum(seen.calls), seen.backward) == (result.forward_rows, result.backward_rows)
    width = 1 if kind == "single" else 4
    assert set(seen.calls) <= ({8, 1} if kind == "single" else {1, 4, 5, 6, 7, 8})
    examination = 3 * 8 + 1 + 1 + 1
    searched = int(result.forward_passes[0])
    assert result.forward_rows - examination <= width * searched
    if kind == "single":
        assert result.forward_rows - examination == searched
        assert result.backward_rows - 1 == int(result.backward_passes[0])


@pytest.mark.parametrize(("grade", "targeted"), [("best", True), ("best", False), ("fast", False)])
def test_a_result_is_the_same_to_the_bit_in_any_company_and_holds_alone(kind, grade, targeted):
    model, x, y = network()
    targets = (y + 2) % 7 if targeted else None

    def searched(index, slots):
        goals = None if targets is None else targets[index]
        return minimal_distortion(model, x[index], y[index], goals, SearchOptions(grade=grade, slots=slots))

    whole = searched(torch.arange(4), 256)
    assert whole.status == ["found"] * 4
    for index, slots in (([3], 256), ([2, 1, 0], 3)):
        part = searched(torch.tensor(index), slots)
        assert torch.equal(part.adversarial, whole.adversarial[index])
        assert torch.equal(part.forward_passes, whole.forward_passes[index])
    for i in range(4):
        alone = int(model(whole.adversarial[i : i + 1]).argmax())
        assert alone == int(whole.prediction[i]) != int(y[i])


@pytest.mark.parametrize(("grade", "targeted", "expected"), [("best", True, 1), ("best", False, 0), ("fast", True, 0)])
def test_a_dear_search_of_one_class_has_one_further_start_where_its_starts_disagree(
    monkeypatch, grade, targeted, expected
):
    """DDN was up to twice as near on two of 19 photos, where slow starts are too dear and many find nothing."""
    model, x, y = network()
    monkeypatch.setattr(rows, "MIDDLE", 1.0)
    monkeypatch.setattr(rows, "DEAR", 1.0)
    for name in ("SAME", "SURELY_SAME"):
        monkeypatch.setattr(row_search, name, 2.0)
    begun, steps = [], row_search._RowSearch._steps
    monkeypatch.setattr(row_search._RowSearch, "_steps", lambda self, *of: begun.append(steps(self, *of)) or begun[-1])
    options = SearchOptions(grade=grade, exact_linear="off")
    result = minimal_distortion(model, x[:2], y[:2], (y[:2] + 2) % 7 if targeted else None, options)
    assert result.status == ["found"] * 2
    assert sorted(i for trial in begun for i in trial.index.tolist()) == [0, 1] * expected
    assert all(trial.least == 2 * 28 for trial in begun)


def test_what_was_chosen_is_in_the_result_and_in_the_log(kind, caplog):
    model, x, y = network()
    with caplog.at_level("INFO", logger="intriguing"):
        result = minimal_distortion(model, x, y, options=SearchOptions(grade="fast"))
    assert result.notes == ()
    assert result.plan.blocks == (rows.SINGLE if kind == "single" else rows.SMALL)
    assert result.plan.slots == (16 if kind == "single" else 64)
    assert result.plan.operations == rows.operations_of_row(model, x[:1])
    assert str(result.plan) in caplog.text
    assert f"the model gets {'1 image' if kind == 'single' else '4 to 8 images'} at a time" in str(result.plan)


def test_a_cheap_network_gets_padded_batches_and_the_padding_is_counted():
    model, x, y = network()
    seen = Seen(model[0])
    result = minimal_distortion(model, x, y, options=SearchOptions(grade="fast", exact_linear="off"))
    assert set(seen.calls) == {1, 8, 16, 24, 32}  # the examination, and whether 8, 16 and 24 rows round as 32
    assert (sum(seen.calls), seen.backward) == (result.forward_rows, result.backward_rows)
    assert int(result.forward_passes.sum()) < result.forward_rows / 3


@pytest.mark.parametrize("what", ["hardly bent", "linear", "with bounds"])
def test_rows_that_a_model_is_traced_with_are_counted(what):
    """Where large constants hide that a network bends, its functions show it; a trace takes much memory."""
    model, x, y = network()
    if what == "hardly bent":
        model[-1].bias.data += 1e4
    model = nn.Sequential(nn.Flatten(), nn.Linear(162, 4)) if what == "linear" else model
    seen = Seen(model[0])
    result = minimal_distortion(
        model,
        x[:2],
        y[:2] % 4,
        options=SearchOptions(grade="fast", bounds="fast" if what == "with bounds" else "linear"),
    )
    assert sum(seen.calls) == result.forward_rows
    assert (3 in seen.calls) == (what == "linear")


def test_images_to_start_from_are_asked_for_only_where_a_search_can_use_them(kind):
    model, x, y = network()
    seen, asked = Seen(model[0]), []

    def pool():
        asked.append(len(seen.calls))
        return torch.rand(20, 2, 9, 9, generator=torch.Generator().manual_seed(2))

    minimal_distortion(model, x[:2], y[:2])
    without = sum(seen.calls)
    minimal_distortion(model, x[:2], y[:2], starts=pool)
    assert len(asked) == (kind == "small")
    if kind == "single":
        assert sum(seen.calls) == 2 * without
    minimal_distortion(model, x[:2], y[:2], options=SearchOptions(passes=1), starts=pool)
    assert len(asked) == 1 + (kind == "small")
    with pytest.raises(InputError, match="The grade fast takes no starts"):
        minimal_distortion(model, x[:2], y[:2], options=SearchOptions(grade="fast"), starts=pool)


@pytest.mark.parametrize("count", [1, 3])
def test_the_examination_keeps_the_graph_of_one_row_and_traces_no_bent_network(count, monkeypatch):
    """The backward pass of 8 photos took more memory than the search, and a single image showed no bend."""
    model, x, y = network()
    rows_with_graph = []
    model[0].register_forward_hook(lambda _, fed, out: rows_with_graph.append(len(out)) if out.requires_grad else None)
    traced = []
    monkeypatch.setattr("intriguing.blind_spots.solvers.linear.trace", lambda *of: traced.append(of))
    conduct = examine(model.requires_grad_(False), x[:count], (0.0, 1.0), [ROWS])
    assert rows_with_graph == [1] and conduct.alone and not conduct.blind
    minimal_distortion(model, x[:count], y[:count], options=SearchOptions(grade="fast"))
    assert not traced
