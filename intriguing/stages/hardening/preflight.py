"""What a network must be to be hardened, looked at before any work."""

import torch

from intriguing import randomness
from intriguing.basics.torch_modes import device_of
from intriguing.errors import IntriguingError, ModelError
from intriguing.hardening.cutting import check_dropout, check_layers, dropout_layers, pool_layers
from intriguing.hardening.training import check_trainable
from intriguing.models import TrainOptions, is_classifier
from intriguing.stages.hardening.spec import HardeningSpec

_PROBED = 8


def check_model(
    section: HardeningSpec,
    net: torch.nn.Module,
    shape: tuple[int, int, int],
    slots: int,
    name: str,
    layers: tuple[str, ...],
) -> None:
    """Raise where a network cannot be trained in every variant; the message says which, why, and what to do.

    Raises: `ModelError`, `InputError`, `UnknownNameError`.
    """
    if name not in section.models:
        return
    if not is_classifier(net):
        raise ModelError("it has no logits, so it cannot be hardened: take it out of hardening.models")
    generator = torch.Generator().manual_seed(randomness.torch_seed(0, "hardening check"))
    images = torch.rand(_PROBED, *shape, generator=generator).to(device_of(net))
    for title, given in section.variants.items():
        variant = given.over(section.defaults)
        try:
            check_trainable(net, TrainOptions.of(section.training_of(given, {})))
            if variant.options().has_pools:
                names = variant.layers if isinstance(variant.layers, list) else layers
                pooled = pool_layers(net, names, variant.chosen)
                check_layers(net, pooled, images, fixed=variant.options().below == "fixed")
            if variant.dropout:
                check_dropout(net, dropout_layers(net, layers), images)
        except IntriguingError as error:
            raise type(error)(f"hardening.variants.{title}: {error}") from error
        except Exception as error:  # of the user's code, whose errors may take any arguments
            raise ModelError(f"hardening.variants.{title}: {type(error).__name__}: {error}") from error
