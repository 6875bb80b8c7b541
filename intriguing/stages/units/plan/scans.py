"""Activations, scans of them, and the top inputs of every direction."""

import hashlib
from collections.abc import Iterator
from typing import Any

from intriguing.engine.storage.publish import slug
from intriguing.engine.task import Output, Task
from intriguing.stages.common.planned import PlannedPredictions
from intriguing.stages.units import functions
from intriguing.stages.units.names import RAW
from intriguing.stages.units.plan.networks import Network, Study, activations_name, stream_name

_COUNTED = 2_048
"""Inputs behind a direction's histogram, at most: enough for its bins."""
_FROM_COVARIANCE = ("covariance", "pca")


def scans(study: Study, network: Network) -> Iterator[Task]:
    """Collect, scan and rank every layer of a trained network."""
    if study.is_stored:
        folders = {f"layer{j}": _folder(network, layer) for j, layer in enumerate(network.model.layers)}
        yield from activations(study, network, folders)
    study.sweep.add(PlannedPredictions(network.model.key, _predictions(study, network)))
    yield from _moments(study, network)
    yield from _scans_of_stored(study, network) if study.is_stored else _streams(study, network)
    yield from _top_inputs(study, network)
    yield from _histograms(study, network)


def _predictions(study: Study, network: Network) -> tuple[Output, ...]:
    """The outputs that hold the classes of all scanned inputs; of stored ones the rows of any layer hold them."""
    if study.is_stored:
        return tuple(study.stored(network, network.model.layers[0]))
    return tuple(Output(stream_name(network, i), "predictions") for i in range(len(study.shards(network))))


def activations(study: Study, network: Network, publish: dict[str, str]) -> Iterator[Task]:
    """The tasks that collect and keep the activations of `network`; those of a control are in no table."""
    for i, shard in enumerate(study.shards(network)):
        amount = shard.stop - shard.start
        yield functions.ACTIVATIONS.task(
            activations_name(network, i),
            functions.ActivationsParameters(
                key=network.model.key,
                draw=study.draw(network.rows),
                compute=study.compute,
                shard=shard,
                layers=network.model.layers,
                reading=study.reading,
            ),
            resources=network.resources,
            publish=publish | ({"skipped": "skipped"} if publish else {}),
            affinity=network.task_part,
            shrink="slots",
            amount=amount,
            noun="images",
            rows={"activations": amount * len(network.model.layers)},
        )


def moments_of(network: Network, layer: str, *bases: str) -> list[Output]:
    """The moments of a layer, where one of `bases` is made from them."""
    return [Output(_moments_name(network, layer), "moments")] if set(bases) & set(_FROM_COVARIANCE) else []


def tested_layer(study: Study, network: Network, layer: str, judge_layer: str = "") -> functions.TestedLayer:
    """The parameters by which a task reads the tested inputs of a layer."""
    draw = study.draw(study.tested_rows(network))
    return functions.TestedLayer(layer, draw, study.compute, study.reading, judge_layer)


def _moments(study: Study, network: Network) -> Iterator[Task]:
    """The moments of each layer, where a basis is made from them."""
    for layer in network.model.layers if set(study.section.bases) & set(_FROM_COVARIANCE) else ():
        # A scan that is made as activations are computed needs the moments before it: they are computed for them.
        stored = study.stored(network, layer) if study.is_stored else []
        inputs: dict[str, Any] = {"activations": stored, "judge": [], "pixels": []}
        yield functions.MOMENTS.task(
            _moments_name(network, layer),
            tested_layer(study, network, layer),
            inputs=inputs | {"examples": network.model.dataset.examples},
            resources={} if study.is_stored else network.resources,
            affinity=network.task_part,
        )


