"""Models that train and classify, but that no search can see through."""

import torch.nn.functional as F

from tests.sweep.user_models import Linear


class Rounded(Linear):
    def forward(self, x):
        return super().forward(x.round())


class Detached(Linear):
    def forward(self, x):
        return super().forward(x.detach())


class Dropped(Linear):
    def forward(self, x):
        return super().forward(F.dropout(x))


class OfTheBatch(Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


def rounded(shape, classes):
    return Rounded(shape, classes)


def detached(shape, classes):
    return Detached(shape, classes).requires_grad_(False)


def dropped(shape, classes):
    return Dropped(shape, classes)


def of_the_batch(shape, classes):
    return OfTheBatch(shape, classes)
