"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import Architecture, Compute, Draw, ModelKey, P, Shard, TaskFunction
from intriguing.stages.models.functions import SOURCES

_NAMES, _TASKS = "intriguing.sweep.tasks", "intriguing.stages.units.tasks"
_COLLECTING = (f"{_TASKS}.activations", "intriguing.stages.common.sampling", "intriguing.activations", *SOURCES)
_SCANNING = (f"{_TASKS}.scans", f"{_TASKS}.places", "intriguing.units", "intriguing.stats", "intriguing.randomness")
_INPUTS = (f"{_TASKS}.tested_inputs", "intriguing.units", *_COLLECTING)
_TESTING = (
    f"{_TASKS}.rotation_tests",
    f"{_TASKS}.scores",
    f"{_TASKS}.tested_inputs",
    f"{_TASKS}.scans",
    "intriguing.units",
    "intriguing.stats",
    "intriguing.randomness",
)
_ANSWERING = (f"{_TASKS}.answers", "intriguing.units", "intriguing.stats", "intriguing.randomness")


@dataclass(frozen=True)
class Reading:
    """How activations are read off a network: what becomes of a map, and the type of the numbers."""

    reduce: str
    dtype: str


@dataclass(frozen=True)
class LayerKey:
    """The columns that name a layer in every table about units."""

    model: ModelKey
    layer: str

    @property
    def columns(self) -> dict[str, str | int]:
        """The columns by name."""
        return {**self.model.columns, "layer": self.layer}


@dataclass(frozen=True)
class Scores:
    """Which scores, of how many top inputs of each direction."""

    names: tuple[str, ...]
    k: int


@dataclass(frozen=True)
class ActivationsParameters:
    """A shard of the inputs to feed to a network, and the layers to keep."""

    key: ModelKey
    draw: Draw
    compute: Compute
    shard: Shard
    layers: tuple[str, ...]
    reading: Reading


@dataclass(frozen=True)
class StreamParameters:
    """A shard of the inputs to feed to a network, the layers and bases to scan at once, and the number of inputs of the
    draw whose activations are kept.
    """

    key: ModelKey
    draw: Draw
    compute: Compute
    shard: Shard
    scanned: tuple[str, ...]
    reading: Reading
    bases: tuple[str, ...]
    k: int
    both: bool
    kept: int


@dataclass(frozen=True)
class UntrainedWeightsParameters:
    """The network that is built, without training."""

    architecture: Architecture
    model_seed: int


@dataclass(frozen=True)
class ScanParameters:
    """The basis to scan, how many top inputs to keep, and whether the smallest projections are kept, too."""

    basis: str
    k: int
    both: bool
    seed: int
    threads: int


@dataclass(frozen=True)
class TopInputsParameters:
    """The layer and basis whose shards are merged, the columns that name them in the tables, and what was scanned."""

    key: LayerKey
    condition: str
    basis: str
    draw: Draw
    reduce: str
    compute: Compute


@dataclass(frozen=True)
class PixelJudgeParameters:
    """The inputs whose pixels serve as the second judge."""

    draw: Draw
    compute: Compute


@dataclass(frozen=True)
class TestedLayer:
    """The layer whose activations of the drawn inputs are read, and the layer of the judging network ("": none)."""

    layer: str
    draw: Draw
    compute: Compute
    reading: Reading
    judge_layer: str


@dataclass(frozen=True)
class HistogramParameters:
    """The layer and bases whose projections are counted in bins, and the inputs that are read."""

    key: LayerKey
    draw: Draw
    compute: Compute
    reading: Reading
    bases: tuple[str, ...]


@dataclass(frozen=True)
class ScoreParameters:
    """The scores of every direction of these bases."""

    key: LayerKey
    scores: Scores
    bases: tuple[str, ...]
    seed: int
    threads: int


@dataclass(frozen=True)
class NullScoresParameters:
    """Some random rotations of a layer's basis, and the scores to compute in each."""

    scores: Scores
    condition: str
    shuffled: bool
    rotations: Shard
    seed: int
    threads: int


@dataclass(frozen=True)
class RotationTestsParameters:
    """The tests of a layer: its scores, control and condition, and the dose curve and subsamples computed with them."""

    key: LayerKey
    scores: Scores
    control: str
    condition: str
    shuffled: bool
    negated: bool
    doses: tuple[float, ...]
    subsamples: int
    seed: int
    threads: int


@dataclass(frozen=True)
class CorrectionParameters:
    """Which tests are corrected together."""

    family: str


@dataclass(frozen=True)
class ModelOrDataParameters:
    """The last named layer of each model: the one whose effects are explained."""

    last_layers: dict[str, str]


def _function(
    name: str, version: int, covers: tuple[str, ...], path: str, parameters: type[P], old: str = ""
) -> TaskFunction[P]:
    """`old` is the identity of a function that is older than this folder; later ones are called units:NAME."""
    identity = f"{_NAMES}.{old}" if old else f"units:{name}"
    return TaskFunction(Function(identity, version, covers, f"{_TASKS}.{path}:{name}"), parameters)


ACTIVATIONS = _function("activations", 1, _COLLECTING, "activations", ActivationsParameters, "activations:activations")
STREAM = _function("stream", 3, (*_COLLECTING, *_SCANNING), "activations", StreamParameters, "activations:stream")
UNTRAINED_WEIGHTS = _function(
    "untrained_weights",
    1,
    (f"{_TASKS}.activations", "intriguing.models"),
    "activations",
    UntrainedWeightsParameters,
    "activations:initial",
)
SCAN = _function("scan", 2, _SCANNING, "scans", ScanParameters, "scans:scan")
TOP_INPUTS = _function(
    "top_inputs",
    4,
    (*_SCANNING, "intriguing.stages.common.sampling", "intriguing.activations"),
    "scans",
    TopInputsParameters,
    "scans:top",
)
PIXEL_JUDGE = _function("pixel_judge", 1, _INPUTS, "tested_inputs", PixelJudgeParameters, "unit_tests:pixels")
MOMENTS = _function("moments", 1, _INPUTS, "tested_inputs", TestedLayer, "unit_tests:moments")
TEST_INPUTS = _function("test_inputs", 2, _INPUTS, "tested_inputs", TestedLayer)
HISTOGRAMS = _function(
    "histograms", 1, (f"{_TASKS}.histograms", f"{_TASKS}.scans", *_INPUTS), "histograms", HistogramParameters
)
SCORE = _function("score", 6, _TESTING, "rotation_tests", ScoreParameters, "unit_tests:score")
NULL_SCORES = _function("null_scores", 4, _TESTING, "rotation_tests", NullScoresParameters, "unit_tests:null")
ROTATION_TESTS = _function("rotation_tests", 6, _TESTING, "rotation_tests", RotationTestsParameters, "unit_tests:test")
CORRECTION = _function("correction", 7, _ANSWERING, "answers", CorrectionParameters, "unit_answers:correct")
MODEL_OR_DATA = _function(
    "model_or_data", 6, _ANSWERING, "answers", ModelOrDataParameters, "unit_answers:model_or_data"
)

FUNCTIONS = (
    ACTIVATIONS,
    STREAM,
    UNTRAINED_WEIGHTS,
    SCAN,
    TOP_INPUTS,
    PIXEL_JUDGE,
    MOMENTS,
    TEST_INPUTS,
    HISTOGRAMS,
    SCORE,
    NULL_SCORES,
    ROTATION_TESTS,
    CORRECTION,
    MODEL_OR_DATA,
)
