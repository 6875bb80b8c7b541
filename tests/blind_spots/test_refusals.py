"""What a search refuses before any work, in the words that a person reads."""

import numpy as np
import pytest
import torch
from torch import nn

from intriguing.blind_spots import minimal_distortion
from intriguing.errors import InputError, ModelError

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
IMAGES = torch.full((2, 1, 2, 2), 0.5)


def test_a_target_equal_to_the_label_is_named():
    with pytest.raises(InputError, match="The target of example 0 is its label, 0; give a wrong class"):
        minimal_distortion(MODEL, IMAGES, torch.tensor([0, 1]), torch.tensor([0, 2]))


def test_a_label_that_is_no_class_of_the_model_is_refused():
    with pytest.raises(InputError, match="7"):
        minimal_distortion(MODEL, IMAGES, torch.tensor([0, 7]))


@pytest.mark.parametrize("options", ["fast", {"grade": "fast"}])
def test_options_of_another_kind_are_refused(options):
    with pytest.raises(InputError, match=r"options is .*fast.*; it must be ig.SearchOptions"):
        minimal_distortion(MODEL, IMAGES, [0, 1], options=options)


def test_targets_in_words_are_every_or_nothing():
    with pytest.raises(InputError, match=r"targets is 'all'; give \(B,\) classes, None or 'every'\."):
        minimal_distortion(MODEL, IMAGES, [0, 1], targets="all")


@pytest.mark.parametrize("labels", [[], np.array([]), torch.tensor([])])
def test_no_images_take_no_labels_of_any_type(labels):
    result = minimal_distortion(MODEL, IMAGES[:0], labels)
    assert result.status == [] and result.adversarial.shape == (0, 1, 2, 2)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64, np.int16])
def test_labels_are_whole_numbers_of_any_type(kind):
    labels = MODEL(IMAGES).argmax(1).numpy()
    result = minimal_distortion(MODEL, IMAGES, labels.astype(kind))
    assert result.clean_prediction.tolist() == labels.tolist() and "misclassified" not in result.status


@pytest.mark.parametrize("kind", [np.float32, np.complex64, np.bool_])
def test_labels_that_are_no_whole_numbers_are_refused(kind):
    with pytest.raises(InputError, match="must be 2 whole numbers"):
        minimal_distortion(MODEL, IMAGES, np.zeros(2, kind))


def test_one_class_for_all_images_is_told_how_to_write():
    """The advice was for a single image: `x[None]`."""
    labels = MODEL(IMAGES).argmax(1)
    with pytest.raises(InputError, match=r"For one class for all of them write torch.full\(\(len\(x\),\), 2\)"):
        minimal_distortion(MODEL, IMAGES, labels, targets=2)


class Counting(nn.Module):
    """A linear network whose output depends on the number of images in its batch."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))

    def forward(self, x):
        return self.net(x) + len(x) * torch.arange(3.0)


def test_an_output_that_depends_on_the_number_of_images_is_refused():
    """Every image was `misclassified`, or `found` where the image alone has its class."""
    with pytest.raises(ModelError, match="how many images are in its batch: among 8 it gives other logits than alone"):
        minimal_distortion(Counting(), IMAGES, torch.tensor([0, 1]))


class LargestLogit(Counting):
    """A linear network whose largest logit alone depends on the number of images in its batch."""

    def forward(self, x):
        z = self.net(x)
        return z + len(x) * (z == z.amax(1, keepdim=True))


def test_an_output_of_which_one_logit_depends_on_the_number_of_images_is_refused():
    """The other logits were the same, so that their differences from the largest one were not looked at."""
    with pytest.raises(ModelError, match="how many images are in its batch"):
        minimal_distortion(LargestLogit(), IMAGES, torch.tensor([0, 1]))


class Stepping(nn.Module):
    """A network that gives other logits to images that begin with 1, where `here` says so of their batch."""

    def __init__(self, here):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 3))
        self.net[3].bias.data.sub_(self.net(torch.full((1, 4), 0.45)).squeeze(0).detach())
        self.here = here

    def forward(self, x):
        step = (x.flatten(1)[:, :1] == 1) & self.here(x)
        return self.net(x) + torch.where(step, torch.tensor([0.1, 0.0, -0.1]), torch.zeros(3))


@pytest.mark.parametrize("here", [lambda x: len(x) == 1, lambda x: torch.is_grad_enabled()], ids=["alone", "gradients"])
def test_a_single_image_at_a_step_of_a_network_is_no_reason_to_refuse_it(here):
    """A rounding leads an image of a quantised network to another step: one of 240 was refused for its first."""
    model, x = Stepping(here), torch.full((3, 1, 2, 2), 0.5)
    x[0, 0, 0, 0] = 1
    with torch.no_grad():
        labels = model.net(x).argmax(1)
    assert minimal_distortion(model, x, labels).status[1:] == ["found", "found"]


class Changing(nn.Module):
    """Gives 4 classes in its first `calls` calls, then 5 and 6 in turns."""

    def __init__(self, calls):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6))
        self.calls, self.made = calls, 0

    def forward(self, x):
        self.made += 1
        return self.net(x)[:, : 4 if self.made <= self.calls else 5 + self.made % 2]


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 9, 11])
def test_a_model_whose_number_of_classes_changes_is_told_so(calls):
    """torch's own words about sizes of tensors were all that was said."""
    torch.manual_seed(0)
    x = torch.rand(3, 1, 4, 4)
    model = Changing(calls).eval()
    labels = model.net(x)[:, :4].argmax(1)
    said = r"number of classes changes from call to call: it gave \d logits for an image, then \d"
    with pytest.raises(ModelError, match=said):
        minimal_distortion(model, x, labels)
