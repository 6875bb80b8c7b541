"""The task that holds a data set's searches and transfer against the paper's claims."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.stages.paper import functions
from intriguing.stages.paper.comparison.cells import (
    CONTROLS,
    Beside,
    Row,
    distortion_rows,
    error_rows,
    groups,
    matrix_rows,
    noise_rows,
)
from intriguing.stages.paper.comparison.claims import agreement_rows, claim_rows, rule_rows
from intriguing.stages.paper.comparison.paper_tables import cells as printed_cells
from intriguing.transfer.answers import Answers, Collector, Network
from intriguing.transfer.relations import Resampled

pc: Any = _compute
_TARGET = ["model", "model_seed"]
_CHANGED = ["kind", "grade", "target_rule", "source_model", "source_seed", *_TARGET, "example_id", "rms", "is_error"]
_SEARCHED = [*_TARGET, "grade", "target_rule", "example_id", "label", "clean_prediction", "distortion"]


@functions.COMPARE.implementation
def compare(work: Work, parameters: functions.CompareParameters) -> dict[str, pa.Table]:
    """The tables `paper_comparison` and `paper_claims` of a data set."""
    networks = [Network(name, seed, family, recipe, part) for name, seed, family, recipe, part in parameters.models]
    beside = Beside(parameters.beside, printed_cells(parameters.amplified_rms))
    found = _found(work)
    cells = error_rows(work.table("models").to_pandas(), networks, beside, parameters.sizes)
    distortions = distortion_rows(found, networks, beside)
    claims = rule_rows(distortions, found, parameters.seed, parameters.draws)
    cells += distortions
    noise = _rows(work, "noise", [*_TARGET, "size", "rms", "is_error"])
    cells += [] if noise is None else noise_rows(noise.to_pandas(), networks, beside)
    for grade, rule, answers in _answers(work, networks, parameters.amplified_rms):
        cells += matrix_rows(answers, grade, rule, beside)
        resampled = Resampled.of(answers, _kinds(answers), seed=parameters.seed, draws=parameters.draws)
        rows = claim_rows(answers, resampled)
        rows += list(agreement_rows(answers, resampled, beside)) if parameters.beside else []
        claims += [row | {"grade": grade, "target_rule": rule, "by_seed": resampled.by_seed} for row in rows]
    return {
        "paper_comparison": _table(
            tables.PAPER_COMPARISON, [row | {"source": parameters.source} for row in cells], parameters.dataset
        ),
        "paper_claims": _table(tables.PAPER_CLAIMS, [{"by_seed": False} | row for row in claims], parameters.dataset),
    }


def _found(work: Work) -> pd.DataFrame:
    """The searches that found something."""
    searches = _rows(work, "distortions", [*_SEARCHED, "status"])
    if searches is None:
        return pd.DataFrame(columns=_SEARCHED)
    return searches.filter(pc.equal(searches["status"], "found")).select(_SEARCHED).to_pandas()


def _answers(work: Work, networks: list[Network], amplified_rms: float) -> Iterator[tuple[str, str, Answers]]:
    """The answers to the images of each grade and rule, beside those to unchanged images and to noise."""
    clean = _rows(work, "clean", [*_TARGET, "example_id", "is_error"])
    if clean is None:
        return
    unchanged, noise = clean.to_pandas(), _noise(work, amplified_rms)
    collectors: dict[tuple[str, str], Collector] = {}
    for part in work.each("changed", _CHANGED):
        for (grade, rule, kind), rows in groups(part.to_pandas(), "grade", "target_rule", "kind"):
            if (grade, rule) not in collectors:
                collectors[grade, rule] = collector = Collector(networks, unchanged["example_id"].unique())
                collector.clean(*_target(unchanged), unchanged["example_id"], unchanged["is_error"])
                if noise is not None:
                    collector.noise(CONTROLS["amplified"], _target(noise), noise["example_id"], noise["wrong"])
            source, answers = (rows["source_model"], rows["source_seed"]), (rows["is_error"], rows["rms"])
            collectors[grade, rule].changed(kind, source, _target(rows), rows["example_id"], answers)
    yield from ((grade, rule, collector.answers()) for (grade, rule), collector in collectors.items())


def _noise(work: Work, size: float) -> pd.DataFrame | None:
    """Answers to noise of this size after clipping: model, model_seed, example_id, wrong; None where none was fed."""
    rays = _rows(work, "noise_rays", [*_TARGET, "example_id", "label", "sizes", "predictions"])
    if rays is None or not rays.num_rows:
        return None
    sizes = np.array(rays["sizes"][0].as_py(), np.float64)
    at = np.flatnonzero(np.isclose(sizes, size))
    if not at.size:
        return None
    frame = rays.select([*_TARGET, "example_id", "label"]).to_pandas()
    frame["wrong"] = pc.list_element(rays["predictions"], int(at[0])).to_numpy() != frame["label"].to_numpy()
    return frame


def _rows(work: Work, name: str, columns: list[str]) -> pa.Table | None:
    """The rows of all outputs of an input; None where it has no output."""
    parts = work.tables(name, columns)
    return pa.concat_tables(parts) if parts else None


def _target(rows: Any) -> tuple[Any, Any]:
    return rows["model"], rows["model_seed"]


def _kinds(answers: Answers) -> list[str]:
    there = [kind for pair in CONTROLS.items() for kind in pair if kind in answers.wrong]
    return list(dict.fromkeys(there))


def _table(table: tables.Table, rows: list[Row], dataset: str) -> pa.Table:
    names = [field.name for field in table.fields if field.name != "dataset"]
    return table.build({name: [row.get(name) for row in rows] for name in names}, dataset=dataset)