def _scans_of_stored(study: Study, network: Network) -> Iterator[Task]:
    """Scans of stored activations: one per layer, basis and shard."""
    section, sweep = study.section, study.sweep
    for layer in network.model.layers:
        for basis in section.bases:
            for i, shard in enumerate(study.stored(network, layer)):
                both = section.signs == "both"
                yield functions.SCAN.task(
                    f"scan/{network.layer_part(layer)}/{basis}/{i:05d}",
                    functions.ScanParameters(basis, section.k, both, sweep.seed, sweep.compute.threads),
                    inputs={"activations": shard, "moments": moments_of(network, layer, basis)},
                    affinity=network.task_part,
                    noun="scans",
                )


def _streams(study: Study, network: Network) -> Iterator[Task]:
    """Scans of activations as they are computed: one per shard, all layers and bases in one forward pass."""
    section, model = study.section, network.model
    for i, shard in enumerate(study.shards(network)):
        yield functions.STREAM.task(
            stream_name(network, i),
            functions.StreamParameters(
                key=model.key,
                draw=study.draw(network.rows),
                compute=study.compute,
                shard=shard,
                scanned=model.layers,
                reading=study.reading,
                bases=tuple(section.bases),
                k=section.k,
                both=section.signs == "both",
                kept=study.tested_rows(network) if section.rotations else _counted(study, network),
            ),
            inputs={f"moments{j}": moments_of(network, layer, *section.bases) for j, layer in enumerate(model.layers)},
            resources=network.resources,
            publish={"skipped": "skipped"},
            affinity=network.task_part,
            shrink="slots",
            amount=shard.stop - shard.start,
            noun="images",
        )


def _top_inputs(study: Study, network: Network) -> Iterator[Task]:
    """The top inputs of every layer and basis, and what follows from them alone."""
    section, dataset = study.section, network.model.dataset
    shards, collecting = range(len(study.shards(network))), activations_name if study.is_stored else stream_name
    for j, layer in enumerate(network.model.layers):
        for basis in section.bases:
            states = [
                Output(f"scan/{network.layer_part(layer)}/{basis}/{i:05d}", "state")
                if study.is_stored
                else Output(stream_name(network, i), f"layer{j}_{basis}")
                for i in shards
            ]
            yield functions.TOP_INPUTS.task(
                f"top/{network.layer_part(layer)}/{basis}",
                functions.TopInputsParameters(
                    key=network.layer_key(layer),
                    condition=RAW,
                    basis=basis,
                    draw=study.draw(network.rows),
                    reduce=section.reduce,
                    compute=study.compute,
                ),
                inputs={
                    "states": states,
                    "examples": dataset.examples,
                    "skipped": [Output(collecting(network, i), "skipped") for i in shards],
                    "moments": moments_of(network, layer, basis),
                },
                # The network says which part of an image each place of the layer's map can see, once for all bases.
                resources=network.resources if basis == "natural" else {},
                publish={"topk": "topk", "unit_scores": "unit_scores", "receptive_fields": "receptive_fields"},
                affinity=network.task_part,
                shrink="slots",
            )


def _histograms(study: Study, network: Network) -> Iterator[Task]:
    """How the projections on the directions of every basis are spread, layer by layer."""
    draw = study.draw(_counted(study, network))
    bases = tuple(study.section.bases)
    for layer in network.model.layers:
        yield functions.HISTOGRAMS.task(
            f"histograms/{network.layer_part(layer)}",
            functions.HistogramParameters(network.layer_key(layer), draw, study.compute, study.reading, bases),
            inputs={"activations": study.stored(network, layer), "moments": moments_of(network, layer, *bases)},
            publish={"unit_histograms": "unit_histograms"},
            affinity=network.task_part,
        )


def _counted(study: Study, network: Network) -> int:
    """How many inputs are behind each histogram."""
    return min(study.tested_rows(network), _COUNTED)


def _moments_name(network: Network, layer: str) -> str:
    return f"moments/{network.layer_part(layer)}"


def _folder(network: Network, layer: str) -> str:
    model = network.model
    name = slug(f"{model.dataset.name}.{model.name}.{model.seed}.{layer}")
    return f"activations/{name}-{hashlib.blake2b(repr((model.key.columns, layer)).encode(), digest_size=4).hexdigest()}"
