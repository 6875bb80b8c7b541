"""Answers of models that are planted, and the comparison of them, called by hand."""

import numpy as np
import pandas as pd
import pyarrow as pa

from intriguing.stages.paper import tasks
from intriguing.stages.paper.comparison.paper_tables import SIX, THREE

IMAGES = 200
NAMES = (*SIX, *THREE)


def described(name):
    part = {"P1": "1 of 2", "P2": "2 of 2"}.get(name.split()[-1], "")
    family = {"FC10(": "softmax", "AE400": "autoencoder"}.get(name[:5], "mlp")
    return [name, 0, family, name.split()[0], part]


class Hand:
    """What a worker gives the task: every model errs on 5 % unchanged; adversarial images fool 30 %, noise 8 %."""

    def __init__(self, names=NAMES, rate=lambda source, target: 0.3, kinds=("minimal", "gaussian", "amplified")):
        rng = np.random.default_rng(0)
        ids = np.arange(1000, 1000 + IMAGES)
        self.names = names
        clean = {name: rng.random(IMAGES) < 0.05 for name in names}
        rows = [pd.DataFrame({"model": n, "model_seed": 0, "example_id": ids, "is_error": clean[n]}) for n in names]
        self.inputs = {"clean": pd.concat(rows)}
        fed = []
        for source in names:
            for target in names:
                for kind in kinds:
                    p = 0.08 if kind == "gaussian" else 1.0 if source == target else rate(source, target)
                    p = min(1.0, 2 * p) if kind == "amplified" else p
                    wrong = clean[target] | (rng.random(IMAGES) < p)
                    about = {"kind": kind, "grade": "best", "target_rule": "random", "rms": 0.05}
                    keys = {"source_model": source, "source_seed": 0, "model": target, "model_seed": 0}
                    fed.append(pd.DataFrame({**about, **keys, "example_id": ids, "is_error": wrong}))
        self.inputs["changed"] = pd.concat(fed)
        self.inputs["noise"] = pd.concat(
            pd.DataFrame(
                {"model": n, "model_seed": 0, "size": size, "rms": 0.9 * size, "is_error": rng.random(IMAGES) < 0.1}
            )
            for n in names
            for size in (0.1, 0.3)
        )
        labels = ids % 10
        self.inputs["noise_rays"] = pd.DataFrame(
            [
                {
                    "model": n,
                    "model_seed": 0,
                    "example_id": i,
                    "label": label,
                    "sizes": [0.05, 0.1],
                    "predictions": [label, (label + (i % 20 == 0)) % 10],
                }
                for n in names
                for i, label in zip(ids.tolist(), labels.tolist(), strict=True)
            ]
        )
        searched = []
        for rule, spread in (("random", 1.0), ("each", 1.0)):
            for name in names:
                for step in range(9 if rule == "each" else 1):
                    about = {"model": name, "model_seed": 0, "grade": "best", "target_rule": rule, "status": "found"}
                    values = 0.05 + 0.001 * step * spread + 0.0001 * np.arange(IMAGES)
                    prediction = np.where(clean[name], (labels + 1) % 10, labels)
                    images = {"example_id": ids, "label": labels, "clean_prediction": prediction, "distortion": values}
                    searched.append(pd.DataFrame({**about, **images}))
        self.inputs["distortions"] = pd.concat(searched)
        self.inputs["models"] = pd.DataFrame(
            [
                {
                    "model": n,
                    "model_seed": 0,
                    "train_error": 0.001,
                    "test_error": 0.02,
                    "other_error": 0.025 if " P" in n else None,
                }
                for n in names
            ]
        )

    def tables(self, name, columns=None):
        frame = self.inputs.get(name)
        return (
            []
            if frame is None
            else [pa.Table.from_pandas(frame if columns is None else frame[columns], preserve_index=False)]
        )

    def each(self, name, columns=None):
        # In two parts, as several tasks make them.
        return [part for table in self.tables(name, columns) for part in (table.slice(0, 777), table.slice(777))]

    def table(self, name, columns=None):
        return self.tables(name, columns)[0]

    def compare(self, beside=True, amplified_rms=0.1):
        models = [described(name) for name in self.names]
        sizes = {"train": 60_000, "test": 10_000}
        parameters = {"dataset": "mnist", "models": models, "sizes": sizes, "beside": beside}
        parameters["amplified_rms"] = amplified_rms
        return tasks.compare(self, **parameters, source="mnist", seed=0, draws=400)

    def frames(self, beside=True):
        made = self.compare(beside)
        return made["paper_comparison"].to_pandas(), made["paper_claims"].to_pandas()
