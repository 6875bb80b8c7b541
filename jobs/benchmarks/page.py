"""The page of the largest run: seconds, memory and bytes to write it, and how soon a browser shows it.

    python jobs/benchmark.py page [--models 20] [--searches 10000] [--fed 1000] [--layers 50] [--units 512]
                                  [--folder DIR] [--site]

The run is invented: its tables have the rows that a run of this size has, in files as a sweep publishes them (a file a
task, and parts of 400 where there are more than 1,000), filled by a generator of random numbers. `--layers` are those
of all models together (`--layers 1000`: 50 of each of 20 models); `--fed` is how many of a model's searches are fed to
the others. Images are drawn digits of 28 x 28. The page is written in a process of its own, whose CPU-seconds and
largest resident memory are told; so is the CPU time of `intriguing status` and of every `intriguing show`. Where there
is a Chromium the first paint is measured, from the start of loading, with what it takes to draw the first page of
units.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from intriguing import tables
from intriguing.basics.table import Table
from intriguing.engine.storage.publish import LARGE, MOST_SHARDS

ROOT = Path(__file__).resolve().parents[2]
_IMAGES, _PIXELS, _K, _BINS = 10_000, 784, 16, 32
_SHARD, _PART = 256, 400
_METRICS = ("purity", "entropy", "enrichment", "auroc", "kurtosis", "interpretability", "intruder")
_SIZES = (0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
_SHOWN = (
    "verdicts",
    "units",
    "distortions",
    "transfer",
    "stability",
    "failures",
    "models",
    "topk",
    "rays",
    "tasks",
)
_WRITE = """
import sys
from pathlib import Path
from tests.synthetic_run import images
from intriguing.sweep.reporting.page import write_report, write_site
write = write_site if sys.argv[3] == "site" else write_report
print(write(sys.argv[1], sys.argv[2], images=images))
"""


def main(argv: list[str]) -> None:
    """Make the run, write its page, and print the measures as a table."""
    parser = argparse.ArgumentParser(prog="benchmark.py page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--searches", type=int, default=10_000, help="of each model")
    parser.add_argument("--fed", type=int, default=1_000, help="searches of each model that are fed to the others")
    parser.add_argument("--layers", type=int, default=50, help="of all models together")
    parser.add_argument("--units", type=int, default=512, help="of a layer")
    parser.add_argument("--folder", help="where to make the run, and to leave it; by default a folder that is removed")
    parser.add_argument("--site", action="store_true", help="the folder form in place of one file")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(chosen.folder or temporary)
        if not (root / "run" / "plan.json").exists():
            InventedRun(root / "run", chosen).write()
        _measure(root, "site" if chosen.site else "file")


def _measure(root: Path, form: str) -> None:
    out = root / ("site" if form == "site" else "report.html")
    rows = [("what", "asked", "reached")]
    seconds, memory = _run([sys.executable, "-c", _WRITE, str(root / "run"), str(out), form])
    rows += [("writing it, CPU-seconds", "60", f"{seconds:.1f}"), ("largest memory, GB", "1", f"{memory / 1e9:.2f}")]
    page = out / "index.html" if form == "site" else out
    files = [file for file in out.rglob("*") if file.is_file()] if form == "site" else [out]
    rows += [("size, MB", "15" if form == "file" else "–", f"{sum(file.stat().st_size for file in files) / 1e6:.1f}")]
    for command, *what in (["status"], ["show"], *(["show", name] for name in _SHOWN)):
        spent, _ = _run([sys.executable, "-m", "intriguing", command, str(root / "run"), *what])
        rows.append((f"intriguing {' '.join([command, 'RUN', *what])}, CPU-seconds", "2", f"{spent:.2f}"))
    rows += _painted(page)
    for row in rows:
        print("| " + " | ".join(row) + " |")
        if row[0] == "what":
            print("|---|---|---|")


def _run(command: list[str]) -> tuple[float, int]:
    """CPU-seconds and largest resident memory in bytes of a process."""
    done = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(done.pid, 0)
    if status:
        raise SystemExit(f"{command} failed: {status}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _painted(page: Path) -> list[tuple[str, str, str]]:
    """First paint and the first page of units in a browser, in seconds since the start of loading; or why not."""
    sys.path.insert(0, str(ROOT))
    from tests.browser import Browser, chromium

    if chromium() is None:
        return [("first paint, s", "1", "no Chromium here")]
    browser = Browser()
    try:
        browser.open(page)
        paint = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)[0]"
        browser.until(f"{paint} > 0")
        first = browser.do(paint) / 1000
        began = time.perf_counter()
        browser.do("document.getElementById('units').scrollIntoView()")
        browser.until("document.querySelectorAll('#units-explorer .tile').length > 20")
        return [
            ("first paint, s", "1", f"{first:.2f}"),
            ("units drawn after scrolling, s", "–", f"{time.perf_counter() - began:.2f}"),
        ]
    finally:
        browser.close()


class InventedRun:
    """A run folder with tables of the chosen size."""

    def __init__(self, root: Path, chosen: argparse.Namespace) -> None:
        self.root, self.chosen = root, chosen
        self.rng = np.random.default_rng(0)
        self.models = [f"net{i:02d}" for i in range(chosen.models)]
        self.layers = [
            (self.models[i % chosen.models], f"block{i // chosen.models}.conv") for i in range(chosen.layers)
        ]
        self.files, self.tests = 0, list[dict[str, Any]]()

    def write(self) -> None:
        """All of it."""
        self.root.mkdir(parents=True)
        models = {m: {"layers": [layer for model, layer in self.layers if model == m]} for m in self.models}
        spec = {"name": "largest", "seed": 0, "datasets": {"glyphs": {}}, "models": models}
        spec |= {
            "units": {"k": _K, "reduce": "max", "rotations": 999, "signs": "both"},
            "blind_spots": {},
            "stability": {},
            "transfer": {},
        }
        ids = np.arange(_IMAGES)
        self.add(
            tables.EXAMPLES, {"example_id": ids, "label": ids % 10}, dataset="glyphs", split="test", class_name=None
        )
        for model in self.models:
            self.add(
                tables.MODELS, {}, dataset="glyphs", model=model, model_seed=0, weights_hash="0" * 64, parameters=10**6
            )
            self.searches(model)
            self.norms(model)
            self.fed(model)
        for model, layer in self.layers:
            self.units(model, layer)
        columns = {name: [test[name] for test in self.tests] for name in self.tests[0]}
        self.add(tables.ROTATION_TESTS, columns, alpha=0.0, rotations=999)
        self.compact()
        count = 40 * self.files
        keys = {"function": "f", "fingerprint": "0" * 64, "attempts": 1, "worker": "inline", "device": "cpu"}
        self.add(tables.TASKS, {"task": [f"t{i}" for i in range(count)]}, seconds=0.5, peak_memory=10**9, **keys)
        plan = {"spec": spec, "name": "largest", "tasks": count}
        (self.root / "plan.json").write_text(json.dumps(plan))

    def compact(self) -> None:
        """Tables of many files in parts but for large files, as a sweep publishes them."""
        for folder in (self.root / "tables").iterdir():
            files = sorted(folder.iterdir())
            small = [file for file in files if file.stat().st_size <= LARGE]
            for begin in range(0, len(small), _PART) if len(files) > MOST_SHARDS else ():
                shards = small[begin : begin + _PART]
                rows = pa.concat_tables([pq.read_table(shard) for shard in shards])
                for shard in shards:
                    shard.unlink()
                pq.write_table(rows, shards[0], compression="zstd")

    def add(self, table: Table, *parts: dict[str, Any], **constants: Any) -> None:
        """A shard of a table, of these rows one below the other; columns that may be null and are not given are."""
        columns, *more = parts
        absent = [f.name for f in table.fields if f.nullable and f.name not in columns and f.name not in constants]
        folder = self.root / "tables" / table.name
        folder.mkdir(parents=True, exist_ok=True)
        rows = pa.concat_tables(table.build(c, **constants, **dict.fromkeys(absent)) for c in (columns, *more))
        self.files += 1
        pq.write_table(rows, folder / f"part-{self.files:05d}-{self.files:016x}.parquet", compression="zstd")

    def searches(self, model: str) -> None:
        """The searches of a model, and what they found."""
        n, rng = self.chosen.searches, self.rng
        size = rng.lognormal(-3, 0.5, n).astype(np.float32)
        status = rng.choice(["found", "misclassified", "not_found"], n, p=[0.95, 0.04, 0.01])
        found = status == "found"
        label = np.arange(n) % 10
        columns: dict[str, Any] = {"search_id": [f"best/untargeted/{i}" for i in range(n)], "example_id": np.arange(n)}
        columns |= {"label": label, "status": status, "clean_prediction": (label + (status == "misclassified")) % 10}
        columns["prediction"] = _where(found, (label + rng.integers(1, 10, n)) % 10)
        columns |= {
            name: _where(found, size * factor) for name, factor in (("distortion", 1.0), ("l2", 28.0), ("linf", 4.0))
        }
        share = rng.uniform(0.1, 1, n)
        columns["lower_bound"] = _where(found, size * 28 * share)
        proven = {name: columns[name] for name in ("search_id", "example_id", "status", "l2", "lower_bound")}
        proven |= {"share": _where(found, share), "is_optimal": share > 0.999}
        keys = {"dataset": "glyphs", "model": model, "model_seed": 0}
        more = {
            "target_rule": "untargeted",
            "grade": "best",
            "penalty_form": "l2",
            "forward_passes": 200,
            "backward_passes": 100,
        }
        for begin in range(0, n, _SHARD):
            self.add(tables.DISTORTIONS, {k: v[begin : begin + _SHARD] for k, v in columns.items()}, **keys, **more)
            kind = {"target_rule": "untargeted", "grade": "best", "method": "lines", "reason": ""}
            self.add(tables.CERTIFICATES, {k: v[begin : begin + _SHARD] for k, v in proven.items()}, **keys, **kind)
            self.found(keys, columns["search_id"][begin : begin + _SHARD], found[begin : begin + _SHARD])

    def norms(self, model: str) -> None:
        """The norms of the model's layers, as many as are looked at."""
        n = max(1, self.chosen.layers // self.chosen.models)
        norm = self.rng.uniform(1, 9, n)
        columns = {"position": np.arange(n), "layer": [f"block{i}.conv" for i in range(n)], "norm": norm}
        columns |= {"upper_bound": norm * 1.01, "printed": norm / 2, "share": np.full(n, 1 / n)}
        columns |= {"product_bound": np.exp(np.cumsum(np.log(norm * 1.01))), "residual": np.zeros(n)}
        shapes = {"stride": [[1, 1]] * n, "input_shape": [[8, 14, 14]] * n}
        keys = {"dataset": "glyphs", "model": model, "model_seed": 0, "kind": "convolution"}
        self.add(tables.OPERATOR_NORMS, columns | shapes, **keys)

    def found(self, keys: dict[str, Any], searches: list[str], found: np.ndarray) -> None:
        """What a shard of searches found: the image with smooth noise."""
        n, rng = len(searches), self.rng
        noise = rng.integers(0, 64, (n, _PIXELS), np.uint8).astype(np.float32) / 255
        images = pa.array(noise[found].ravel())
        ends = np.arange(found.sum() + 1, dtype=np.int32) * _PIXELS
        kept = [name for name, there in zip(searches, found, strict=True) if there]
        shapes = pa.array([[1, 28, 28]] * len(kept), pa.list_(pa.int32()))
        self.add(
            tables.ADVERSARIAL,
            {"search_id": kept, "shape": shapes, "image": pa.ListArray.from_arrays(ends, images)},
            **keys,
        )

    def fed(self, model: str) -> None:
        """What the model says to images of every kind: its own changes and noise of their size go to every model."""
        kinds = {"minimal": 0.3, "gaussian": 0.1}
        more = {"grade": "best", "target_rule": "untargeted", "rms": 0.06, "clipped_fraction": 0.1}
        for target in self.models:
            keys = {"dataset": "glyphs", "source_model": model, "source_seed": 0, "model": target, "model_seed": 0}
            for ids in _shards(min(self.chosen.fed, self.chosen.searches)):
                each = [{"kind": [kind] * len(ids), **self.answers(ids, wrong)} for kind, wrong in kinds.items()]
                self.add(tables.TRANSFER, *each, **keys, **more)
                self.rays(ids, keys | {"grade": "best", "target_rule": "untargeted", "kind": "adversarial"})
        keys = {"dataset": "glyphs", "source_model": "", "source_seed": -1, "model": model, "model_seed": 0}
        keys |= {"grade": "", "target_rule": ""}
        for ids in _shards(self.chosen.searches):
            self.add(tables.TRANSFER, self.answers(ids, 0.02), **keys, kind="clean", rms=0.0, clipped_fraction=0.0)
            sizes = [
                self.answers(ids, size) | {"size": [size] * len(ids), "search_id": [f"noise/{size}/{i}" for i in ids]}
                for size in (0.1, 0.3)
            ]
            self.add(tables.TRANSFER, *sizes, **keys, kind="noise", rms=0.1, clipped_fraction=0.1)
            self.rays(ids, keys | {"kind": "gaussian"})

    def answers(self, ids: np.ndarray, wrong: float) -> dict[str, Any]:
        """What a model says to the images with these ids, of which it gets this share wrong."""
        errors, labels = self.rng.random(len(ids)) < wrong, ids % 10
        names = [f"best/untargeted/{i}" for i in ids]
        said = {"prediction": (labels + errors) % 10, "is_error": errors}
        return {"search_id": names, "example_id": ids, "label": labels, **said}

    def rays(self, ids: np.ndarray, keys: dict[str, Any]) -> None:
        """Rays of these images, followed to where the model is wrong: an error once, and from there on."""
        crossing = self.rng.lognormal(-2, 0.7, len(ids)).astype(np.float32)
        rms = np.tile(np.array(_SIZES, np.float32), (len(ids), 1))
        labels, crossed = ids % 10, crossing < 0.5
        columns: dict[str, Any] = {"search_id": [f"best/untargeted/{i}" for i in ids], "example_id": ids}
        columns |= {"label": labels, "clean_error": self.rng.random(len(ids)) < 0.02}
        columns |= {name: _lists(rms, pa.float32()) for name in ("sizes", "rms")}
        columns["predictions"] = _lists((labels[:, None] + (rms > crossing[:, None])) % 10, pa.int64())
        columns["status"] = np.where(columns["clean_error"], "wrong_before", np.where(crossed, "crossed", "never"))
        met = (columns["status"] == "crossed", crossing)
        self.add(
            tables.RAYS, columns | {"crossing": _where(*met), "right_below": _where(*met)}, **keys, forward_passes=20
        )

    def units(self, model: str, layer: str) -> None:
        """A layer: top inputs of both signs, scores, histograms, tests, and what its places can see."""
        m, rng = self.chosen.units, self.rng
        keys = {"dataset": "glyphs", "model": model, "model_seed": 0, "layer": layer}
        side = np.arange(49) // 7 * 3
        boxes = {"top": side, "bottom": side + 10, "left": np.arange(49) % 7 * 3, "right": np.arange(49) % 7 * 3 + 10}
        self.add(tables.RECEPTIVE_FIELDS, {"position": np.arange(49), **boxes}, **keys)
        keys |= {"condition": "raw"}
        for basis in ("natural", "gaussian"):
            values = np.sort(rng.gamma(2, 1, (m, 2, _K)).astype(np.float32), axis=2)[:, :, ::-1]
            direction, sign, rank = (part.ravel() for part in np.indices((m, 2, _K)))
            ids = rng.integers(0, _IMAGES, m * 2 * _K)
            columns = {
                "direction": direction,
                "sign": 1 - 2 * sign,
                "rank": rank + 1,
                "example_id": ids,
                "label": ids % 10,
            }
            columns |= {"value": values.ravel(), "position": rng.integers(0, 49, len(ids))}
            self.add(tables.TOPK, columns, **keys, basis=basis, rotation_seed=0, ties=1)
            scores = [
                {"direction": np.arange(m), "value": rng.gamma(2, 1, m), "metric": [metric] * m} for metric in _METRICS
            ]
            self.add(tables.UNIT_SCORES, *scores, **keys, basis=basis, rotation_seed=0, n=10_000)
            counts = pa.ListArray.from_arrays(
                np.arange(m + 1, dtype=np.int32) * _BINS, rng.poisson(64, m * _BINS).astype(np.int32)
            )
            spread = {"direction": np.arange(m), "low": np.zeros(m), "high": values[:, 0, 0], "counts": counts}
            self.add(tables.UNIT_HISTOGRAMS, spread, **keys, basis=basis, rotation_seed=0, zeros=100, n=2_048)
        for control, metric in ((c, s) for c in ("trained", "random_init", "shuffled_labels") for s in _METRICS):
            test = {"natural": 0.7, "null_mean": 0.6, "null_sd": 0.02, "effect": float(rng.normal(0, 3)), "n": 10_000}
            test |= {"low": 0.05, "high": 0.15, "p_high": 0.01, "p_low": 0.99, "p_two": 0.02, "p_holm": 0.04}
            self.tests.append(keys | test | {"control": control, "metric": metric})


def _shards(count: int) -> list[np.ndarray]:
    """The numbers below `count`, as the shards of a sweep have them."""
    return [np.arange(begin, min(begin + _SHARD, count)) for begin in range(0, count, _SHARD)]


def _lists(rows: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    """A list per row of a matrix."""
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(ends, pa.array(rows.ravel(), kind))


def _where(there: np.ndarray, values: np.ndarray) -> pa.Array:
    """Values, and null where there is none."""
    return pa.array(values, mask=~there)
