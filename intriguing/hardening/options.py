"""Options of a hardened training. This module does not import torch."""

from dataclasses import dataclass
from typing import Any

from intriguing.basics.numbers import check_number
from intriguing.blind_spots.grades import GRADES
from intriguing.errors import InputError, unknown_name

INPUT = "input"
"""The name of a network's input among its layers."""
METHODS = ("plain", "pools", "noise", "pgd")
BELOW = ("fixed", "trained")


@dataclass(frozen=True)
class HardeningOptions:
    """What is mixed into the clean data of a training, and how.

    Raises: `InputError` for a value out of range, `UnknownNameError` for a name that is none of the listed.
    """

    method: str = "plain"
    """plain: clean data alone. pools: minimal changes of each layer's outputs, kept in a pool per layer. noise: the
    same, each change replaced by Gaussian noise of its own norm. pgd: L2 adversarial training on the input."""
    layers: tuple[str, ...] = ()
    """The layers that have a pool, the lowest first; `input` is the network's input."""
    weight: float = 0.5
    """The share of the loss that the changed examples have; it grows with a pool until the pool is full."""
    new_per_epoch: int = 1_000
    """Images per layer and epoch whose change is searched anew."""
    kept_epochs: int = 10
    """Epochs that a change stays in its pool: the pool holds new_per_epoch x kept_epochs changes when it is full."""
    renewals: int = 4
    """How often in an epoch a part of the new changes is searched; more means fresher pools and smaller batches."""
    revisited: float = 0.5
    """The share of an epoch's searches that are of the images of the pool's oldest changes, from these as warm starts.
    More is cheaper; less lets the pool see more images."""
    cap: float | None = None
    """The largest norm of a change, in units of the median norm of what was found with it; None: no limit. At 1, half
    of the changes are shortened."""
    below: str = "fixed"
    """fixed: a layer's changes train the layers above it alone. trained: the layers below it too."""
    grade: str = "fast"
    """The grade of the searches."""
    radius: float = 1.5
    """pgd: the L2 norm of the change of an image."""
    steps: int = 1
    """pgd: gradients per image; 1 is one step along the gradient, of the whole radius."""
    dropout: tuple[float, ...] = ()
    """The shares of values that are dropped in training: at the input, then at each of `dropped` in turn."""
    dropped: tuple[str, ...] = ()
    """The layers whose outputs have dropout; the last share counts for all that follow."""

    def __post_init__(self) -> None:
        for name, valid in (("method", METHODS), ("below", BELOW), ("grade", tuple(GRADES))):
            if getattr(self, name) not in valid:
                raise unknown_name(f"hardening option {name}", str(getattr(self, name)), valid)
        for name in ("new_per_epoch", "kept_epochs", "renewals", "steps"):
            _check(name, getattr(self, name), whole=True, low=1)
        _check("weight", self.weight, low=0, high=1)
        _check("revisited", self.revisited, low=0, high=1)
        _check("radius", self.radius, low=0)
        if self.cap is not None:
            _check("cap", self.cap, low=1e-6)
        for share in self.dropout:
            _check("dropout", share, low=0, high=0.99)
        if self.has_pools and not self.layers:
            raise InputError(f"Hardening option layers is empty, and {self.method!r} needs a layer: name one.")
        if len(set(self.layers)) != len(self.layers):
            raise InputError("Hardening option layers names a layer twice.")

    @property
    def has_pools(self) -> bool:
        """Whether changes are searched and kept."""
        return self.method in ("pools", "noise")

    @property
    def pool_size(self) -> int:
        """How many changes a full pool holds."""
        return self.new_per_epoch * self.kept_epochs


def _check(name: str, value: Any, **span: Any) -> None:
    check_number(f"Hardening option {name}", value, **span)
