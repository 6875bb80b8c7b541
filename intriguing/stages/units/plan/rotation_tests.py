"""Are single units special? Rotation tests of every layer, with controls; then Holm's correction and the answer."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from intriguing.engine.task import Output, Task
from intriguing.stages.common.parameters import Architecture
from intriguing.stages.common.planned import model_resource, part_of, shards_of
from intriguing.stages.units import functions
from intriguing.stages.units.names import LIVE, RANDOM, RAW, SHUFFLED
from intriguing.stages.units.plan.networks import Network, Study
from intriguing.stages.units.plan.scans import activations, moments_of, tested_layer
from intriguing.stats.crossed_design import least_p_values
from intriguing.stats.findings import LEVEL, least_rotations
from intriguing.units.scoring.scores import METRICS, Depth

log = logging.getLogger(__name__)


def rotation_tests(study: Study, networks: Sequence[Network]) -> Iterator[Task]:
    """The tests of all layers of all networks in parts, the correction over them, the answer of a crossed design."""
    section = study.section
    if not section.rotations:
        return
    if _is_judged(study) and "pixels" in section.judges:
        yield from _pixel_judges(study, networks)
    tests: list[Output] = []
    for network in networks:
        for layer in network.model.layers:
            yield _test_inputs(study, network, layer)
            yield _scores(study, network, layer)
            for condition in (RAW, LIVE) if section.without_dead else (RAW,):
                yield from _tests(study, network, layer, condition, tests)
        if RANDOM in section.controls:
            yield from _untrained_control(study, network, tests)
    _warn_of_few_inputs(study, networks)
    _warn_of_large_families(study, networks)
    yield functions.CORRECTION.task(
        "correct",
        functions.CorrectionParameters(section.family),
        inputs={"tests": tests},
        publish={"rotation_tests": "rotation_tests"},
    )
    if _is_crossed(networks):
        _warn_of_few_networks(study, networks)
        yield functions.MODEL_OR_DATA.task(
            "model-or-data",
            functions.ModelOrDataParameters({n.model.name: n.model.layers[-1] for n in networks}),
            inputs={"tests": tests},
            publish={"model_or_data": "model_or_data"},
        )


def _untrained_control(study: Study, network: Network, tests: list[Output]) -> Iterator[Task]:
    """The tests of the same network before training; their outputs are added to `tests`."""
    name = f"initial/{network.model.task_part}"
    built = network.model.architecture
    yield functions.UNTRAINED_WEIGHTS.task(
        name,
        functions.UntrainedWeightsParameters(_without_weights(built), network.model.seed),
        affinity=network.task_part,
    )
    weights = model_resource(built, Output(name, "weights"))
    control = network.untrained(weights, study.tested_rows(network))
    yield from activations(study, control, {})
    for layer in control.model.layers:
        yield _test_inputs(study, control, layer)
        yield from _tests(study, control, layer, RAW, tests)


def _test_inputs(study: Study, network: Network, layer: str) -> Task:
    """What the tests of a layer rest on, read once."""
    section, dataset = study.section, network.model.dataset
    judge = network.judge if _is_judged(study) else None
    judge_layer = judge.model.layers[-1] if judge else ""
    has_pixels = _is_judged(study) and "pixels" in section.judges
    inputs: dict[str, Any] = {
        "activations": study.stored(network, layer),
        "judge": study.stored(judge, judge_layer) if judge else [],
        "pixels": [Output(_pixels_name(dataset.name), "pixels")] if has_pixels else [],
        "examples": dataset.examples,
    }
    return functions.TEST_INPUTS.task(
        _inputs_name(network, layer),
        tested_layer(study, network, layer, judge_layer),
        inputs=inputs,
        affinity=network.task_part,
    )


def _tests(study: Study, network: Network, layer: str, condition: str, tests: list[Output]) -> Iterator[Task]:
    """The test of one layer: its null in parts, then the test; the test's output is added to `tests`."""
    section, seed, threads = study.section, study.sweep.seed, study.sweep.compute.threads
    scores = functions.Scores(tuple(section.metrics), section.k)
    shuffled = network.is_trained and SHUFFLED in section.controls
    inputs = _inputs_of(network, layer)
    part = f"{network.layer_part(layer)}/{condition}"
    nulls = []
    for i, rotations in enumerate(shards_of(section.rotations, study.sweep.compute.rotations_per_shard)):
        nulls.append(Output(f"null/{part}/{i:05d}", "null"))
        yield functions.NULL_SCORES.task(
            nulls[-1].task,
            functions.NullScoresParameters(scores, condition, shuffled, rotations, seed, threads),
            inputs=inputs,
            affinity=network.task_part,
            amount=rotations.stop - rotations.start,
            noun="rotations",
        )
    tests.append(Output(f"test/{part}", "tests"))
    yield functions.ROTATION_TESTS.task(
        tests[-1].task,
        functions.RotationTestsParameters(
            key=network.layer_key(layer),
            scores=scores,
            control=network.control,
            condition=condition,
            shuffled=shuffled,
            negated=network.is_trained and condition == RAW and section.signs == "both",
            doses=tuple(section.doses),
            subsamples=section.subsamples,
            seed=seed,
            threads=threads,
        ),
        inputs=inputs | {"null": nulls},
        affinity=network.task_part,
        noun="tests",
    )


