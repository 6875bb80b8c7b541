"""The spec: what a user writes in TOML, range-checked when read; an unknown key names the nearest valid one."""

import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from intriguing.errors import SpecError, unknown_name
from intriguing.naming import check_size, folder_name, read_toml
from intriguing.sweep.section import CONFIG, Name
from intriguing.sweep.words_spec import WordsSpec

_SPECS = Path(__file__).parent / "specs"


class _Section(BaseModel):
    model_config = CONFIG


MetricName = Literal[
    "purity", "entropy", "enrichment", "unique_classes", "auroc", "interpretability", "intruder", "kurtosis"
]


class DatasetSpec(_Section):
    """A data set, under a name of the user's choice."""

    source: str = ""
    """mnist-sample, mnist, fashion-mnist, cifar10, imagefolder:PATH, npz:PATH or module:factory; else its name."""
    root: str | None = None
    """The folder that torchvision's data sets lie in; by default INTRIGUING_DATA or the cache folder."""
    download: bool = False
    """Whether torchvision may download it."""
    instead: list[str] = []
    """Sources to take in its place, the first that is there, where its own files are missing."""
    optional: bool = False
    """Whether the sweep goes on without it where its files are missing; that is said before any work."""


class ModelSpec(_Section):
    """A model, under a name of the user's choice; it is trained on each data set, or loaded from a weights file."""

    architecture: str = ""
    """softmax, mlp, cnn, autoencoder, alexnet, torchvision:NAME or module:factory; by default its name."""
    layers: list[str] = []
    """The layers whose activations are collected, as `model.named_modules()` names them."""
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

    @property
    def is_trained(self) -> bool:
        """Whether a sweep trains it."""
        has_weights = any(self.options.get(name) for name in ("published", "pretrained"))
        return self.train and self.weights is None and not has_weights


class UnitsSpec(_Section):
    """The unit question: top-K inputs of single units and of random directions, and whether their scores differ."""

    split: Literal["train", "test"] = "test"
    """The split whose inputs are scanned."""
    mode: Literal["store", "stream"] = "store"
    """store: activations are kept as a table. stream: they are scanned as they are computed, and never written."""
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
    """How many random rotations each layer's basis is held against; 0 makes no test, 999 is the least for a claim."""
    metrics: list[MetricName] = Field(default=list(get_args(MetricName)), min_length=1)
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


class BlindSpotsSpec(_Section):
    """The blind-spot question: how small a change makes the model wrong."""

    split: Literal["train", "test"] = "test"
    """The split that attacked inputs are drawn from."""
    images: int = Field(default=100, ge=1)
    """How many inputs are attacked (a keyed draw, the same for every model); each is searched once per target rule."""
    target_rules: list[Literal["untargeted", "random", "every"]] = Field(default=["untargeted", "random"], min_length=1)
    """How targets are chosen: any wrong class, one random wrong class, or every wrong class with the nearest kept."""
    grade: Literal["faithful", "best", "fast"] = "best"
    """The search's grade."""


class TransferSpec(_Section):
    """Does what fools one model fool the others? Every found image is fed to every model of its data set."""

    kinds: list[Literal["minimal", "amplified", "gaussian"]] = Field(default=["minimal", "gaussian"], min_length=1)
    """Changes to feed: the search's own, amplified, and Gaussian noise of the search's RMS. Clean images always are."""
    amplified_rms: float = Field(default=0.1, gt=0, le=1)
    """The RMS that changes are amplified to (the paper's table 4: 0.1)."""


class ComputeSpec(_Section):
    """How the work is cut and run. None of it changes a result."""

    executor: Literal["auto", "inline", "strict", "ray"] = "auto"
    """Where tasks run: this process, or Ray; auto is Ray where a cluster is running."""
    workers: int | None = Field(default=None, ge=1)
    """How many Ray actors; by default one per GPU, or one per CPU."""
    gpus_per_worker: float | None = Field(default=None, ge=0)
    """How much of a GPU each actor holds; by default 1 where there are GPUs."""
    threads: int = Field(default=1, ge=1)
    """Threads of each task."""
    slots: int = Field(default=256, ge=1)
    """Rows of every batch; shorter batches are padded, so that results do not depend on shards."""
    rows_per_shard: int = Field(default=1_024, ge=1)
    """Inputs per activation shard."""
    rotations_per_shard: int = Field(default=250, ge=1)
    """Random rotations per task."""
    searches_per_shard: int = Field(default=256, ge=1)
    """Searches per task."""
    attempts: int = Field(default=3, ge=1)
    """How often a task is tried whose worker is lost."""
    task_seconds: float = Field(default=3_600.0, gt=0)
    """A worker that answers no call for so long is killed; a data set of the user's that takes so long to make, too."""
    check_seconds: float = Field(default=120.0, gt=0)
    """How long the first look at a user's own model may take: to build it, to feed it one image."""


