"""Options of a training. This module does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from intriguing.basics.numbers import check_number
from intriguing.errors import check_names, unknown_name

OPTIMIZERS = ("adam", "sgd", "lbfgs")
DECAY_FORMS = ("half", "printed")
ENCODER_LOSSES = ("squared", "cross_entropy")


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training. A value of None is replaced by that of the architecture's recipe, or of `GENERAL`.

    Raises: `InputError` for a value out of range.
    """

    epochs: int | None = None
    """Passes over the training split; for L-BFGS the largest number of iterations."""
    batch_size: int | None = None
    """Images per step of Adam and SGD; L-BFGS uses all images at once."""
    learning_rate: float | None = None
    """The largest step size: reached after `warm_up`, then lowered to 0 along a cosine. Unused by L-BFGS."""
    warm_up: float | None = None
    """The fraction of the steps in which the step size rises from 0."""
    optimizer: str | None = None
    """adam, sgd (momentum 0.9, Nesterov) or lbfgs (full batch, strong Wolfe conditions)."""
    weight_decay: float | tuple[float, ...] | None = None
    """lambda, one number for all weight tensors or one per tensor in their order; biases have no decay."""
    decay_form: str | None = None
    """half: lambda/2 sum w^2. printed: lambda sum w^2 / k, k the units of the layer, as the paper prints it."""
    encoder_epochs: int | None = None
    """Autoencoder only: passes over the training split for the encoder."""
    sparsity: float | None = None
    """Autoencoder only: the target of every unit's mean activation."""
    sparsity_penalty: float | None = None
    """Autoencoder only: the weight of the Kullback-Leibler divergence from that mean."""
    encoder_decay: float | None = None
    """Autoencoder only: lambda of the encoder's and the decoder's weights."""
    encoder_loss: str | None = None
    """Autoencoder only: squared (1/2 ||x - x'||^2, linear decoder) or cross_entropy (of pixels, sigmoid decoder)."""
    corruption: float | None = None
    """Autoencoder only: the standard deviation of Gaussian noise on what the encoder sees, drawn anew in each step."""

    def __post_init__(self) -> None:
        if isinstance(self.weight_decay, list):
            object.__setattr__(self, "weight_decay", tuple(self.weight_decay))
        for name in ("epochs", "batch_size"):
            _check(name, getattr(self, name), whole=True, low=1)
        _check("encoder_epochs", self.encoder_epochs, whole=True, low=0)
        for name in ("learning_rate", "sparsity_penalty", "encoder_decay", "corruption"):
            _check(name, getattr(self, name), low=0)
        _check("warm_up", self.warm_up, low=0, high=1)
        _check("sparsity", self.sparsity, low=1e-6, high=1 - 1e-6)
        decays = self.weight_decay if isinstance(self.weight_decay, tuple) else (self.weight_decay,)
        for decay in decays:
            _check("weight_decay", decay, low=0)
        for name, value, valid in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("decay_form", self.decay_form, DECAY_FORMS),
            ("encoder_loss", self.encoder_loss, ENCODER_LOSSES),
        ):
            if value is not None and value not in valid:
                raise unknown_name(f"training option {name}", str(value), valid)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Options from a mapping, as in a spec. Raises: `UnknownNameError` for a key that is not an option."""
        check_names("training option", options, [f.name for f in fields(cls)])
        return cls(**options)

    def over(self, base: Self) -> Self:
        """These options, with values of None replaced by those of `base`."""
        return replace(base, **{f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None})


def _check(name: str, value: Any, **span: Any) -> None:
    if value is not None:
        check_number(f"Training option {name}", value, **span)


GENERAL = TrainOptions(
    epochs=10,
    batch_size=128,
    learning_rate=1e-3,
    warm_up=0.1,
    optimizer="adam",
    weight_decay=0.0,
    decay_form="half",
    encoder_epochs=0,
    sparsity=0.05,
    sparsity_penalty=0.0,
    encoder_decay=0.0,
    encoder_loss="squared",
    corruption=0.0,
)
"""The options of a model that has no recipe of its own."""
