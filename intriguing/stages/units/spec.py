"""The section [units] of a spec."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from intriguing.errors import unknown_name
from intriguing.stages.common.section import Section, needs_models
from intriguing.units.scoring.scores import METRICS

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]


class UnitsSpec(Section):
    """The unit question: top-K inputs of single units and of random directions, and whether their scores differ."""

    distinct = ("bases",)

    split: Literal["train", "test"] = "test"
    """The split whose inputs are scanned."""
    mode: Literal["store", "stream"] = "store"
    """store: activations are kept as a table. stream: they are scanned as they are computed, and in no table; those of
    the tested inputs (2,048 without tests) are kept for the tasks that read them.
    """
    reduce: Literal["max", "mean", "positions"] = "max"
    """What becomes of a convolution's maps: each channel's maximum or mean, or every position as a row of its own."""
    k: int = Field(default=16, ge=1, le=10_000)
    """How many top inputs each direction keeps."""
    bases: list[Literal["natural", "gaussian", "haar", "covariance", "pca", "uniform01"]] = Field(
        default=["natural", "gaussian"], min_length=1
    )
    """The bases that are scanned; each has as many directions as the layer has units. uniform01 is no valid control."""
    signs: Literal["positive", "both"] = "positive"
    """Whether the smallest projections are kept, and -e_1, ... tested, too."""
    rows: int | None = Field(default=None, ge=1)
    """How many inputs of the split are scanned (a keyed draw); by default all."""
    dtype: Literal["float32", "float16"] = "float32"
    """How activations are stored; scores are of the stored values."""
    rotations: int = Field(default=0, ge=0, le=1_000_000)
    """How many random rotations each layer's basis is compared with. 0: no test; a claim needs at least 999."""
    metrics: list[MetricName] = Field(default=list(METRICS), min_length=1)
    """The scores that are tested."""
    tested_rows: int = Field(default=10_000, ge=1)
    """How many of the scanned inputs the tests rest on, at most; they are held in memory."""
    controls: list[Literal["random_init", "shuffled_labels"]] = ["random_init", "shuffled_labels"]
    """What is tested beside the trained network: the same network untrained, the same scores of shuffled labels."""
    judges: list[Literal["encoder", "pixels"]] = ["encoder", "pixels"]
    """Who judges interpretability and intruders: another network's last named layer, the pixels' components."""
    judge: str | None = None
    """The model whose last named layer judges the others; by default the first one of another architecture."""
    without_dead: bool = True
    """Whether layers with dead or saturated units are tested without them too (condition `live`)."""
    doses: list[Annotated[float, Field(gt=0, le=1)]] = [0.2, 0.4, 0.6, 0.8, 1.0]
    """The powers of a rotation that make up the dose curve; none for no curve."""
    subsamples: int = Field(default=100, ge=2)
    """Random halves of the inputs behind each interval."""
    family: Literal["network", "metric", "run"] = "network"
    """Which tests Holm's correction is over: those of one network, of one score in all networks, or all."""


def agree(section: UnitsSpec, spec: Any) -> None:
    """Every model names a layer, and the judge is one of the models; raises ValueError with the key."""
    needs_models("units", spec)
    for name, model in spec.models.items():
        if not model.layers:
            raise ValueError(f"models.{name}.layers: name at least one layer, since the spec has a [units] section")
    if section.judge is not None and section.judge not in spec.models:
        raise ValueError(f"units.judge: {unknown_name('model', section.judge, spec.models)}")
