"""Robust accuracy: how many images stay right under every change of a size, as far as searches and proofs tell."""

from typing import Any

import numpy as np
import pandas as pd

from intriguing.results import Run
from intriguing.stats.intervals import wilson

ANY_CLASS = ("untargeted", "every", "each")
"""Rules whose searches look for any wrong class: a search for one class says nothing of the others."""
_STEPS = 41
_COLUMNS = ["model", "model_seed", "search_id", "example_id", "label", "clean_prediction", "status", "distortion", "l2"]


def robust_accuracy(run: Run, dataset: str, target_rule: str, grade: str) -> pd.DataFrame:
    """A row per model and size (distortion): rate, its 95 % Wilson interval low to high, n, proven, left_out.

    rate is the share of images that the model gets right and for which no search found a change of that size: the true
    share is no higher. proven is the share of which it is proven that no such change exists (NaN without proofs): the
    true share is no lower. Images of which no search could be made are left out.
    """
    chosen = {"dataset": dataset, "target_rule": target_rule, "grade": grade}
    rows = run.table("distortions", columns=[*_COLUMNS, "lower_bound"], **chosen).to_pandas()
    proofs = run.table(
        "certificates", columns=["model", "model_seed", "search_id", "lower_bound"], **chosen
    ).to_pandas()
    if len(proofs):
        keys = ["model", "model_seed", "search_id"]
        rows = rows.merge(proofs, on=keys, how="left", suffixes=("", "_proven"), validate="1:1")
        rows["lower_bound"] = rows[["lower_bound", "lower_bound_proven"]].max(axis=1)
    return curves(rows)


def curves(rows: Any) -> pd.DataFrame:
    """`robust_accuracy` of the rows of `distortions` of one rule and grade, with the largest bound that is known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        root = (rows["l2"] / rows["distortion"]).median()
    wrong = (rows["status"] == "misclassified") | (rows["clean_prediction"] != rows["label"])
    size = np.where(wrong, 0.0, np.where(rows["status"] == "found", rows["distortion"], np.inf))
    # A bound that is not known, of any class, makes the image's unknown: minus infinity until the smallest is taken.
    bound = pd.Series(np.where(wrong, 0.0, rows["lower_bound"].astype(float) / root), rows.index).fillna(-np.inf)
    rows = rows.assign(size=size, bound=bound)
    by_image = ["model", "model_seed", "example_id"]
    tried = rows[rows["status"].isin(["found", "not_found", "misclassified"])]
    images = tried.groupby(by_image, sort=False)[["size"]].min()
    images = images.join(rows.groupby(by_image)["bound"].min()).replace(-np.inf, np.nan)
    every = rows.groupby(by_image[:2], sort=False)["example_id"].nunique()
    finite = images["size"][np.isfinite(images["size"]) & (images["size"] > 0)]
    sizes = np.linspace(0, float(finite.quantile(0.99)) * 1.02 if len(finite) else 1.0, _STEPS)
    made = []
    for key, part in images.groupby(by_image[:2], sort=False):
        model, seed = key  # type: ignore[misc]
        values, bounds = part["size"].to_numpy(), part["bound"].to_numpy()
        right = (values[:, None] > sizes).sum(axis=0)
        low, high = wilson(right, np.full(len(sizes), len(values)))
        proven = (np.nan_to_num(bounds)[:, None] > sizes).mean(axis=0) if (bounds > 0).any() else np.nan
        frame = {
            "model": model,
            "model_seed": seed,
            "size": sizes,
            "rate": right / len(values),
            "low": low,
            "high": high,
        }
        left_out = int(every.loc[key]) - len(values)
        made.append(pd.DataFrame(frame | {"n": len(values), "proven": proven, "left_out": left_out}))
    columns = ["model", "model_seed", "size", "rate", "low", "high", "n", "proven", "left_out"]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)
