"""Models that cannot be searched are refused with what to do; models with ways of their own are searched rightly."""

from itertools import count

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.errors import InputError, ModelError
from intriguing.models.examination import check_searchable, examine

INPUTS, CLASSES = 12, 4


def base(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(INPUTS, 24), nn.ReLU(), nn.Linear(24, CLASSES)
    return nn.Sequential(*layers).requires_grad_(False).eval()


def images(count=6, seed=1):
    return torch.rand(count, INPUTS, generator=torch.Generator().manual_seed(seed))


class Wrapped(nn.Module):
    """`base`, with something before and something after it."""

    def __init__(self, before=None, after=None):
        super().__init__()
        self.inner = base()
        self.before = before or (lambda x: x)
        self.after = after or (lambda z: z)

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


class NoGrad(Wrapped):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Inferring(Wrapped):
    @torch.inference_mode()
    def forward(self, x):
        return super().forward(x)


class NumPy(Wrapped):
    def forward(self, x):
        return super().forward(torch.from_numpy(x.numpy() * 2))


class OfTheBatch(Wrapped):
    def forward(self, x):
        return super().forward(F.batch_norm(x, None, None, training=True))


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


def one_of_them(z):
    """Logits, the first row's others at every call."""
    return torch.cat([z[:1] + torch.rand(1, CLASSES), z[1:]])


_CALLS = count()


def counted(z):
    """Logits, all of them larger by one at every call."""
    return z + next(_CALLS)


def of_one_colour(x):
    if (x == x[:, :1]).all():
        return x
    raise ValueError("of two colours")


def centred(x):
    return x - x.mean(0)


def larger_with_gradients(x):
    return x * 1.5 if torch.is_grad_enabled() else x


def larger_for_a_leaf(x):
    return x * 1.5 if x.requires_grad else x


REFUSED = {
    "no_grad": (NoGrad(), "does not depend on its input for torch"),
    "inference mode": (Inferring(), "does not depend on its input for torch|cannot be differentiated"),
    "detach": (Wrapped(after=torch.Tensor.detach), "does not depend on its input for torch"),
    "numpy": (NumPy(), "cannot be differentiated.*without NumPy"),
    "classes": (Wrapped(after=lambda z: F.one_hot(z.argmax(1), CLASSES)), "does not depend on its input for torch"),
    "noise": (Wrapped(noisy), "model is random"),
    "a little noise": (Wrapped(after=lambda z: z + 1e-6 * torch.randn_like(z)), "model is random"),
    "noise in one image": (Wrapped(after=one_of_them), "model is random"),
    "a counter in all logits": (Wrapped(after=counted), "keeps something from call to call"),
    "some images": (
        Wrapped(of_one_colour),
        r"fails on some images of shape \(12,\), and takes others of the same shape: of two colours\. Let its",
    ),
    "complex": (Wrapped(after=lambda z: z.to(torch.complex64)), r"complex numbers.*output\.abs"),
    "no classes": (Wrapped(after=lambda z: z[:, :0]), r"gave \(8, 0\) for a batch of 8"),
    "dropout": (Wrapped(lambda x: F.dropout(x, 0.5)), r"model is random.*training=self\.training"),
    "batch statistics": (
        OfTheBatch(),
        "depends on the other images of its batch.*dynamic quantisation.*running statistics",
    ),
    "centred": (Wrapped(centred), "depends on the other images of its batch"),
    "other logits with gradients": (Wrapped(larger_with_gradients), r"gives other logits.*torch\.is_grad_enabled"),
    "other logits of a leaf": (Wrapped(larger_for_a_leaf), r"gives other logits.*requires_grad"),
    "one logit": (Wrapped(after=lambda z: z[:, :1]), r"one logit per image, \(8, 1\).*torch\.cat"),
    "one number": (Wrapped(after=lambda z: z[:, 0]), r"one logit per image, \(8,\).*torch\.cat"),
    "tuple": (Wrapped(after=lambda z: (z, z)), r"returns a tuple.*output\[0\]"),
    "dict": (Wrapped(after=lambda z: {"logits": z}), r"returns a dict.*output\['logits'\]"),
    "map": (Wrapped(after=lambda z: z[:, :, None, None]), r"gave \(8, 4, 1, 1\) for a batch of 8"),
    "wrong shape": (
        nn.Linear(5, 3),
        r"does not take images of shape \(12,\) and type float32: mat1 and mat2.* \(batches of 8, ",
    ),
    "meta": (base().to("meta"), "on the device 'meta'.*load"),
    "nothing": (3, "is a int"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_be_searched_is_refused_with_what_to_do(name):
    model, told = REFUSED[name]
    with pytest.raises(ModelError, match=told):
        minimal_distortion(model, images(), [0] * 6)
    if name not in ("nothing", "meta"):
        with pytest.raises(ModelError, match=told):
            check_searchable(model, (INPUTS,), [8, 32])


def test_a_model_whose_first_call_rounds_otherwise_is_not_random():
    class Warming(Wrapped):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * (1 + 1e-6 * (self.calls == 1))

    check_searchable(Warming(), (INPUTS,), [8])


def test_labels_that_make_no_tensor_are_told():
    with pytest.raises(InputError, match="labels is a list that makes no tensor.*it must be 6 whole numbers"):
        minimal_distortion(base(), images(), ["cat"] * 6)


@pytest.mark.parametrize(
    "labels, hint",
    [
        (torch.eye(3)[[0, 1, 2, 0, 1, 2]], r"\.argmax\(1\)"),
        (torch.zeros(6, 1, dtype=torch.int64), r"Write \.flatten\(\)"),
        (torch.ones(6), r"write \.long\(\)"),
    ],
)
def test_labels_in_another_form_are_refused_with_what_makes_them_right(labels, hint):
    with pytest.raises(InputError, match=f"labels is .*must be 6 whole numbers.*{hint}"):
        minimal_distortion(base(), images(), labels)


def test_a_single_class_for_a_single_image_is_refused_with_the_list_to_write():
    """The message said to write x[None], of images (1, ...)."""
    with pytest.raises(InputError, match=r"For a single class write \[label\]\."):
        minimal_distortion(base(), images()[:1], 2)
    with pytest.raises(InputError, match=r"For a single image write x\[None\]\."):
        minimal_distortion(base(), images(), [2])


@pytest.mark.parametrize("step", [torch.round, lambda x: (x - 0.5).sign(), lambda x: (x * 4).floor() / 4])
def test_a_gradient_that_is_zero_everywhere_is_no_robustness(step):
    model = Wrapped(step)
    x = images()
    result = minimal_distortion(model, x, model(x).argmax(1))
    assert result.status == ["no_gradient"] * 6
    assert "no sign of robustness" in result.sentences["no_gradient"]
    with pytest.raises(ModelError, match="gradient of the logits is zero at all 8 images.*rounding"):
        check_searchable(model, (INPUTS,), [8])


def test_a_network_that_starts_at_zero_may_still_be_trained():
    model = nn.Sequential(nn.Flatten(), nn.Linear(INPUTS, 3))
    nn.init.zeros_(model[1].weight)
    check_searchable(model, (INPUTS,), [8])
    assert bool((model[1].weight == 0).all())


def scripted():
    return torch.jit.script(base())


def frozen_script():
    return torch.jit.freeze(scripted())


def traced():
    return torch.jit.trace(base(), images(3))


def exported():
    return torch.export.export(base(), (images(3),), dynamic_shapes=({0: torch.export.Dim("n", min=2, max=512)},))


def function():
    model = base()
    return lambda x: model(x)


def in_training_mode():
    model = nn.Sequential(*base(), nn.Dropout(0.5)).train()
    return model.requires_grad_(True)


def by_its_forward():
    return in_training_mode().forward


def in_place():
    return Wrapped(lambda x: x.mul_(1.0).add_(0.0))


def through_data():
    def moved(x):
        x.data.add_(1.0)
        return x - 1.0

    return Wrapped(moved)


def in_float64():
    return Wrapped(after=lambda z: z.double())


MAKES = [scripted, frozen_script, traced, exported, function, in_training_mode, by_its_forward, in_place]
MAKES += [through_data, in_float64]


@pytest.mark.parametrize("build", MAKES)
@pytest.mark.filterwarnings("ignore")
def test_a_model_of_another_make_gives_what_the_plain_one_gives(build):
    x = images()
    before = x.clone()
    y = base()(x).argmax(1)
    options = SearchOptions("fast")
    plain = minimal_distortion(base(), x, y, options=options)
    other = minimal_distortion(build(), x, y, options=options)
    assert plain.status == other.status == ["found"] * 6
    assert torch.equal(x, before)
    assert torch.allclose(plain.l2, other.l2, rtol=2e-2)
    assert bool((base()(other.adversarial).argmax(1) != y).all())


def test_modes_and_flags_are_put_back_whatever_the_make():
    model = in_training_mode()
    minimal_distortion(model.forward, images(), [0] * 6)
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("fixed", [3, 8, 16, 128])
def test_a_model_of_one_batch_size_is_fed_with_it(fixed):
    class Fixed(Wrapped):
        def forward(self, x):
            return super().forward(x.view(fixed, INPUTS))

    x = images()
    y = base()(x).argmax(1)
    result = minimal_distortion(Fixed(), x, y, options=SearchOptions(slots=fixed))
    assert result.status == ["found"] * 6
    assert any(f"batches of {fixed} only" in note for note in result.notes)
    assert bool((base()(result.adversarial).argmax(1) != y).all())


def test_a_program_that_was_exported_with_the_images_own_number_is_searched():
    x = images()
    program = torch.export.export(base(), (x,))
    assert minimal_distortion(program, x, base()(x).argmax(1)).status == ["found"] * 6


def test_a_model_that_takes_single_images_alone_is_searched():
    class Single(Wrapped):
        def forward(self, x):
            return super().forward(x.view(1, INPUTS))

    x = images(2)
    y = base()(x).argmax(1)
    assert minimal_distortion(Single(), x, y).status == ["found"] * 2


def test_a_model_that_loses_the_batch_of_one_is_confirmed_in_copies():
    model = Wrapped(after=torch.squeeze, before=lambda x: x.squeeze())
    x = images()
    result = minimal_distortion(model, x, base()(x).argmax(1))
    assert result.status == ["found"] * 6 and any("copies" in note for note in result.notes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_searched_in_it(dtype):
    model = base().to(dtype)
    x = images()
    y = model(x.to(dtype)).argmax(1)
    result = minimal_distortion(model, x, y)
    assert result.status == ["found"] * 6
    assert any(str(dtype).removeprefix("torch.") in note for note in result.notes)
    for i in range(6):
        assert int(model(result.adversarial[i : i + 1].to(dtype)).argmax()) != int(y[i])
    # Half precision decides a little elsewhere, no more.
    exact = minimal_distortion(base(), x, y)
    assert float((result.l2 / exact.l2).median()) == pytest.approx(1, abs=0.06)


class OneMemory(Wrapped):
    """Without gradients all outputs are written to the same memory, as by compiled models that replay a graph."""

    def forward(self, x):
        out = self.inner(x)
        if out.requires_grad:
            return out
        if not hasattr(self, "memory"):
            self.memory = torch.zeros(300, out.shape[1])
        return self.memory[: len(x)].copy_(out)


class Strict(Wrapped):
    """Refuses values outside the box."""

    def forward(self, x):
        assert float(x.detach().min()) >= 0 and float(x.detach().max()) <= 1, "values outside [0, 1]"
        return self.inner(x)


@pytest.mark.parametrize("kind", [OneMemory, Strict])
@pytest.mark.parametrize("grade", ["best", "fast", "faithful"])
def test_a_model_that_reuses_its_memory_or_refuses_values_outside_the_box_is_searched_as_any(kind, grade):
    """The first was refused as one that mixes the images of a batch; the second stopped the search by its own error."""
    model, x, options = base(), images(140), SearchOptions(grade)
    labels = model(x).argmax(1)
    plain = minimal_distortion(model, x, labels, options=options)
    result = minimal_distortion(kind(), x, labels, options=options)
    assert result.status == plain.status == ["found"] * 140
    assert torch.allclose(result.l2, plain.l2, rtol=2e-3)


class Einsum(nn.Module):
    """A linear network with an operation that no trace knows."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, INPUTS, generator=torch.Generator().manual_seed(2)))

    def forward(self, x):
        return torch.einsum("bi,ci->bc", x.flatten(1), self.weight)


def test_the_random_state_of_the_caller_stays_as_it_is():
    model = Einsum()
    labels = model(images()).argmax(1)
    before = torch.get_rng_state()
    minimal_distortion(model, images(), labels, options=SearchOptions("fast"))
    assert torch.equal(torch.get_rng_state(), before)


def test_inference_mode_around_the_call_changes_nothing():
    model, options = base(), SearchOptions("fast")
    plain = minimal_distortion(model, images(), model(images()).argmax(1), options=options)
    with torch.inference_mode():
        x = images()
        result = minimal_distortion(model, x, model(x).argmax(1), options=options)
    assert torch.equal(result.adversarial, plain.adversarial)
    assert not result.adversarial.is_inference()


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        model = nn.Linear(INPUTS, 3)
    with pytest.raises(ModelError, match="weight was made inside torch.inference_mode"):
        minimal_distortion(model, images(), [0] * 6)


def test_a_forward_put_in_a_layer_s_place_is_not_taken_for_linear(monkeypatch):
    x = images()

    def crooked(layer):
        return lambda x: F.linear(x, layer.weight, layer.bias) + 0.5 * torch.sin(20 * x[:, :3])

    def proven(model):
        result = minimal_distortion(model, x, model(x).argmax(1))
        return bool((~result.lower_bound.isnan()).any())

    def layer():
        torch.manual_seed(0)
        return nn.Linear(INPUTS, 3).requires_grad_(False)

    assert proven(layer())
    replaced = layer()
    replaced.forward = crooked(replaced)
    assert not proven(replaced)
    monkeypatch.setattr(nn.Linear, "forward", lambda layer, x: crooked(layer)(x))
    assert not proven(layer())


def test_what_the_structure_promises_is_checked_on_the_images(monkeypatch):
    """A function of torch itself may have been replaced, which no look at the modules shows."""
    plain = F.linear
    monkeypatch.setattr(F, "linear", lambda x, w, b: plain(x, w, b) + 0.3 * torch.sin(9 * x[:, :3]))
    torch.manual_seed(0)
    model = nn.Linear(INPUTS, 3).requires_grad_(False)
    result = minimal_distortion(model, images(), model(images()).argmax(1))
    assert result.status == ["found"] * 6 and bool(result.lower_bound.isnan().all())


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (torch.zeros(2, 12, dtype=torch.uint8), r"write x / 255\."),
        (torch.zeros(2, 12, dtype=torch.int64), "scaled to the box"),
        (torch.zeros(2, 12, dtype=torch.float16), r"write x\.float\(\)\."),
        (torch.zeros(12), r"write x\[None\] for a single input"),
        ([[0.0] * 12] * 2, "it must be a tensor or a NumPy array"),
    ],
)
def test_images_of_another_type_are_refused_with_the_right_conversion(x, told):
    with pytest.raises(InputError, match=told):
        minimal_distortion(base(), x, [0, 1])


def test_eight_bit_images_converted_as_advised_are_searched():
    eight = (images() * 255).round().to(torch.uint8)
    x = eight.float() / 255
    assert "bad_input" not in minimal_distortion(base(), x, base()(x).argmax(1)).status


@pytest.mark.parametrize("mask", [-1e9, -1e6, -torch.inf])
def test_a_masked_class_hides_no_noise(mask):
    """A class at -1e9 must not make every difference look like rounding."""
    hidden = torch.zeros(CLASSES)
    hidden[0] = mask
    with pytest.raises(ModelError, match="random"):
        minimal_distortion(Wrapped(noisy, lambda z: z + hidden), images(), [1] * 6)
    with pytest.raises(ModelError, match="batch"):
        minimal_distortion(Wrapped(centred, lambda z: z + hidden), images(), [1] * 6)


def test_an_examination_says_how_a_model_is_called():
    conduct = examine(base(), images(3), (0.0, 1.0), [8])
    assert (conduct.dtype, conduct.classes, conduct.rows, conduct.alone) == (torch.float32, CLASSES, 0, True)
    assert not conduct.probabilities and not conduct.blind


def test_a_classifier_that_is_to_be_searched_is_checked_in_full_blocks():
    from intriguing.models import check_model

    class Fixed(nn.Module):
        def forward(self, x):
            return base()(x.view(16, INPUTS))

    assert check_model(Fixed(), (1, 3, 4), CLASSES, 16) == 16
    check_searchable(Fixed(), (1, 3, 4), (8, 16, 1))
    with pytest.raises(ModelError, match="does not take"):
        check_model(Fixed(), (1, 3, 4), CLASSES)
