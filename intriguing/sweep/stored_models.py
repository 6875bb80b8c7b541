"""The models of a run, as its store holds them, to be fed something new after the run."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from intriguing.basics.folders.bucket import place_at
from intriguing.basics.folders.saved_plan import SavedPlan, read_saved_plan
from intriguing.engine.storage.store import Store
from intriguing.engine.worker import store_of
from intriguing.errors import InputError, IntriguingError, ModelError
from intriguing.stages.common.planned import part_of

if TYPE_CHECKING:
    from torch import nn

Models = Callable[[str, str, int], "nn.Module"]
"""models(data set, model, seed) -> the network with its stored weights; `ModelError` says why it is not to be had."""


def model_reader(run: str, trust: bool = False, ask: str = "") -> Models:
    """What gives the models of the run in a folder. A model is built once.

    trust: whether a model that is a function of the user's (`module:factory`) may be called. ask: how to say
    so; given, it is an `InputError` with this sentence to need such a model without trust, in place of a `ModelError`.
    """
    place = place_at(run)
    plan, store = read_saved_plan(place), store_of(place)
    built: dict[tuple[str, str, int], nn.Module] = {}

    def models(dataset: str, model: str, seed: int) -> "nn.Module":
        key = (dataset, model, seed)
        if key not in built:
            built[key] = _built(store, plan, key, trust, ask)
        return built[key]

    return models


def _built(store: Store, plan: SavedPlan, key: tuple[str, str, int], trust: bool, ask: str) -> "nn.Module":
    from intriguing.models import build_model, load_weights, probe

    dataset, model, seed = key
    described: Mapping[str, Any] = plan.spec.get("models", {}).get(model, {})
    saved = plan.datasets.get(dataset, {})
    fingerprint = plan.fingerprints.get(f"model/{part_of(dataset)}/{part_of(model)}/{seed}")
    shape, classes = saved.get("shape"), saved.get("classes")
    if fingerprint is None or not isinstance(shape, list) or len(shape) != 3 or not isinstance(classes, int):
        raise ModelError(f"plan.json does not say how {model!r} is built")
    architecture = described.get("architecture") or model
    kind, _, called = architecture.partition(":")
    if called and kind != "torchvision" and not trust:
        if ask:
            raise InputError(
                f"The model {model!r} is the function {architecture!r}, which runs with your rights. {ask}"
            )
        raise ModelError(f"{model!r} is the function {architecture!r}: with --trust it is called, with your rights")
    try:
        weights = store.read(fingerprint, "weights")
        assert isinstance(weights, bytes)
        net = build_model(architecture, (shape[0], shape[1], shape[2]), classes, described.get("options"), seed)
        return probe(load_weights(net, weights))
    except IntriguingError as error:
        raise ModelError(f"{model!r} cannot be built again: {error}".rstrip(".")) from error
