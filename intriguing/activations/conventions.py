"""The meaning of the axes of the tensors of torch.nn's modules."""

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
    """The main output of a `module` that returns more, such as states (recurrent), weights (attention) or indices
    (pooling).
    """
    if isinstance(module, _FIRST_OF_SEVERAL) and isinstance(value, tuple) and not hasattr(value, "batch_sizes"):
        return value[0]
    return value


def convention_of(module: nn.Module, *, is_input: bool) -> Convention:
    """The axes of the output (or the input) of `module` that follow from its class alone.

    A user's class with its own `forward` gives no information, even if it derives from a class that does: torchvision's
    LayerNorm2d has its channels on the second axis.
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
    """The usual axes of a `module` without weights, for inputs whose layout is not known."""
    spatial = isinstance(module, (*_POOLS, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle))
    return Convention(units=1) if spatial else Convention()


def _is(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether `module` is one of `kinds` and uses its forward."""
    own = "forward" in vars(module)
    return not own and any(isinstance(module, k) and _forward(type(module), k) for k in kinds)


def _forward(subclass: type[nn.Module], kind: type[nn.Module]) -> bool:
    """Whether the class `subclass` has the forward of `kind`."""
    for base in subclass.__mro__:
        if "forward" in vars(base):
            return base.__module__.startswith("torch.nn.") and issubclass(base, kind)
    return False
