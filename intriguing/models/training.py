"""Training. The same model, data set, options, seed and number of threads give the same weights."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from intriguing import randomness
from intriguing.basics import torch_modes
from intriguing.basics.torch_modes import device_of
from intriguing.data import Dataset, Skipped
from intriguing.models.encoder import fit_encoder, fit_head
from intriguing.models.feeding.probing import error_rate, trainable
from intriguing.models.fitting import Decay, Examples, fit
from intriguing.models.networks import Autoencoder
from intriguing.models.options import GENERAL, TrainOptions


@dataclass(frozen=True)
class TrainingReport:
    """The result of a training: error rates (test_error is None without a test split), options used, last loss.

    skipped: training images that could not be read and were not used.
    """

    train_error: float
    test_error: float | None
    epochs: int
    loss: float
    options: TrainOptions
    skipped: tuple[Skipped, ...] = ()


def resolved(model: nn.Module, options: TrainOptions | None = None) -> TrainOptions:
    """The options that a training of `model` uses: `options`, then the architecture's recipe, then `GENERAL`."""
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
    """Train `model` in place on the split "train", on the device of its weights; returns error rates and options used.

    The seed decides the order of the images in each epoch and the dropout; torch's global random state is neither used
    nor changed. evaluate: False leaves the error rates out (NaN and None).

    Raises:
        UnknownNameError: the data set has no training split.
        DataError: none of its images can be read; single unreadable images are skipped.
        InputError: the number of entries of `weight_decay` is not the number of the model's weight tensors.
        ModelError: the loss became NaN or infinite.
    """
    options_used = resolved(model, options)
    split = dataset.split("train")
    with torch_modes.threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.torch_seed(seed, "training"))
        examples, skipped = Examples.of(split, device_of(model))
        if isinstance(model, Autoencoder):
            encoder = model.get_submodule("encoder")
            fit_encoder(encoder, examples, options_used, seed)
            codes = examples.through(nn.Sequential(nn.Flatten(), encoder))
            head = cast(nn.Linear, model.get_submodule("logits"))
            loss = fit_head(head.train().requires_grad_(True), codes, options_used, seed)
        else:
            loss = fit(trainable(model), examples, options_used, Decay.of(model, options_used), seed)
        model.eval()
        train_error = error_rate(model, split) if evaluate else float("nan")
        has_test = evaluate and "test" in dataset.splits
        test_error = error_rate(model, dataset.split("test")) if has_test else None
    return TrainingReport(train_error, test_error, options_used.epochs or 0, loss, options_used, skipped)
