"""What a network must be to be searched, looked at before any work."""

import torch

from intriguing.errors import ModelError
from intriguing.models import check_searchable, is_classifier
from intriguing.stages.blind_spots.spec import BlindSpotsSpec


def check_model(
    section: BlindSpotsSpec,
    net: torch.nn.Module,
    shape: tuple[int, int, int],
    slots: int,
    name: str,
    layers: tuple[str, ...],
) -> None:
    """Raises `ModelError` where the network cannot be searched; the message says why, and what to do."""
    if not is_classifier(net):
        raise ModelError("it has no logits, so it cannot be attacked: take [blind_spots] out of the spec")
    check_searchable(net, shape, (8, slots, 1))
