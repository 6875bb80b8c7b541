"""Networks that return auxiliary logits while they are trained, as GoogLeNet does."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from intriguing.models.feeding.probing import predict
from intriguing.models.fitting import cross_entropy


def test_auxiliary_logits_count_three_tenths_each():
    random = torch.Generator().manual_seed(0)
    main, one, other = (torch.randn(6, 4, generator=random) for _ in range(3))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = F.cross_entropy(main, labels) + 0.3 * (F.cross_entropy(one, labels) + F.cross_entropy(other, labels))
    assert float(cross_entropy((main, one, other), labels)) == pytest.approx(float(expected))
    assert float(cross_entropy((main, None), labels)) == pytest.approx(float(F.cross_entropy(main, labels)))
    assert torch.equal(cross_entropy(main, labels), F.cross_entropy(main, labels))


def test_predicting_leaves_the_images_as_they_are():
    class InPlace(nn.Module):
        def forward(self, x):
            return x.sub_(0.5).flatten(1)

    x = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    assert torch.equal(predict(InPlace(), x, slots=4), (before - 0.5).flatten(1))
    assert torch.equal(x, before)
