"""Are single units special? Rotation tests of every layer, with controls; then Holm's correction and the answer."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from intriguing.engine.task import Output, Resource, Task
from intriguing.sweep import functions
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.common import RESOURCES, dataset_resource, part_of, shards_of
from intriguing.sweep.stages.subjects import (
    Subject,
    computing,
    drawn,
    network,
    section,
    stored,
    tested_rows,
    untrained,
)
from intriguing.sweep.tasks.names import LIVE, RANDOM, RAW, SHUFFLED
from intriguing.units.scores import METRICS

log = logging.getLogger(__name__)

_FROM_COVARIANCE = ("covariance", "pca")


def moments_of(spec: Spec, subject: Subject, layer: str, *bases: str) -> list[Output]:
    """The moments of a layer, where one of `bases` is made from them."""
    if not set(bases) & set(_FROM_COVARIANCE):
        return []
    return [Output(f"moments/{subject.layer_name(layer)}", "moments")]


def moments(spec: Spec, subject: Subject) -> Iterator[Task]:
    """The moments of each layer, where a basis is made from them."""
    for layer in subject.model.layers if set(section(spec).bases) & set(_FROM_COVARIANCE) else ():
        parameters, inputs, resources = _tested(spec, subject, layer, judged=False)
        name = f"moments/{subject.layer_name(layer)}"
        yield Task(name, functions.MOMENTS, parameters, inputs, resources, affinity=subject.place)


def tests(spec: Spec, subjects: Sequence[Subject]) -> Iterator[Task]:
    """The tests of all layers of all networks in parts, the correction over them, the answer of a crossed design."""
    units = section(spec)
    if not units.rotations:
        return
    if _is_judged(spec) and "pixels" in units.judges:
        yield from _pixels(spec, subjects)
    made: list[Output] = []
    for subject in subjects:
        for layer in subject.model.layers:
            yield _scores(spec, subject, layer)
            for condition in (RAW, LIVE) if units.without_dead else (RAW,):
                yield from _tests(spec, subject, layer, condition, made)
        if RANDOM in units.controls:
            yield _initial(subject)
            weights = {"weights": Output(_initial_name(subject), "weights")}
            model = Resource(f"{RESOURCES}:model", subject.model.resource.parameters, weights)
            control = untrained(spec, subject, model)
            if units.mode == "store":
                yield from _untrained_activations(spec, control)
            for layer in control.model.layers:
                yield from _tests(spec, control, layer, RAW, made)
    _warn_of_large_families(spec, subjects)
    yield Task(
        "correct",
        functions.CORRECT,
        {"family": units.family},
        {"tests": made},
        publish={"rotation_tests": "rotation_tests"},
    )
    last = {s.model.name: s.model.layers[-1] for s in subjects}
    if _is_crossed(subjects):
        inputs = {"tests": made}
        publish = {"model_or_data": "model_or_data"}
        yield Task("model-or-data", functions.MODEL_OR_DATA, {"last_layers": last}, inputs, publish=publish)


def _tests(spec: Spec, subject: Subject, layer: str, condition: str, made: list[Output]) -> Iterator[Task]:
    """The test of one layer: its null in parts, then the test; the test's output is added to `made`."""
    units = section(spec)
    parameters, inputs, resources = _tested(spec, subject, layer)
    is_trained = subject.control != RANDOM
    parameters |= subject.model.keys | {
        "control": subject.control,
        "condition": condition,
        "names": list(units.metrics),
        "k": units.k,
        "shuffled": is_trained and SHUFFLED in units.controls,
    }
    place = f"{subject.layer_name(layer)}/{condition}"
    parts = shards_of(units.rotations, spec.compute.rotations_per_shard)
    for i, (start, stop) in enumerate(parts):
        yield Task(
            f"null/{place}/{i:05d}",
            functions.NULL,
            parameters | {"start": start, "stop": stop},
            inputs,
            resources,
            affinity=subject.place,
            amount=stop - start,
            noun="rotations",
        )
    nulls = [Output(f"null/{place}/{i:05d}", "null") for i in range(len(parts))]
    parameters |= {
        "negated": is_trained and condition == RAW and units.signs == "both",
        "doses": list(units.doses),
        "subsamples": units.subsamples,
    }
    yield Task(
        f"test/{place}",
        functions.TEST,
        parameters,
        inputs | {"null": nulls},
        resources,
        affinity=subject.place,
        noun="tests",
    )
    made.append(Output(f"test/{place}", "tests"))


