"""The table `paper_comparison`: every error, distortion and cell of a matrix, beside the paper's where it has one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from intriguing.stages.paper.comparison.paper_tables import Printed, cells
from intriguing.stats.intervals import newcombe, wilson
from intriguing.stats.multiple import holm
from intriguing.stats.paired import mcnemar
from intriguing.transfer.answers import Answers, Network

CONTROLS = {"minimal": "gaussian", "amplified": "amplified noise"}
"""Kinds of changed images, and the noise of the same size that each is held against."""
_NORMAL = 1.959963984540054
_EACH = {"nearest": "min", "mean": "mean", "hardest": "max"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Beside:
    """The paper's cells, for models that stand beside it; none of them otherwise."""

    is_beside: bool
    printed: Mapping[Any, Printed] = field(default_factory=cells)

    def of(self, measure: str, source: Network | None, target: Network) -> Printed | None:
        """The paper's cell, if it has one. Another seed of a model is another model, and so on no diagonal."""
        if not self.is_beside or (source is not None and source != target and source.name == target.name):
            return None
        return self.printed.get((measure, source.name if source else "", target.name))


def error_rows(
    models: pd.DataFrame, networks: Sequence[Network], beside: Beside, sizes: Mapping[str, int]
) -> list[Row]:
    """A row per error of the table `models`; `sizes` are the numbers of images by split."""
    rows = []
    known = {(n.name, n.seed): n for n in networks}
    for model in models.to_dict("records"):
        network = known[model["model"], model["model_seed"]]
        all_of_it = sizes.get("train", 0)
        train = all_of_it // int(network.part.rpartition(" ")[2]) if network.part else all_of_it
        counts = {"train_error": train, "other_error": all_of_it - train, "test_error": sizes.get("test", 0)}
        for measure, n in counts.items():
            value = model.get(measure)
            if value is None or np.isnan(value) or not n:
                continue
            paper = beside.of(measure, None, network)
            rows.append(
                _row(measure, None, network) | _proportion(round(value * n), n) | _paper(paper, round(value * n), n)
            )
    return rows


def distortion_rows(found: pd.DataFrame, networks: Sequence[Network], beside: Beside) -> list[Row]:
    """A row per model, grade and rule: the mean distortion over the images that the model itself gets right.

    found: searches with status `found`. Of a search for each wrong class, the nearest, the mean and the hardest class
    of an image are rules of their own.
    """
    rows = []
    known = {(n.name, n.seed): n for n in networks}
    right = found[found["label"] == found["clean_prediction"]]
    for (name, seed, grade, rule), part in groups(right, "model", "model_seed", "grade", "target_rule"):
        network = known[name, seed]
        paper = beside.of("distortion", None, network)
        for label, values in _distortions(str(rule), part):
            keys = _row("distortion", None, network) | {"grade": grade, "target_rule": label}
            rows.append(keys | _mean(values) | ({} if paper is None else _printed(paper)))
    return rows


def matrix_rows(answers: Answers, grade: str, rule: str, beside: Beside) -> list[Row]:
    """A row per source, target and kind of change; p-values are corrected (Holm) over the cells of a kind."""
    rows = []
    for kind, control in CONTROLS.items():
        if kind in answers.wrong:
            cells_of_kind = [
                row | {"grade": grade, "target_rule": rule} for row in _cells(answers, kind, control, beside)
            ]
            corrected = holm(np.array([np.nan if row["p"] is None else row["p"] for row in cells_of_kind]))
            for row, p in zip(cells_of_kind, corrected, strict=True):
                row["p_holm"] = None if np.isnan(p) else float(p)
            rows += cells_of_kind
    return rows


def noise_rows(noise: pd.DataFrame, networks: Sequence[Network], beside: Beside) -> list[Row]:
    """A row per target and size of noise: the share of wrong answers over all attacked images, as the paper counts."""
    rows = []
    known = {(n.name, n.seed): n for n in networks}
    for (name, seed, size), part in groups(noise, "model", "model_seed", "size"):
        network, measure = known[name, seed], f"noise {size:g}"
        k, n = int(part["is_error"].sum()), len(part)
        keys = _row(measure, None, network) | {"rms": float(part["rms"].mean())}
        rows.append(keys | _proportion(k, n) | _paper(beside.of(measure, None, network), k, n))
    return rows


