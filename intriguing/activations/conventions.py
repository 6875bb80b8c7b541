"""What the kinds of modules in torch.nn say of the axes of their tensors."""

from typing import Any

from torch import nn
from torch.nn.modules import batchnorm, conv, instancenorm, pooling, rnn

from intriguing.activations.layout import Convention

_LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.EmbeddingBag)
_NORMS = (nn.LayerNorm, nn.RMSNorm)
_SECOND = (batchnorm._BatchNorm, instancenorm._InstanceNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.Softmax2d)
_POOLS = (
    *(pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._LPPoolNd, pooling._MaxUnpoolNd),
    *(pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd),
)
_FIRST_OF_SEVERAL = (nn.RNNBase, nn.LSTMCell, nn.MultiheadAttention, *_POOLS)


def output_of(module: nn.Module, value: Any) -> Any:
    """The output proper of a `module` that gives more: a recurrent one its states, attention its weights, pooling its
    indices.
    """
    if isinstance(module, _FIRST_OF_SEVERAL) and isinstance(value, tuple) and not hasattr(value, "batch_sizes"):
        return value[0]
    return value


def convention_of(module: nn.Module, *, is_input: bool) -> Convention:
    """What the kind of `module` says of the axes of its output (or its input), whatever came before.

    A class of the user's own that brings its own `forward` says nothing, even where it derives from one that does:
    torchvision's LayerNorm2d keeps the channels second.
    """
    if _is(module, _NORMS) and len(module.normalized_shape) > 1:  # type: ignore[arg-type]
        return Convention()
    if is_input and _is(module, (nn.Embedding, nn.EmbeddingBag)):
        return Convention()
    if _is(module, _LAST):
        return Convention(units=-1)
    if _is(module, (nn.RNNBase, nn.MultiheadAttention)):
        return Convention(units=-1, batch=0 if module.batch_first else 1, ndim=3)
    if _is(module, (rnn.RNNCellBase,)):
        return Convention(units=-1, ndim=2)
    if _is(module, (conv._ConvNd,)):
        return Convention(units=1, ndim=len(module.kernel_size) + 2)  # type: ignore[arg-type]
    if _is(module, _SECOND):
        return Convention(units=1)
    return Convention()


def usual_axis(module: nn.Module) -> Convention:
    """What is usual for a `module` without weights, for where nothing is known of the tensor it is fed."""
    spatial = isinstance(module, (*_POOLS, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle))
    return Convention(units=1) if spatial else Convention()


def _is(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether `module` is one of `kinds` and runs its forward."""
    own = "forward" in vars(module)
    return not own and any(isinstance(module, k) and _forward(type(module), k) for k in kinds)


def _forward(subclass: type[nn.Module], kind: type[nn.Module]) -> bool:
    """Whether the class `made` gets its forward from torch.nn."""
    for base in subclass.__mro__:
        if "forward" in vars(base):
            return base.__module__.startswith("torch.nn.") and issubclass(base, kind)
    return False
