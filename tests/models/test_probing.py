"""Feeding and checking models."""

import pytest
import torch
from torch import nn

from intriguing.data.dataset import build_dataset
from intriguing.errors import InputError, ModelError
from intriguing.models import build_model, check_model, classes_of, error_rate, predict, probe

GREY = (1, 28, 28)


def images(count):
    return torch.rand(count, *GREY, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["softmax", "mlp", "cnn", "autoencoder"])
@pytest.mark.parametrize("slots", [32, 256])
def test_logits_are_bitwise_the_same_in_any_shard_and_place(name, slots):
    model, x = probe(build_model(name, GREY, 10, seed=1)), images(300)
    if name in ("softmax", "autoencoder"):
        nn.init.normal_(model.get_parameter("logits.weight"), generator=torch.Generator().manual_seed(1))
    whole = predict(model, x, slots)
    pieces = torch.cat([predict(model, part, slots) for part in x.split([1, 7, 130, 162])])
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    assert torch.equal(whole, pieces)
    assert torch.equal(whole[order], predict(model, x[order], slots))


def test_every_batch_has_the_same_size():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.flatten(1)

    assert predict(Spy(), torch.rand(10, 1, 2, 2), slots=4).shape == (10, 4)
    assert seen == [1, 4, 4, 4]  # the first one is to count what a row costs


def test_no_images_give_no_logits():
    assert predict(build_model("softmax", GREY, 10), images(0)).shape == (0, 10)
    with pytest.raises(InputError, match="slots = 0"):
        predict(build_model("softmax", GREY, 10), images(1), slots=0)


def test_predicting_does_not_train_and_leaves_every_mode_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(), nn.Linear(784, 3)).train()
    model[1].eval()
    mean = model[1].running_mean.clone()
    model[0].train()
    assert torch.equal(predict(model, images(5)), predict(model, images(5)))
    assert [m.training for m in model] == [True, False, True, True]
    assert torch.equal(model[1].running_mean, mean)


def test_a_probed_model_is_frozen_and_in_eval_mode():
    model = probe(build_model("cnn", GREY, 10).train())
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_error_rate_counts_what_is_wrong():
    x = torch.zeros(5, 1, 1, 3)
    x[range(5), 0, 0, [0, 1, 2, 0, 1]] = 1
    split = build_dataset("x", {"test": (x.numpy(), torch.tensor([0, 1, 2, 1, 2]).numpy(), None)}, "h").split("test")
    assert error_rate(nn.Flatten(), split, slots=2) == 2 / 5


def test_an_answer_of_nan_is_no_class_and_wrong():
    logits = torch.tensor([[0.0, 1.0], [torch.nan, 1.0], [1.0, torch.nan], [-torch.inf, 0.0], [torch.inf, 0.0]])
    assert classes_of(logits).tolist() == [1, -1, -1, 1, 0]
    assert classes_of(logits[:0]).tolist() == []
    x = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]]).reshape(3, 1, 1, 2)
    split = build_dataset("x", {"test": (x.numpy(), torch.tensor([0, 0, 1]).numpy(), None)}, "h").split("test")
    unsure = nn.Sequential(nn.Flatten(), Nothing())
    assert error_rate(unsure, split, slots=2) == 1 / 3


class Nothing(nn.Module):
    """NaN in place of each number between 0 and 1."""

    def forward(self, x):
        return torch.where((x > 0) & (x < 1), torch.nan, x)


class Returns(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


class Rows(nn.Module):
    """A model that takes batches of one size."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, x):
        return x.reshape(self.rows, 784)[:, :10]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (nn.Linear(5, 10), r"does not take images of shape \(1, 28, 28\): mat1 and mat2"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 7)), r"returns \(2, 7\).*has 10 classes"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 33)), r"\(2, 10\). If its 33 .* and \?classes=33 behind the path"),
        (Returns(torch.full((2, 10), float("nan"))), "not finite"),
        (Returns(torch.full((2, 10), float("inf"))), "not finite"),
        (Returns((1, 2)), "returns a tuple"),
        (Returns({"logits": 1}), r"wrap the model in a module that returns output\['logits'\]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 1)), r"gives one logit per image, \(2, 1\) for 2; .*torch.cat"),
        (nn.Unflatten(1, (7, -1)), "Provided sizes"),
        (Rows(1), r"takes one image at a time.*torch.cat\(\[self.net\(image\[None\]\) for image in x\]\)"),
        (Rows(12), r"takes batches of 12 alone: write slots = 12 under \[compute\]"),
    ],
)
def test_a_model_that_cannot_be_used_is_told(model, told):
    with pytest.raises(ModelError, match=told):
        check_model(model, GREY, 10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_gets_the_type_of_its_weights_where_it_takes_no_other(dtype):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).to(dtype)
    assert check_model(model, GREY, 10) == 2
    assert torch.equal(predict(model, images(32), 32), model(images(32).to(dtype)))
    with pytest.raises(ModelError, match=f"trained in float32, and its weights are {str(dtype)[6:]}: return model.flo"):
        check_model(model, GREY, 10, to_train=True)


def test_what_a_model_gives_that_is_no_classifier_may_be_anything():
    model = Returns({"hidden": torch.zeros(2, 3)})
    with pytest.raises(ModelError, match="returns a dict"):
        check_model(model, GREY, 10)
    model.classifies = False
    assert check_model(model, GREY, 10) == 2


def test_a_model_that_fails_on_some_images_is_not_told_to_refuse_their_shape():
    """It was "does not take images of shape (1, 2, 2): a dark image"."""

    class OfBrightOnes(nn.Linear):
        def forward(self, x):
            if not (x.flatten(1).amax(1) > 0).all():
                raise ValueError("a dark image")
            return super().forward(x.flatten(1))

    told = (
        r"fails on some images of shape \(1, 2, 2\), and takes others of the same shape: a dark image\. Let its forward"
    )
    with pytest.raises(ModelError, match=told):
        check_model(OfBrightOnes(4, 3), (1, 2, 2), 3)
