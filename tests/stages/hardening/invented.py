"""A hardened run with invented figures: variants and seeds whose errors and distortions can be worked out by hand."""

import json

import numpy as np
import pyarrow.parquet as pq

from intriguing import tables

EPOCHS = 3
VARIANTS = {
    "weight decay": ("plain", [], 0.016, 0.040),
    "each layer": ("pools", ["input", "hidden"], 0.018, 0.044),
    "noise": ("noise", ["input", "hidden"], 0.017, 0.040),
    "pgd": ("pgd", [], 0.016, 0.072),
}
"""By name: method, layers, the last error and the last distortion, both of seed 0."""
RMS = {"each layer": [0.020, 0.050], "noise": [0.018, None]}


def row(variant, seed, epoch):
    """A row of `hardening`. Errors halve from epoch to epoch; distortions grow by a tenth of the last one."""
    method, layers, error, distortion = VARIANTS[variant]
    rms = distortion * (1 - 0.1 * (EPOCHS - epoch)) + 0.0001 * seed * (variant != "weight decay")
    each = [rms - 0.01, None if variant == "noise" else rms, rms + 0.01, *[3 * rms] * (epoch == EPOCHS)]
    return {
        "variant": variant,
        "model_seed": seed,
        "epoch": epoch,
        "network": f"net, {variant}",
        "method": method,
        "layers": layers,
        "train_error": 0.001,
        "error": error * 2 ** (EPOCHS - epoch) + 0.0002 * seed * (variant != "pgd"),
        "distortion": float(np.mean([value for value in each if value is not None])),
        "distortion_images": sum(value is not None for value in each),
        "distortions": each,
        "lower_bound": None,
        "bounded_images": 0,
        "fooled": None if variant == "weight decay" else 0.25,
        "fooled_of": 0 if variant == "weight decay" else 4,
        "cpu_seconds": 2.0 * epoch,
        "search_seconds": 0.5 * epoch if layers else 0.0,
        "searches": 10 * epoch if layers else 0,
        "pool_rms": RMS.get(variant, []),
    }


def make_run(root, variants=tuple(VARIANTS), seeds=(0, 1), left_out=()):
    """A run in `root`. left_out: (variant, seed, epoch) that are not measured yet."""
    rows = [row(v, s, n) for v in variants for s in seeds for n in range(1, EPOCHS + 1) if (v, s, n) not in left_out]
    same = {"dataset": "mnist", "model": "net", "below": "fixed", "split": "test", "images": 10_000}
    _write(root, tables.HARDENING, rows, **same)
    last = [
        {"model": one["network"], "model_seed": one["model_seed"], "test_error": one["error"], "parameters": 1}
        for one in rows
        if one["epoch"] == EPOCHS
    ]
    none = dict.fromkeys(("train_error", "train_part", "other_error"))
    _write(root, tables.MODELS, last, dataset="mnist", weights_hash="ab", **none)
    section = {"models": ["net"], "seeds": list(seeds), "trials": 9, "variants": {v: {} for v in variants}}
    spec = {"name": "invented", "datasets": ["mnist"], "models": {"net": {"layers": ["hidden"]}}, "hardening": section}
    (root / "plan.json").write_text(json.dumps({"spec": spec, "name": "invented", "tasks": 1}))
    return root


def _write(root, table, rows, **constants):
    folder = root / "tables" / table.name
    folder.mkdir(parents=True)
    built = table.build({name: [one[name] for one in rows] for name in rows[0]}, **constants)
    pq.write_table(built, folder / "part-00000-0000000000000000.parquet")