def _cells(answers: Answers, kind: str, control: str, beside: Beside) -> Iterator[Row]:
    wrong, counted = answers.cells(kind), answers.both_right
    noise = answers.wrong.get(control)
    for s, source in enumerate(answers.models):
        rms = answers.rms[kind][s]
        for t, target in enumerate(answers.models):
            fed = np.isfinite(wrong[s, t])
            if not fed.any():
                continue
            k, n = int(np.nansum(wrong[s, t])), int(fed.sum())
            row = _row(kind, source, target) | _proportion(k, n) | _paper(beside.of(kind, source, target), k, n)
            row |= {"rms": float(np.nanmean(rms)) if np.isfinite(rms).any() else None}
            # That a model errs on what was made for it is no test of transfer.
            control_of = None if noise is None or source == target else noise[s, t]
            yield row | _paired(wrong[s, t], control_of, counted[s, t] & fed)


def _paired(wrong: np.ndarray, noise: np.ndarray | None, counted: np.ndarray) -> Row:
    """The rates among the images that both get right, of the change and of its control, and the test of the pairs."""
    row: Row = {"right_n": int(counted.sum()), "p": None}
    row["right_value"] = float(wrong[counted].mean()) if counted.any() else None
    if noise is None:
        return row
    both = counted & np.isfinite(noise)
    changed, control = wrong[both] == 1, noise[both] == 1
    only = {"only_change": int((changed & ~control).sum()), "only_control": int((control & ~changed).sum())}
    test = {"p": float(mcnemar(*only.values()))} if both.any() else {}
    return row | only | test | {"control_value": float(control.mean()) if both.any() else None}


def _row(measure: str, source: Network | None, target: Network) -> Row:
    return {
        "paper_table": 0,
        "measure": measure,
        "grade": "",
        "target_rule": "",
        "source_model": source.name if source else "",
        "source_seed": source.seed if source else -1,
        "model": target.name,
        "model_seed": target.seed,
    }


def _proportion(k: int, n: int) -> Row:
    low, high = wilson(k, n)
    return {"value": k / n, "low": float(low), "high": float(high), "n": n}


def _mean(values: np.ndarray) -> Row:
    half = _NORMAL * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    ends = {"low": float(values.mean() - half), "high": float(values.mean() + half)}
    return {"value": float(values.mean()), "n": len(values)} | ({} if np.isnan(half) else ends)


def _printed(paper: Printed) -> Row:
    return {"paper_table": paper.table, "paper": paper.value}


def _paper(paper: Printed | None, k: int, n: int) -> Row:
    """The paper's cell with its interval, whether the intervals overlap, and ours minus the paper's."""
    if paper is None:
        return {}
    errors = round(paper.value * paper.n)
    low, high = (float(end) for end in wilson(errors, paper.n))
    ours = [float(end) for end in wilson(k, n)]
    below, above = (float(end) for end in newcombe(k, n, errors, paper.n))
    return _printed(paper) | {
        "paper_n": paper.n,
        "paper_low": low,
        "paper_high": high,
        "overlap": ours[0] <= high and low <= ours[1],
        "difference": k / n - errors / paper.n,
        "difference_low": below,
        "difference_high": above,
    }


def groups(frame: Any, *keys: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The rows that share the values of `keys`, as (those values, frame), in the order of their first row."""
    for values, part in frame.groupby(list(keys), sort=False):
        yield tuple(values), part


def _distortions(rule: str, searches: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    if rule != "each":
        yield rule, searches["distortion"].to_numpy(np.float64)
        return
    by_image = searches.groupby("example_id")["distortion"]
    for label, reduction in _EACH.items():
        yield f"each: {label}", by_image.agg(reduction).to_numpy(np.float64)
