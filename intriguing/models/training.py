"""Training: the same weights for the same model, data set, options, seed and number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from intriguing import randomness
from intriguing.data import Dataset, Skipped
from intriguing.models.encoder import fit_encoder
from intriguing.models.fitting import Decay, Examples, fit
from intriguing.models.networks import Autoencoder
from intriguing.models.options import GENERAL, TrainOptions
from intriguing.models.probing import device_of, error_rate


@dataclass(frozen=True)
class TrainingReport:
    """What a training came to: fractions wrong (test_error None without a test split), options as used, last loss.

    `skipped` are the training images that could not be read; the training went on without them.
    """

    train_error: float
    test_error: float | None
    epochs: int
    loss: float
    options: TrainOptions
    skipped: tuple[Skipped, ...] = ()


def resolved(model: nn.Module, options: TrainOptions | None = None) -> TrainOptions:
    """The options that a training of `model` will use: those given, then the architecture's recipe, then `GENERAL`."""
    recipe = getattr(model, "recipe", None)
    base = recipe.over(GENERAL) if isinstance(recipe, TrainOptions) else GENERAL
    return (options or TrainOptions()).over(base)


def train_model(
    model: nn.Module,
    dataset: Dataset,
    options: TrainOptions | None = None,
    seed: int = 0,
    threads: int = 1,
    *,
    evaluate: bool = True,
) -> TrainingReport:
    """Train `model` on the split "train", in place, where its weights lie; returns the errors and the options as used.

    The order of the images is a keyed permutation per epoch, and dropout is keyed too: torch's global random state is
    neither read nor moved. With `evaluate` False the errors are not measured (NaN and None).

    Raises:
        UnknownNameError: the data set has no training split.
        DataError: none of its images can be read; where some cannot, it is trained on the others.
        InputError: `weight_decay` has another number of entries than the model has weight tensors.
        ModelError: the loss became NaN or infinite.
    """
    chosen = resolved(model, options)
    split = dataset.split("train")
    head: nn.Module = model
    with _threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.torch_seed(seed, "training"))
        examples, skipped = Examples.of(split, device_of(model))
        if isinstance(model, Autoencoder):
            encoder = model.get_submodule("encoder")
            fit_encoder(encoder, examples, chosen, seed)
            examples = examples.through(nn.Sequential(nn.Flatten(), encoder))
            head = model.get_submodule("logits")
        head.train().requires_grad_(True)
        loss = fit(head, examples, chosen, Decay.of(head, chosen), seed)
        model.eval()
        train_error = error_rate(model, split) if evaluate else float("nan")
        tested = evaluate and "test" in dataset.splits
        test_error = error_rate(model, dataset.split("test")) if tested else None
    return TrainingReport(train_error, test_error, chosen.epochs or 0, loss, chosen, skipped)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
