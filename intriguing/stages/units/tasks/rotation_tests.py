"""The rotation test of a layer: scores of random rotations, the tests, and the scores of directions.

The rotations are numbered and scored in parts, so that the test of one layer spreads over several workers.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.stages.units import functions
from intriguing.stages.units.names import LIVE, NEGATED, RAW, TRAINED
from intriguing.stages.units.tasks.scans import directions_of
from intriguing.stages.units.tasks.scores import Score, scores_of
from intriguing.stages.units.tasks.tested_inputs import TestedInputs, read_inputs, read_live_inputs
from intriguing.stats.findings import finding
from intriguing.units import Moments
from intriguing.units.rotation import (
    MOST_COLUMNS,
    RotationOptions,
    RotationTest,
    null_statistics,
    rotation_test,
    unusable,
)
from intriguing.units.scoring.metrics import auroc_error_bound, score_directions
from intriguing.units.scoring.scores import METRICS
from intriguing.units.scoring.views import Inputs


@functions.NULL_SCORES.implementation
def null_scores(work: Work, parameters: functions.NullScoresParameters) -> dict[str, pa.Table]:
    """The scores of some random rotations, a column per score: a part of the null; no rows where nothing is tested."""
    torch.set_num_threads(parameters.threads)
    tested = _inputs(work, parameters.condition, parameters.scores.k)
    if tested is None:
        return {"null": pa.table({"rotation": pa.array([], pa.int32())})}
    scores = _usable(
        tested.inputs,
        scores_of(tested, parameters.scores.names, parameters.scores.k, parameters.seed, parameters.shuffled),
    )
    numbers = range(parameters.rotations.start, parameters.rotations.stop)
    values = null_statistics(tested.inputs, [s.computed for s in scores], numbers, seed=parameters.seed)
    return {"null": pa.table({"rotation": np.array(numbers, dtype=np.int32), **values})}


@functions.ROTATION_TESTS.implementation
def rotation_tests(work: Work, parameters: functions.RotationTestsParameters) -> dict[str, pa.Table]:
    """The tests of a layer, in rows of the table `rotation_tests` that await Holm's correction."""
    torch.set_num_threads(parameters.threads)
    tested = _inputs(work, parameters.condition, parameters.scores.k)
    if tested is None:
        return {"tests": tables.ROTATION_TESTS.schema.empty_table()}
    inputs = tested.inputs
    scores = scores_of(tested, parameters.scores.names, parameters.scores.k, parameters.seed, parameters.shuffled)
    nulls = work.tables("null")
    null = {s.computed.name: _column(nulls, s.computed.name) for s in _usable(inputs, scores)}
    # Whole bases alone can be turned by a part of a rotation.
    doses = parameters.doses if inputs.dim <= MOST_COLUMNS else ()
    options = RotationOptions(seed=parameters.seed, subsamples=parameters.subsamples, doses=doses)
    tests = _tests(inputs, scores, null, options)
    # The curve of shuffled labels would say nothing.
    kept = [(s, t) for s, t in tests if s.control == TRAINED or t.alpha == 0]
    rows = [
        _row(inputs, s, t, s.control if s.control != TRAINED else parameters.control, parameters.condition)
        for s, t in kept
    ]
    if parameters.negated:
        sided = [s for s in scores if s.control == TRAINED and not s.computed.metric.symmetric]
        tests = _tests(inputs, sided, null, replace(options, sign=-1, doses=()))
        rows += [_row(inputs, s, t, parameters.control, NEGATED) for s, t in tests]
    return {
        "tests": pa.concat_tables([tables.ROTATION_TESTS.build({}, **parameters.key.columns, **row) for row in rows])
    }


@functions.SCORE.implementation
def score(work: Work, parameters: functions.ScoreParameters) -> dict[str, pa.Table]:
    """The scores of every direction of every basis that rest on the tested inputs: more of `unit_scores`."""
    torch.set_num_threads(parameters.threads)
    tested = read_inputs(work)
    inputs = tested.inputs
    not_scanned = [name for name in parameters.scores.names if METRICS[name].from_inputs]
    scores = _usable(inputs, scores_of(tested, not_scanned, parameters.scores.k, parameters.seed, False))
    blobs = work.blobs("moments")
    keys: dict[str, Any] = {
        **parameters.key.columns,
        "condition": RAW,
        "rotation_seed": 0,
        "judge": None,
        "n": len(inputs),
    }
    rows = []
    for basis in parameters.bases:
        directions = directions_of(basis, inputs.dim, parameters.seed, Moments.from_bytes(blobs[0]) if blobs else None)
        values = score_directions(inputs, directions, [s.computed for s in scores])
        numbers = np.arange(directions.count, dtype=np.int32)
        for s in scores:
            value = pa.array(values[s.computed.name], pa.float64(), from_pandas=True)
            columns = {"direction": numbers, "value": value}
            own = keys | {"basis": basis, "metric": s.metric, "judge": s.judge}
            rows.append(tables.UNIT_SCORES.build(columns, **own))
        if any(s.metric == "auroc" for s in scores):
            bound = {"direction": -1, "value": auroc_error_bound(inputs, directions), "metric": "auroc_error_bound"}
            rows.append(tables.UNIT_SCORES.build({}, **keys, basis=basis, **bound))
        if basis == "natural":
            [units] = work.tables("units", ["constant"])
            constant = units["constant"].to_numpy().astype(np.float64)
            columns = {"direction": numbers, "value": constant}
            rows.append(tables.UNIT_SCORES.build(columns, **keys, basis=basis, metric="dead"))
    return {"unit_scores": pa.concat_tables(rows) if rows else tables.UNIT_SCORES.schema.empty_table()}


def _inputs(work: Work, condition: str, k: int) -> TestedInputs | None:
    """What the tests of a condition rest on; None where there is nothing to test."""
    return read_live_inputs(work, k) if condition == LIVE else read_inputs(work)


def _usable(inputs: Inputs, scores: list[Score]) -> list[Score]:
    return [s for s in scores if not _reason(inputs, s)]


def _reason(inputs: Inputs, score: Score) -> str:
    """Why a score cannot be tested; empty when it can."""
    if inputs.dim < 2:
        return "a layer of one unit has no other basis"
    return unusable(inputs, score.computed)


def _tests(
    inputs: Inputs, scores: list[Score], null: dict[str, np.ndarray], options: RotationOptions
) -> list[tuple[Score, RotationTest]]:
    """Each score with its test, and with the tests of its dose curve."""
    by_name = {s.computed.name: s for s in scores}
    usable = [s.computed for s in scores if s.computed.name in null]
    tests = rotation_test(inputs, usable, options, null) if usable else []
    missing = [RotationTest.without_figures(name, len(inputs)) for name in by_name if name not in null]
    return [(by_name[t.metric], t) for t in [*tests, *missing]]


def _row(inputs: Inputs, score: Score, test: RotationTest, control: str, condition: str) -> dict[str, Any]:
    row = test.row() | {"metric": score.metric, "judge": score.judge, "control": control, "condition": condition}
    says_why = test.natural is None and test.alpha == 0
    wording = score.computed.metric.wording(score.judge)
    return row | {"verdict": finding(row, wording, _reason(inputs, score)).sentence if says_why else None}


def _column(nulls: list[pa.Table], name: str) -> np.ndarray:
    parts = [t for t in nulls if name in t.column_names]
    order = np.argsort(np.concatenate([np.asarray(t["rotation"]) for t in parts]))
    return np.concatenate([np.asarray(t[name]) for t in parts])[order]
