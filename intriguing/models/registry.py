"""The named architectures, and the hash of a user's own model. This module does not import torch."""

from intriguing.data.factories import source_hash as _hash
from intriguing.errors import ModelError

ARCHITECTURES: dict[str, str] = {
    "softmax": "one linear layer, `logits` (the paper's FC10)",
    "mlp": "sigmoid layers `hidden1`, `hidden2`, ... of the widths in `hidden`, then `logits` (FC100-100-10)",
    "cnn": "ReLU convolutions `conv1`, `conv2`, a dense layer `fc1`, then `logits`",
    "autoencoder": "a sparse sigmoid `encoder` trained to reconstruct and then fixed, and `logits` on top (AE400-10)",
    "alexnet": "torchvision's AlexNet, its normalisation as a layer; published weights or a weights file",
    "alexnet-features": "its five convolutions alone, for weights without the dense layers; it has no logits",
}

RECIPES: dict[str, int] = {"mlp": 2, "autoencoder": 4}
"""Versions of recipes that were changed: models that are trained by a changed one are trained anew, all others stay."""

ENDINGS: tuple[str, ...] = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
"""How names of weights files usually end."""

# Forms with a name after the colon, as help texts show them.
FORMS: dict[str, str] = {
    "torchvision:NAME": "any classification model of torchvision, its normalisation as a layer",
    "module:factory": "a Python function that takes the options as keywords and returns a torch.nn.Module",
}


def known_models() -> dict[str, str]:
    """All architectures and forms of names that a spec may use, each with a sentence."""
    return ARCHITECTURES | FORMS


def source_hash(architecture: str) -> str:
    """SHA-256 over the source files of `module:factory`, without importing it. Raises: `ModelError`."""
    return _hash(architecture, ModelError)
