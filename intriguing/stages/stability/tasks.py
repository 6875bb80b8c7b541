"""Tasks of the stage: the norms of a model's layers, and the certified lower bounds of a shard of searches."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import ModelError
from intriguing.stability import Certificates, is_optimal, layer_norms, lower_bounds, trace
from intriguing.stages.common.resources import device, device_name
from intriguing.stages.common.sampling import attacked_positions
from intriguing.stages.stability import functions

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
    """The table `certificates` of a shard of searches: the largest norm below which none of them can succeed."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    columns = ["search_id", "example_id", "target", "status", "l2", "lower_bound", "grade", "target_rule"]
    frames = [work.table(rule, columns).to_pandas() for rule in parameters.target_rules]
    first = frames[0]
    l2 = np.nanmin(np.stack([frame["l2"].to_numpy(float) for frame in frames] + [np.full(len(first), np.inf)]), axis=0)
    split = work.resource("dataset").splits[parameters.attacked.split]
    chosen = attacked_positions(split, parameters.attacked, parameters.shard)
    usable = first["status"].isin(_SEARCHED).to_numpy()
    bounds, method, reason = np.full(len(first), math.nan), "none", ""
    if usable.any():
        targets = first["target"][usable].to_numpy(float)
        made = _certificates(
            work.resource("model"),
            split.pixels_or_nan(chosen[usable]).to(device()),
            torch.from_numpy(np.array(split.labels[chosen[usable]])).to(device()),
            None if np.isnan(targets).any() else torch.from_numpy(targets.astype(np.int64)).to(device()),
            torch.from_numpy(l2[usable]).to(device()),
            parameters,
        )
        bounds[usable], method, reason = made.bound.cpu().numpy(), made.method, made.reason
    made_of = (bounds, method, reason)
    return {"certificates": pa.concat_tables([_rows(frame, made_of, parameters) for frame in frames])}


def _certificates(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    targets: torch.Tensor | None,
    found: torch.Tensor,
    parameters: functions.CertifyParameters,
) -> Certificates:
    """The bounds of the images that were searched; nothing, with the reason, where the model stands in the way."""
    try:
        graph = trace(model, tuple(images.shape[1:]))
        return lower_bounds(
            graph, images, labels, targets, found=found, effort=parameters.effort, gigaflops=parameters.gigaflops
        )
    except Exception as error:  # a user's own forward may fail in any way, and a sweep goes on
        nan = torch.full((len(images),), math.nan, dtype=torch.float64)
        return Certificates(nan, nan[:, None], "none", _said(error))


def _rows(frame: Any, made: tuple[np.ndarray, str, str], parameters: functions.CertifyParameters) -> pa.Table:
    """The certificates of the searches of one rule, with the bound of the search itself where it is better."""
    bounds, method, reason = made
    own, l2 = frame["lower_bound"].to_numpy(float), frame["l2"].to_numpy(float)
    best = np.fmax(bounds, own)
    found = (frame["status"] == "found").to_numpy()
    optimal = is_optimal(torch.from_numpy(l2), torch.from_numpy(best)).numpy() & found
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(found, best / l2, math.nan)
    said = ["none" if np.isnan(b) else "exact" if o >= c else method for b, o, c in zip(best, own, _low(bounds))]
    why = [reason if status in _SEARCHED else f"not searched: {status}" for status in frame["status"]]
    return tables.CERTIFICATES.build(
        {
            "search_id": frame["search_id"].tolist(),
            "example_id": frame["example_id"].tolist(),
            "status": frame["status"].tolist(),
            "l2": [_number(x) for x in l2],
            "lower_bound": [_number(x) for x in best],
            "share": [_number(x) for x in share],
            "is_optimal": optimal.tolist(),
            "method": said,
            "reason": why,
            "target_rule": frame["target_rule"].tolist(),
            "grade": frame["grade"].tolist(),
        },
        **parameters.key.columns,
    )


def _low(bounds: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(bounds), -math.inf, bounds)


def _number(x: float) -> float | None:
    return None if math.isnan(x) else float(x)


def _said(error: Any) -> str:
    """What an error says, in a line: the message of one of the package's own, with the kind of any other."""
    text = (str(error).splitlines() or [""])[0][:300]
    return text if isinstance(error, ModelError | str) else f"{type(error).__name__}: {text}"