class Spec(_Section):
    """A sweep: data sets, models, and what is asked of them."""

    name: Annotated[Name, AfterValidator(folder_name)]
    """The run's name, one component of a path; runs go to outputs/NAME unless --out says otherwise."""
    seed: int = Field(default=0, ge=0)
    """The root of every random number but the models'."""
    model_seeds: list[int] = Field(default=[0], min_length=1)
    """Training seeds, one model each."""
    datasets: dict[Name, DatasetSpec] = {}
    """Data sets by name."""
    models: dict[Name, ModelSpec] = {}
    """Models by name."""
    units: UnitsSpec | None = None
    """Left out, the unit question is not asked."""
    blind_spots: BlindSpotsSpec | None = None
    """Left out, nothing is attacked."""
    transfer: TransferSpec | None = None
    """Left out, nothing is fed to other models. Needs `blind_spots`."""
    words: WordsSpec | None = None
    """Left out, nothing is asked of word vectors. Needs neither data sets nor models."""
    compute: ComputeSpec = ComputeSpec()
    """How the work is cut and run."""

    @model_validator(mode="after")
    def _agree(self) -> "Spec":
        if self.models and not self.datasets:
            raise ValueError("datasets: a spec with models needs at least one data set")
        for name, model in self.models.items():
            for dataset in model.datasets or ():
                if dataset not in self.datasets:
                    raise ValueError(f"models.{name}.datasets: {unknown_name('data set', dataset, self.datasets)}")
            if self.units is not None and not model.layers:
                raise ValueError(f"models.{name}.layers: name at least one layer, since the spec has a [units] section")
        if self.units is not None and self.units.judge is not None and self.units.judge not in self.models:
            raise ValueError(f"units.judge: {unknown_name('model', self.units.judge, self.models)}")
        if self.transfer is not None and self.blind_spots is None:
            raise ValueError("transfer: it feeds what [blind_spots] finds, and the spec has no such section")
        return self


def without_datasets(spec: Spec, missing: Collection[str]) -> Spec:
    """`spec` without the data sets of these names, and without the models that were for them alone."""
    models = {}
    for name, model in spec.models.items():
        left = None if model.datasets is None else [d for d in model.datasets if d not in missing]
        if left != []:
            models[name] = model.model_copy(update={"datasets": left})
    kept = {name: dataset for name, dataset in spec.datasets.items() if name not in missing}
    return spec.model_copy(update={"datasets": kept, "models": models})


def spec_names() -> list[str]:
    """The names of the specs in the package."""
    return sorted(path.stem for path in _SPECS.glob("*.toml"))


def describe_spec(name: str) -> str:
    """The first comment of the spec called `name` in the package; raises `UnknownNameError` where there is none."""
    if name not in spec_names():
        raise unknown_name("spec", name, spec_names())
    first = (_SPECS / f"{name}.toml").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def load_spec(name: str | os.PathLike[str] | Mapping[str, Any] | Spec) -> Spec:
    """The spec called `name` in the package, or the one at that path, or one given as a mapping.

    Raises:
        SpecError: it cannot be read, or a key or value is wrong; the message names the key and what to write.
        UnknownNameError: no spec has that name.
    """
    if isinstance(name, Spec):
        return name
    if isinstance(name, Mapping):
        check_size(name, "The spec")
        return _validate(dict(name), "the spec")
    if "\0" in str(name):
        raise unknown_name("spec", str(name), spec_names())
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        if str(name) not in spec_names():
            raise unknown_name("spec", str(name), spec_names())
        path = _SPECS / f"{name}.toml"
    body = read_toml(path)
    return _validate({"name": path.stem} | body, str(path))


def _validate(body: dict[str, Any], where: str) -> Spec:
    try:
        return Spec.model_validate(body)
    except ValidationError as error:
        lines = [_explain(e) for e in error.errors()]
        raise SpecError(f"{where} cannot be run:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        valid = _keys_at(error["loc"][:-1])
        near = get_close_matches(str(error["loc"][-1]), valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{place}: unknown key; {hint}Valid keys: {', '.join(valid)}."
    message = str(error["msg"]).removeprefix("Value error, ")
    if place and error["type"] == "value_error" and re.match(r"[\w.-]+: ", message):
        return f"{place}.{message}"  # a section's own check names the key below it
    given = "" if error["type"] in ("missing", "value_error") else f" (given: {error['input']!r})"
    return f"{place}: {message}{given}" if place else f"{message}{given}"


def _keys_at(place: tuple[Any, ...]) -> list[str]:
    annotation: Any = Spec
    for part in place:
        if get_origin(annotation) is dict:  # a name that the user chose: the section lies one level deeper
            annotation = get_args(annotation)[1]
            continue
        section = _section_of(annotation)
        annotation = section.model_fields[part].annotation if section and part in section.model_fields else None
    found = _section_of(annotation)
    return list(found.model_fields) if found else []


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section_of(a) for a in getattr(annotation, "__args__", ())]
    return next((i for i in inner if i is not None), None)