def _scores(study: Study, network: Network, layer: str) -> Task:
    """The scores of the directions of all bases."""
    section = study.section
    scores = functions.Scores(tuple(section.metrics), section.k)
    return functions.SCORE.task(
        f"score/{network.layer_part(layer)}",
        functions.ScoreParameters(
            network.layer_key(layer), scores, tuple(section.bases), study.sweep.seed, study.sweep.compute.threads
        ),
        inputs=_inputs_of(network, layer) | {"moments": moments_of(network, layer, *section.bases)},
        publish={"unit_scores": "unit_scores"},
        affinity=network.task_part,
    )


def _inputs_of(network: Network, layer: str) -> dict[str, Any]:
    name = _inputs_name(network, layer)
    return {"inputs": Output(name, "inputs"), "units": Output(name, "units")}


def _inputs_name(network: Network, layer: str) -> str:
    return f"inputs/{network.layer_part(layer)}"


def _is_judged(study: Study) -> bool:
    return any(METRICS[name].judged for name in study.section.metrics)


def _pixel_judges(study: Study, networks: Sequence[Network]) -> Iterator[Task]:
    """The second judge of each data set."""
    for name, network in {n.model.dataset.name: n for n in networks}.items():
        dataset = network.model.dataset
        yield functions.PIXEL_JUDGE.task(
            _pixels_name(name),
            functions.PixelJudgeParameters(study.draw(study.tested_rows(network)), study.compute),
            resources={"dataset": dataset.resource},
            affinity=dataset.content_hash,
        )


def _pixels_name(dataset: str) -> str:
    return f"pixels/{part_of(dataset)}"


def _without_weights(built: Architecture) -> Architecture:
    """The architecture without the option that a user's factory loads weights by, as timm calls it."""
    return replace(built, options={k: v for k, v in built.options.items() if k != "pretrained"})


def _is_crossed(networks: Sequence[Network]) -> bool:
    """Whether every model is there on every data set with the same number of seeds, at least two of each."""
    cells = Counter((n.model.name, n.model.dataset.name) for n in networks)
    models, data = {name for name, _ in cells}, {name for _, name in cells}
    counts = set(cells.values())
    return (
        len(models) > 1 and len(data) > 1 and len(cells) == len(models) * len(data) and len(counts) == 1 < min(counts)
    )


def _warn_of_few_inputs(study: Study, networks: Sequence[Network]) -> None:
    """Say so before work when there are too few inputs for a test: its row says so, too, and no more."""
    section = study.section
    if section.reduce == "positions":  # each image is as many inputs as its map has places
        return
    fewest = min((study.tested_rows(network) for network in networks), default=0)
    depth = Depth(k=section.k)
    needed = {name: METRICS[name].least_tested(METRICS[name].least(depth)) for name in section.metrics}
    short = {name: least for name, least in needed.items() if fewest < least}
    if networks and short:
        log.warning(
            "units: %d images are too few for a test of %s, which then has no figures (%s are needed). %s",
            fewest,
            ", ".join(short),
            " to ".join(f"{least:,}" for least in sorted({min(short.values()), max(short.values())})),
            "Write rotations = 0 for no test." if len(short) == len(needed) else "Take more, or a smaller k.",
        )


def _number_of_scores(study: Study) -> int:
    """How many scores a layer is tested by: judged ones once for each judge."""
    section = study.section
    return len(section.metrics) + ("pixels" in section.judges) * sum(METRICS[name].judged for name in section.metrics)


def _warn_of_few_networks(study: Study, networks: Sequence[Network]) -> None:
    """Say so before work when the answer to "model or data?" could be found for no score."""
    models, data = {n.model.name for n in networks}, {n.model.dataset.name for n in networks}
    seeds, scores = len(networks) // (len(models) * len(data)), _number_of_scores(study)

    def silent(seeds: int) -> list[str]:
        least = least_p_values(len(models), len(data), seeds)
        return [name for name in ("model", "data") if least[name] * scores > LEVEL]

    if silent(seeds):
        log.warning(
            "units: %d models on %d data sets with %d seeds are too few for an answer of the %s: Holm's correction "
            "over %d scores cannot come below 5 %%. Take %d seeds or more.",
            len(models),
            len(data),
            seeds,
            " and the ".join(silent(seeds)),
            scores,
            next(more for more in count(seeds) if not silent(more)),
        )


def _warn_of_large_families(study: Study, networks: Sequence[Network]) -> None:
    """Say so before work when no test could ever be found: so many are corrected for, by so few rotations."""
    section = study.section
    layers = [len(n.model.layers) for n in networks]
    scores = _number_of_scores(study)
    sizes = {"network": max(layers, default=0) * scores, "metric": sum(layers), "run": sum(layers) * scores}
    needed = least_rotations(sizes[section.family])
    if section.rotations < needed:
        log.warning(
            "units.rotations = %d: Holm's correction over %d tests (units.family = %r) cannot come below 5 %%. "
            "Ask for at least %d rotations, fewer metrics or a smaller family.",
            section.rotations,
            sizes[section.family],
            section.family,
            needed,
        )
