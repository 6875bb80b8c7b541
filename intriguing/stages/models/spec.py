"""The data sets and models of a spec."""

from typing import Any

from pydantic import Field, field_validator

from intriguing.data.part_names import parse_part
from intriguing.errors import unknown_name
from intriguing.stages.common.section import Name, Section


class DatasetSpec(Section):
    """A data set, under a name of the user's choice."""

    source: str = ""
    """A named data set, or KIND:PATH or module:factory, as `intriguing datasets` lists them; by default its name."""
    root: str | None = None
    """The folder that torchvision's data sets lie in; by default INTRIGUING_DATA or the cache folder."""
    download: bool = False
    """Whether torchvision may download it."""
    instead: list[str] = []
    """Sources to take in its place, the first that is there, where its own files are missing."""
    optional: bool = False
    """Whether the sweep goes on without it where its files are missing; a warning says so before any work."""


class ModelSpec(Section):
    """A model, under a name of the user's choice; it is trained on each data set, or loaded from a weights file."""

    distinct = ("layers", "datasets", "seeds")

    architecture: str = ""
    """softmax, mlp, cnn, autoencoder, alexnet, torchvision:NAME or module:factory; by default its name."""
    layers: list[str] = []
    """The layers whose activations are collected, as `model.named_modules()` names them; `NAME@1` or `NAME@-1` says
    which axis of the output holds the units where that cannot be known."""
    options: dict[str, Any] = {}
    """Arguments of the architecture, such as `hidden = [100, 100]`."""
    training: dict[str, Any] = {}
    """Arguments of the training, such as `epochs`, `weight_decay`."""
    weights: str | None = None
    """A file of weights (safetensors, or a state dict) to load in place of training."""
    train: bool = True
    """Whether it is trained; if not, and without a weights file, it is used as its architecture makes it."""
    datasets: list[str] | None = None
    """The data sets that it is trained and probed on; by default all."""
    seeds: list[int] | None = None
    """Training seeds, one model each; by default the spec's `model_seeds`."""
    train_part: str = ""
    """The part of the training split to train on, such as "1 of 2" (the paper's P1) and "2 of 2" (P2): disjoint, drawn
    by the spec's seed, every class divided evenly. By default all of it."""

    @field_validator("architecture", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if callable(value):  # a model, a class or a function of a notebook
            raise ValueError(
                f"it is a {type(value).__name__}, and a spec names what makes a model, since other processes make it "
                'anew: write "module:function" for a function in a file of yours. (A model that is in memory is '
                "searched by ig.minimal_distortion, and its units tested by ig.rotation_test, without a spec.)"
            )
        return value

    @field_validator("train_part")
    @classmethod
    def _named_rightly(cls, value: str) -> str:
        if value:
            parse_part(value)
        return value

    @property
    def is_trained(self) -> bool:
        """Whether a sweep trains it."""
        has_weights = any(self.options.get(name) for name in ("published", "pretrained"))
        return self.train and self.weights is None and not has_weights


class ModelsSection(Section):
    """What a sweep looks at. These keys stand at the top of a spec."""

    distinct = ("model_seeds",)

    model_seeds: list[int] = Field(default=[0], min_length=1)
    """Training seeds, one model each."""
    datasets: dict[Name, DatasetSpec] = {}
    """Data sets by name."""
    models: dict[Name, ModelSpec] = {}
    """Models by name."""


def agree(section: ModelsSection, spec: object) -> None:
    """Models need data sets, and name only those that are there; raises ValueError with the key."""
    if section.models and not section.datasets:
        raise ValueError("datasets: a spec with models needs at least one data set")
    for name, model in section.models.items():
        if model.train_part and not model.is_trained:
            raise ValueError(
                f"models.{name}.train_part: the model is not trained (it has weights, or `train = false`), so no part "
                "of a training split plays a role; leave the key out"
            )
        for dataset in model.datasets or ():
            if dataset not in section.datasets:
                raise ValueError(f"models.{name}.datasets: {unknown_name('data set', dataset, section.datasets)}")
