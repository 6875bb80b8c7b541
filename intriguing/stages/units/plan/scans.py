"""The unit question (section 3): activations, scans, top inputs; the tests are in `unit_tests`."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from intriguing.engine.publish import slug
from intriguing.engine.task import Output, Task
from intriguing.sweep import functions
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.common import Trained, part_of
from intriguing.sweep.stages.subjects import (
    Subject,
    activations_name,
    computing,
    drawn,
    network,
    section,
    shards,
    stored,
    trained_subject,
)
from intriguing.sweep.stages.unit_tests import moments, moments_of, tests


def units(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    """Collect, scan, score and test the layers that the spec names, for every model."""
    if spec.units is None:
        return
    named = [replace(model, layers=_spelled_out(model)) for model in models if model.layers]
    subjects = [trained_subject(spec, model, named) for model in named]
    for subject in subjects:
        if spec.units.mode == "store":
            yield from activations(
                spec, subject, {f"layer{j}": _folder(subject.model, layer) for j, layer in _layers(subject)}
            )
        yield from moments(spec, subject)
        yield from _scans(spec, subject) if spec.units.mode == "store" else _streams(spec, subject)
        yield from _tops(spec, subject)
    yield from tests(spec, subjects)


def activations(spec: Spec, subject: Subject, publish: dict[str, str]) -> Iterator[Task]:
    """The tasks that collect and keep the activations of `subject`."""
    units, model = section(spec), subject.model
    for i, (start, stop) in enumerate(shards(spec, subject)):
        yield Task(
            activations_name(subject, i),
            functions.ACTIVATIONS,
            {
                **model.keys,
                **drawn(spec, subject.rows),
                **computing(spec),
                "start": start,
                "stop": stop,
                "layers": list(model.layers),
                "reduce": units.reduce,
                "dtype": units.dtype,
            },
            resources=network(subject),
            publish=publish | ({"skipped": "skipped"} if publish else {}),
            affinity=subject.place,
            shrink="slots",
            amount=stop - start,
            noun="images",
            rows={"activations": (stop - start) * len(model.layers)},
        )


def _scans(spec: Spec, subject: Subject) -> Iterator[Task]:
    """Scans of stored activations: one per layer, basis and shard."""
    units = section(spec)
    for _, layer in _layers(subject):
        for basis in units.bases:
            for i, shard in enumerate(stored(spec, subject, layer)):
                yield Task(
                    f"scan/{subject.layer_name(layer)}/{basis}/{i:05d}",
                    functions.SCAN,
                    {
                        "basis": basis,
                        "k": units.k,
                        "both": units.signs == "both",
                        "seed": spec.seed,
                        "threads": spec.compute.threads,
                    },
                    {"activations": shard, "moments": moments_of(spec, subject, layer, basis)},
                    affinity=subject.place,
                    noun="scans",
                )


def _streams(spec: Spec, subject: Subject) -> Iterator[Task]:
    """Scans of activations as they are computed: one per shard, all layers and bases in one forward pass."""
    units, model = section(spec), subject.model
    bases = list(units.bases)
    for i, (start, stop) in enumerate(shards(spec, subject)):
        yield Task(
            f"stream/{subject.place}/{i:05d}",
            functions.STREAM,
            {
                **model.keys,
                **drawn(spec, subject.rows),
                **computing(spec),
                "start": start,
                "stop": stop,
                "scanned": list(model.layers),
                "reduce": units.reduce,
                "dtype": units.dtype,
                "bases": bases,
                "k": units.k,
                "both": units.signs == "both",
            },
            {f"moments{j}": moments_of(spec, subject, layer, *bases) for j, layer in _layers(subject)},
            network(subject),
            {"skipped": "skipped"},
            affinity=subject.place,
            shrink="slots",
            amount=stop - start,
            noun="images",
        )


def _tops(spec: Spec, subject: Subject) -> Iterator[Task]:
    """The top inputs of every layer and basis, and what follows from them alone."""
    units, model = section(spec), subject.model
    for j, layer in _layers(subject):
        for basis in units.bases:
            names = [
                Output(f"scan/{subject.layer_name(layer)}/{basis}/{i:05d}", "state")
                if units.mode == "store"
                else Output(f"stream/{subject.place}/{i:05d}", f"layer{j}_{basis}")
                for i in range(len(shards(spec, subject)))
            ]
            # The network says where in the image a unit's maximum lies; other directions have no such place.
            resources = network(subject) if basis == "natural" else {}
            yield Task(
                f"top/{subject.layer_name(layer)}/{basis}",
                functions.TOP,
                {
                    **model.keys,
                    "layer": layer,
                    "condition": "raw",
                    "basis": basis,
                    "classes": model.dataset.classes,
                    "split": units.split,
                    "seed": spec.seed,
                    "reduce": units.reduce,
                    **computing(spec),
                },
                {
                    "states": names,
                    "examples": Output(f"examples/{part_of(model.dataset.name)}", "examples"),
                    "moments": moments_of(spec, subject, layer, basis),
                },
                resources,
                {"topk": "topk", "unit_scores": "unit_scores", "receptive_fields": "receptive_fields"},
                affinity=subject.place,
                shrink="slots",
            )


def _layers(subject: Subject) -> list[tuple[int, str]]:
    return list(enumerate(subject.model.layers))


def _spelled_out(model: Trained) -> tuple[str, ...]:
    """The model's layers without wildcards; the model is built to look them up, where there are any."""
    if not any(set(layer) & set("*?[") for layer in model.layers):
        return model.layers
    from intriguing.activations import resolve_layers
    from intriguing.models import build_model

    built = model.resource.parameters
    channels, height, width = built["shape"]
    net = build_model(built["architecture"], (channels, height, width), built["classes"], built["options"])
    return tuple(layer.name for layer in resolve_layers(net, model.layers))


def _folder(model: Trained, layer: str) -> str:
    name = f"{model.dataset.name}.{model.name}.{model.seed}.{layer}"
    return f"activations/{slug(name)}-{hashlib.blake2b(repr((model.keys, layer)).encode(), digest_size=4).hexdigest()}"
