"""The paper's networks and a small ReLU CNN: from pixels in [0, 1] to logits, with named layers."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from intriguing.errors import ModelError, unknown_name
from intriguing.models.options import TrainOptions

Shape = tuple[int, int, int]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


class Network(nn.Sequential):
    """A sequence of named layers, and the options of its training (`recipe`)."""

    def __init__(self, layers: dict[str, nn.Module], recipe: TrainOptions) -> None:
        super().__init__(OrderedDict(layers))
        self.recipe = recipe


class Autoencoder(Network):
    """`encoder` (sigmoid units) and `logits`; the encoder learns to reconstruct, is fixed, then `logits` is fitted."""


def softmax(shape: Shape, classes: int) -> Network:
    """FC10: softmax regression, one linear layer named `logits`. Its loss is convex, so it starts from zero."""
    logits = nn.Linear(prod(shape), classes)
    nn.init.zeros_(logits.weight)
    nn.init.zeros_(logits.bias)
    recipe = TrainOptions(optimizer="lbfgs", epochs=100, weight_decay=1e-3)
    return Network({"flatten": nn.Flatten(), "logits": logits}, recipe)


def mlp(shape: Shape, classes: int, hidden: Sequence[int] = (100, 100), activation: str = "sigmoid") -> Network:
    """FC100-100-10 and such: dense layers `hidden1`, `hidden2`, ... of the widths in `hidden`, then `logits`.

    Each hidden layer is a pair (`linear`, `activation`), so `hidden1` is what the paper calls phi(x), and
    `hidden1.linear` is the input of the nonlinearity. Source of the initial weights: Glorot and Bengio 2010, eq. 16.
    """
    _positive("hidden", *hidden)
    if activation not in _ACTIVATIONS:
        raise unknown_name("activation of mlp", activation, _ACTIVATIONS)
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    width = prod(shape)
    for n, units in enumerate(hidden, start=1):
        layers[f"hidden{n}"] = _pair("linear", _glorot(width, units), _ACTIVATIONS[activation]())
        width = units
    layers["logits"] = _glorot(width, classes)
    recipe = TrainOptions(epochs=30, batch_size=256, learning_rate=1e-2, warm_up=0.2, weight_decay=3e-5)
    return Network(layers, recipe)


def cnn(
    shape: Shape,
    classes: int,
    channels: Sequence[int] = (16, 32),
    hidden: int = 100,
    kernel: int = 5,
    stride: int = 2,
) -> Network:
    """A ReLU CNN: convolutions `conv1`, `conv2`, ... without padding, a dense layer `fc1`, then `logits`.

    Raises: `ModelError` if the image is too small for its convolutions.
    """
    _positive("channels, hidden, kernel, stride", *channels, hidden, kernel, stride)
    layers: dict[str, nn.Module] = {}
    depth, height, width = shape
    for n, maps in enumerate(channels, start=1):
        height, width = ((size - kernel) // stride + 1 for size in (height, width))
        if min(height, width) < 1:
            raise ModelError(
                f"cnn: an image of {shape[1]} x {shape[2]} is too small for convolution {n} (kernel {kernel}, stride "
                f"{stride}). Give fewer channels, a smaller kernel or a smaller stride."
            )
        layers[f"conv{n}"] = _pair("conv", nn.Conv2d(depth, maps, kernel, stride), nn.ReLU())
        depth = maps
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = _pair("linear", nn.Linear(depth * height * width, hidden), nn.ReLU())
    layers["logits"] = nn.Linear(hidden, classes)
    recipe = TrainOptions(epochs=6, batch_size=64, learning_rate=4e-3, warm_up=0.2)
    return Network(layers, recipe)


def autoencoder(shape: Shape, classes: int, hidden: int = 400) -> Autoencoder:
    """AE400-10: `encoder`, sigmoid units of a sparse autoencoder that is not fine-tuned, and a softmax, `logits`."""
    _positive("hidden", hidden)
    logits = nn.Linear(hidden, classes)
    nn.init.zeros_(logits.weight)
    nn.init.zeros_(logits.bias)
    recipe = TrainOptions(
        optimizer="lbfgs",
        epochs=150,
        weight_decay=1e-5,
        batch_size=256,
        learning_rate=1e-2,
        warm_up=0.1,
        encoder_epochs=48,
        encoder_loss="cross_entropy",
        corruption=0.5,
        sparsity=0.1,
        sparsity_penalty=2.0,
        encoder_decay=1e-4,
    )
    encoder = _pair("linear", _glorot(prod(shape), hidden), nn.Sigmoid())
    return Autoencoder({"flatten": nn.Flatten(), "encoder": encoder, "logits": logits}, recipe)


def _pair(name: str, layer: nn.Module, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict([(name, layer), ("activation", activation)]))


def _glorot(fan_in: int, fan_out: int) -> nn.Linear:
    linear = nn.Linear(fan_in, fan_out)
    nn.init.xavier_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _positive(name: str, *values: int) -> None:
    if any(not isinstance(v, int) or isinstance(v, bool) or v < 1 for v in values):
        raise ModelError(f"Model option {name} = {list(values)}: whole numbers of at least 1 are needed.")
