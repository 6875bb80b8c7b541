"""Tasks of the stage: the norms of a model's layers, and the certified lower bounds of a shard of searches."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import ModelError
from intriguing.stability import Certificates, is_optimal, layer_norms, lower_bounds, trace
from intriguing.stages.common.resources import device, device_name
from intriguing.stages.stability import functions

_CARRIED = ("search_id", "example_id", "target_rule", "grade", "status", "l2")
"""Columns of a search that its certificate repeats."""
_SEARCHED = ("found", "not_found", "misclassified", "no_gradient", "unstable")
"""Statuses of searches whose image and logits are numbers, so that something can be proven of it."""


@functions.NORMS.implementation
def norms(work: Work, parameters: functions.NormsParameters) -> dict[str, pa.Table]:
    """The table `operator_norms`: every layer of a model in order. One row that says why, where it cannot be traced."""
    torch.set_num_threads(parameters.compute.threads)
    try:
        found = layer_norms(work.resource("model"), parameters.shape, printed=True)
        rows = [
            {
                "layer": layer.layer,
                "kind": layer.kind,
                "stride": list(layer.stride),
                "input_shape": list(layer.input_shape),
                "norm": _number(layer.norm),
                "residual": _number(layer.residual),
                "upper_bound": layer.upper_bound,
                "printed": _number(layer.printed),
                "share": _number(layer.share),
                "product_bound": layer.product_bound,
            }
            for layer in found.layers
        ]
    except Exception as error:  # a user's own forward may fail in any way, and a sweep goes on
        rows = [_unknown(error, parameters.shape)]
    columns = {name: [row[name] for row in rows] for name in _unknown("", ())}
    return {
        "operator_norms": tables.OPERATOR_NORMS.build(
            columns | {"position": list(range(len(rows)))}, **parameters.key.columns
        )
    }


def _unknown(error: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """The row of a model of which nothing is known."""
    row: dict[str, Any] = dict.fromkeys(("norm", "residual", "printed", "share"))
    row |= {"upper_bound": math.inf, "product_bound": math.inf, "stride": [], "input_shape": list(shape)}
    return {"layer": "", "kind": f"unknown: {_said(error)}"} | row


@functions.CERTIFY.implementation
def certify(work: Work, parameters: functions.CertifyParameters) -> dict[str, pa.Table]:
    """The table `certificates` of searches with one answer: the largest norm below which none of them can succeed."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    searches = work.table("distortions", [*_CARRIED, "target", "label", "lower_bound"]).to_pandas()
    # Searches of several grades and rules ask the same of an image: what is below all of them is proven once.
    asked = searches.assign(target=searches["target"].fillna(-1).astype(np.int64))
    asked = asked[asked["status"].isin(_SEARCHED)].groupby(["example_id", "target"], as_index=False, sort=False)
    questions = asked.agg({"l2": "min", "label": "first"})
    answer = _answer(work, questions, parameters) if len(questions) else _nothing(0, "")
    questions["bound"] = answer.bound.cpu().numpy()
    merged = searches.assign(target=searches["target"].fillna(-1).astype(np.int64)).merge(
        questions[["example_id", "target", "bound"]], how="left", on=["example_id", "target"]
    )
    return {"certificates": _rows(merged, answer, parameters)}


def _answer(work: Work, questions: pd.DataFrame, parameters: functions.CertifyParameters) -> Certificates:
    """What is proven of images and targets; nothing, with the reason, where the model stands in the way."""
    split = work.resource("dataset").splits[parameters.split]
    images = split.pixels_or_nan(split.positions(questions["example_id"].to_numpy())).to(device())
    label, target = (torch.tensor(questions[name].tolist(), device=device()) for name in ("label", "target"))
    try:
        return lower_bounds(
            trace(work.resource("model"), tuple(images.shape[1:])),
            images,
            label,
            target if bool((target >= 0).all()) else None,
            found=torch.tensor(questions["l2"].tolist(), dtype=torch.float64, device=device()),
            effort=parameters.effort,
            gigaflops=parameters.gigaflops,
        )
    except Exception as error:  # a user's own forward may fail in any way, and a sweep goes on
        return _nothing(len(images), _said(error))


def _nothing(count: int, reason: str) -> Certificates:
    nan = torch.full((count,), math.nan, dtype=torch.float64)
    return Certificates(nan, nan[:, None], "none", reason)


def _rows(searches: pd.DataFrame, answer: Certificates, parameters: functions.CertifyParameters) -> pa.Table:
    """The certificates of the searches, with the bound of the search itself where that is better."""
    bounds, own = searches["bound"].to_numpy(float), searches["lower_bound"].to_numpy(float)
    l2, best = searches["l2"].to_numpy(float), np.fmax(bounds, own)
    found = (searches["status"] == "found").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(found, best / l2, math.nan)
    optimal = is_optimal(torch.tensor(l2), torch.tensor(best)).numpy() & found
    itself = np.isfinite(own) & ~(bounds > own)
    methods = np.where(np.isnan(best), "none", np.where(itself, "exact", answer.method))
    reasons = [answer.reason if s in _SEARCHED else f"not searched: {s}" for s in searches["status"]]
    return tables.CERTIFICATES.build(
        {
            **{name: searches[name].tolist() for name in _CARRIED if name != "l2"},
            **{name: _numbers(values) for name, values in (("l2", l2), ("lower_bound", best), ("share", share))},
            "is_optimal": optimal.tolist(),
            "method": methods.tolist(),
            "reason": ["" if alone else reason for alone, reason in zip(itself, reasons, strict=True)],
        },
        **parameters.key.columns,
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(x) for x in values]


def _number(x: float) -> float | None:
    return None if math.isnan(x) else float(x)


def _said(error: Any) -> str:
    """What an error says, in a line: the message of one of the package's own, with the kind of any other."""
    text = (str(error).splitlines() or [""])[0][:300]
    return text if isinstance(error, ModelError | str) else f"{type(error).__name__}: {text}"
