"""What logits may look like: masked classes, offsets, probabilities; and results that hold for each image alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.grades import GRADES
from intriguing.models import examination

INPUTS, CLASSES = 16, 5


class Net(nn.Module):
    def __init__(self, after=lambda z: z, scale=1.0, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(INPUTS, 24), nn.Tanh(), nn.Linear(24, CLASSES)).requires_grad_(False)
        self.layers[2].weight.mul_(4 * scale)
        self.layers[2].bias.mul_(scale)
        self.after = after

    def forward(self, x):
        return self.after(self.layers(x))


def batch(count=10):
    x = torch.rand(count, INPUTS, generator=torch.Generator().manual_seed(1))
    y = Net()(x).argmax(1)
    return x, y, (y + 1) % CLASSES


def with_class(value):
    """One class more, of which the model has ruled out that it wins."""
    return lambda z: torch.cat([z, torch.full_like(z[:, :1], value)], 1)


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("targeted", [False, True])
def test_a_masked_class_changes_nothing_to_the_last_bit(grade, targeted):
    x, y, t = batch()
    options = SearchOptions(grade=grade)
    plain = minimal_distortion(Net(with_class(-50.0)), x, y, t if targeted else None, options)
    assert plain.status == ["found"] * 10
    for mask in (-1e9, -torch.inf) if grade != "best" else (-1e6, -1e9, -1e30, -torch.inf):
        masked = minimal_distortion(Net(with_class(mask)), x, y, t if targeted else None, options)
        assert masked.status == plain.status
        assert torch.equal(masked.adversarial, plain.adversarial)


def linear(mask, offset=0.0):
    torch.manual_seed(0)
    model = nn.Linear(INPUTS, CLASSES + 1).requires_grad_(False)
    model.weight.mul_(3)
    model.bias += offset
    model.weight[CLASSES] = 0
    model.bias[CLASSES] = mask
    return model


@pytest.mark.parametrize("targeted", [False, True])
def test_a_masked_class_changes_nothing_on_the_exact_path(targeted):
    x, _, _ = batch()
    y = linear(-50.0)(x).argmax(1)
    t = (y + 1) % CLASSES if targeted else None
    plain = minimal_distortion(linear(-50.0), x, y, t)
    assert plain.status == ["found"] * 10 and not bool(plain.lower_bound.isnan().any())
    for mask in (-1e6, -1e9, -torch.inf):
        masked = minimal_distortion(linear(mask), x, y, t)
        assert masked.status == plain.status
        assert torch.equal(masked.adversarial, plain.adversarial)
        assert torch.allclose(masked.lower_bound, plain.lower_bound)


def test_a_class_that_is_ruled_out_is_not_found_and_costs_nothing():
    x, _, _ = batch()
    for model, mask in ((Net(with_class(-torch.inf)), -torch.inf), (linear(-torch.inf), -torch.inf)):
        labels = model(x).argmax(1)
        result = minimal_distortion(model, x, labels, [CLASSES] * 10)
        assert result.status == ["not_found"] * 10, mask
        assert int(result.backward_passes.sum()) == 0


@pytest.mark.parametrize("grade", GRADES)
def test_a_common_offset_costs_no_more_than_its_rounding(grade):
    x, y, _ = batch()
    plain = minimal_distortion(Net(), x, y, options=SearchOptions(grade=grade))
    for offset, share in ((1e4, 4e-2),):
        moved = minimal_distortion(Net(lambda z, offset=offset: z + offset), x, y, options=SearchOptions(grade=grade))
        assert moved.status == ["found"] * 10
        ratio = moved.l2 / plain.l2
        assert float(ratio.max()) < 1 + share and float(ratio.median()) < 1 + share / 4


def test_a_common_offset_costs_no_more_than_its_rounding_on_the_exact_path():
    x, _, _ = batch()
    y = linear(-50.0)(x).argmax(1)
    plain, moved = minimal_distortion(linear(-50.0), x, y), minimal_distortion(linear(-50.0, 1e4), x, y)
    assert moved.status == plain.status == ["found"] * 10
    assert float((moved.l2 - plain.l2).max()) < 0.01
    assert bool((moved.lower_bound <= moved.l2).all()) and bool((moved.lower_bound <= plain.l2).all())


def by_hand(z):
    e = (z - z.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


SOFTMAXES = {
    "function": lambda z: F.softmax(z, 1),
    "method": lambda z: z.softmax(-1),
    "torch": lambda z: torch.softmax(z, dim=1),
    "module": nn.Softmax(1),
    "logarithm": lambda z: z.log_softmax(1),
}


@pytest.mark.parametrize(("kind", "sharpness"), [*((kind, 100.0) for kind in SOFTMAXES), ("function", 10.0)])
def test_probabilities_however_sharp_are_searched_as_their_logits(kind, sharpness):
    x, y, t = batch()
    plain = minimal_distortion(Net(scale=sharpness), x, y, t)
    model = Net(SOFTMAXES[kind], scale=sharpness)
    soft = minimal_distortion(model, x, y, t)
    assert plain.status == soft.status == ["found"] * 10
    assert torch.allclose(soft.l2, plain.l2, rtol=1e-2)
    assert [int(model(image[None]).argmax()) for image in soft.adversarial] == t.tolist()
    assert soft.prediction.tolist() == t.tolist()
    assert (soft.notes != ()) == (kind != "logarithm")
    if kind != "logarithm":
        assert "probabilities" in soft.notes[0]


def test_a_softmax_by_hand_is_searched_also_where_it_is_flat_and_is_no_robustness_beyond():
    """Where float32 leaves no gradient around an image, 3 of 10 were found at a scale of 200, and 1 at 500."""
    x, y, t = batch()
    plain = minimal_distortion(Net(), x, y, t)
    for scale, least in ((1.0, 10), (200.0, 10), (500.0, 8)):
        soft = minimal_distortion(Net(by_hand, scale=scale), x, y, t)
        assert set(soft.status) <= {"found", "no_gradient"} and soft.status.count("found") >= least
        found = soft.l2.isfinite()
        assert torch.allclose(soft.l2[found], plain.l2[found], rtol=1e-2)


def test_logits_that_happen_to_look_like_probabilities_once_are_logits():
    plane = nn.Linear(2, 2, bias=False).requires_grad_(False)
    plane.weight.copy_(torch.eye(2))
    result = minimal_distortion(plane, torch.tensor([[0.3, 0.7]]), [1], options=SearchOptions(exact_linear="off"))
    assert result.notes == () and float(result.l2[0]) == pytest.approx(0.4 / 2**0.5, rel=1e-3)


class Partial(nn.Module):
    """A model that, given one image alone, takes `reserve` off every wrong class: rounding, made large."""

    def __init__(self, reserve):
        super().__init__()
        self.net, self.reserve = Net(), reserve

    def forward(self, x):
        z = self.net(x)
        return z + self.reserve * F.one_hot(self.label(x), CLASSES) if len(x) == 1 else z

    def label(self, x):
        return torch.full((len(x),), self.home)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("levels", [None, 256])
def test_what_holds_in_a_batch_only_is_pushed_on_until_it_holds_alone(targeted, levels):
    x, y, t = batch()
    same = y == y[0]
    x, y, t = x[same], y[same], t[same]
    if levels:
        x = (x * 255).round() / 255
    model = Partial(1e-3)
    model.home = int(y[0])
    options = SearchOptions(quantised_levels=levels)
    plain = minimal_distortion(Net(), x, y, t if targeted else None, options)
    pushed = minimal_distortion(model, x, y, t if targeted else None, options)
    assert pushed.status == plain.status == ["found"] * len(y)
    for i in range(len(y)):
        guess = int(model(pushed.adversarial[i : i + 1]).argmax())
        assert guess == int(pushed.prediction[i]) and (guess == int(t[i]) if targeted else guess != int(y[i]))
    # Rounded, `plain` is not the nearest that there is; nothing is nearer than what is found without rounding.
    nearest = minimal_distortion(Net(), x, y, t if targeted else None) if levels else plain
    assert bool((pushed.l2 >= nearest.l2 * (1 - 1e-6)).all())
    assert bool((pushed.l2 <= plain.l2 + 5e-3).all())
    if levels:
        assert torch.equal((pushed.adversarial * 255).round() / 255, pushed.adversarial)


def test_what_never_holds_alone_is_unstable_and_not_found(monkeypatch):
    """Of a model whose images of the examination do not show it."""
    monkeypatch.setattr(examination, "_differ", lambda *_: False)
    x, y, _ = batch()
    same = y == y[0]
    model = Partial(1e3)
    model.home = int(y[0])
    result = minimal_distortion(model, x[same], y[same])
    assert set(result.status) == {"unstable"}
    assert torch.equal(result.adversarial, x[same]) and bool(result.l2.isnan().all())
    assert result.success == [False] * len(result.status)


@pytest.mark.parametrize("grade", GRADES)
def test_a_wanted_class_that_the_model_excludes_is_the_reason(grade):
    """The reason named a start, after one forward pass. A mask of the two largest logits excludes others elsewhere."""
    x, y, _ = batch()
    top = Net(lambda z: z.masked_fill(z < z.topk(2, dim=1).values[:, 1:], -torch.inf))
    least = Net()(x).argmin(1)
    result = minimal_distortion(top, x, y, least, SearchOptions(grade=grade))
    assert result.status == ["not_found"] * len(x)
    assert all(reason.startswith("The model gives the wanted class the logit minus inf") for reason in result.reasons)
    assert minimal_distortion(top, x, y, options=SearchOptions(grade=grade)).status == ["found"] * len(x)