def _scores(spec: Spec, subject: Subject, layer: str) -> Task:
    """The scores of the directions of all bases."""
    units = section(spec)
    parameters, inputs, resources = _tested(spec, subject, layer)
    return Task(
        f"score/{subject.layer_name(layer)}",
        functions.SCORE,
        parameters | subject.model.keys | {"bases": list(units.bases), "names": list(units.metrics), "k": units.k},
        inputs | {"moments": moments_of(spec, subject, layer, *units.bases)},
        resources,
        {"unit_scores": "unit_scores"},
        affinity=subject.place,
    )


def _tested(
    spec: Spec, subject: Subject, layer: str, judged: bool = True
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Resource]]:
    """The parameters, inputs and resources of what rests on the tested inputs of a layer."""
    units, data = section(spec), subject.model.dataset
    judged = judged and _is_judged(spec)
    judge = subject.judge if judged else None
    inputs: dict[str, Any] = {
        "activations": stored(spec, subject, layer),
        "judge": stored(spec, judge, judge.model.layers[-1]) if judge else [],
        "pixels": [Output(_pixels_name(data.name), "pixels")] if judged and "pixels" in units.judges else [],
        "examples": Output(f"examples/{part_of(data.name)}", "examples"),
    }
    resources = network(subject) if units.mode == "stream" else {}
    if judge and units.mode == "stream":
        resources["encoder"] = judge.resource
    parameters = {
        "layer": layer,
        **drawn(spec, tested_rows(spec, subject)),
        **computing(spec),
        "reduce": units.reduce,
        "dtype": units.dtype,
        "judge_layer": judge.model.layers[-1] if judge else "",
    }
    return parameters, inputs, resources


def _is_judged(spec: Spec) -> bool:
    return any(METRICS[name].judged for name in section(spec).metrics)


def _pixels(spec: Spec, subjects: Sequence[Subject]) -> Iterator[Task]:
    """The second judge of each data set."""
    for name, subject in {s.model.dataset.name: s for s in subjects}.items():
        facts = subject.model.dataset
        parameters = drawn(spec, tested_rows(spec, subject)) | computing(spec)
        resources = {"dataset": dataset_resource(facts)}
        yield Task(_pixels_name(name), functions.PIXELS, parameters, resources=resources, affinity=facts.content_hash)


def _pixels_name(dataset: str) -> str:
    return f"pixels/{part_of(dataset)}"


def _initial(subject: Subject) -> Task:
    """The untrained network's weights: without the option that a user's factory loads them by, as timm calls it."""
    parameters = {**subject.model.resource.parameters, "model_seed": subject.model.seed}
    parameters["options"] = {k: v for k, v in parameters["options"].items() if k != "pretrained"}
    return Task(_initial_name(subject), functions.INITIAL, parameters, affinity=subject.place)


def _initial_name(subject: Subject) -> str:
    return f"initial/{subject.model.place}"


def _untrained_activations(spec: Spec, control: Subject) -> Iterator[Task]:
    """The control's activations: kept in the store, and in no table."""
    from intriguing.sweep.stages.units import activations

    return activations(spec, control, {})


def _is_crossed(subjects: Sequence[Subject]) -> bool:
    """Whether every model is there on every data set with the same number of seeds, at least two of each."""
    cells = Counter((s.model.name, s.model.dataset.name) for s in subjects)
    models, data = {name for name, _ in cells}, {name for _, name in cells}
    counts = set(cells.values())
    return (
        len(models) > 1 and len(data) > 1 and len(cells) == len(models) * len(data) and len(counts) == 1 < min(counts)
    )


def _warn_of_large_families(spec: Spec, subjects: Sequence[Subject]) -> None:
    """Say so before work when no test could ever be found: so many are corrected for, by so few rotations."""
    units = section(spec)
    layers = [len(s.model.layers) for s in subjects]
    scores = len(units.metrics) + ("pixels" in units.judges) * sum(METRICS[name].judged for name in units.metrics)
    sizes = {"network": max(layers, default=0) * scores, "metric": sum(layers), "run": sum(layers) * scores}
    needed = 40 * sizes[units.family] - 1
    if units.rotations < needed:
        log.warning(
            "units.rotations = %d: Holm's correction over %d tests (units.family = %r) cannot come below 5 %%. "
            "Ask for at least %d rotations, fewer metrics or a smaller family.",
            units.rotations,
            sizes[units.family],
            units.family,
            needed,
        )
