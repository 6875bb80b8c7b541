"""A run folder with invented results, written through `intriguing.tables`: what results and report are tested against.

The images are digits drawn with jitter, the activations a random ReLU layer of them, the "adversarial" images smooth
noise. Nothing is searched for and no model is asked: the numbers mean nothing, but they agree with each other as a real
run's do.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from intriguing import tables

NASTY = 'a/b "quoted" <script>alert(1)</script> & $x_1$'
SIDE = 28


@cache
def glyph(example_id):
    """One drawn digit: (1, 28, 28) uint8; its class is the last figure of its id."""
    rng = np.random.default_rng(example_id)
    canvas = Image.new("L", (SIDE, SIDE))
    font = ImageFont.load_default(size=float(rng.uniform(19, 26)))
    at = (SIDE / 2 + rng.uniform(-2, 2), SIDE / 2 + rng.uniform(-2, 2))
    ImageDraw.Draw(canvas).text(at, str(example_id % 10), fill=255, font=font, anchor="mm")
    turned = canvas.rotate(rng.uniform(-20, 20), resample=Image.Resampling.BILINEAR)
    return np.asarray(turned, np.uint8)[None]


def images(dataset, ids):
    """The images of the run: (n, 1, 28, 28) uint8, the same for every data set."""
    return np.stack([glyph(int(i)) for i in ids])


PARTS = ("plan", "examples", "model_rows", "activation_rows", "topk", "scores", "searched", "words", "task_rows")


class SyntheticRun:
    """Writes a run folder: `write()` all of it, `write("plan", "topk")` parts of it, by the names of the methods."""

    def __init__(self, root, *, datasets=("glyphs",), models=("FC10", "007"), layers=("hidden", "logits"), seeds=None):
        self.root = Path(root)
        self.datasets = datasets
        self.models = [(m, s) for m in models for s in (seeds or {}).get(m, (1,))]
        self.names = list(dict.fromkeys(models))
        self.layers = layers
        self.searches = 24
        self.rules = (("untargeted", "best"),)
        self.ids = np.arange(80)
        self.errors = None
        self.rng = np.random.default_rng(0)
        self.rows: dict[tuple[str, str], list[pa.Table]] = {}

    def add(self, name, rows, folder=""):
        """Rows of a table, to be written by `write`."""
        self.rows.setdefault((name, folder), []).append(rows)

    def write(self, *parts):
        """The parts, in two shards per table, and the folder."""
        for part in parts or PARTS:
            getattr(self, part)()
        for (name, folder), pieces in self.rows.items():
            path = self.root / "tables" / name / folder
            path.mkdir(parents=True, exist_ok=True)
            rows, start = pa.concat_tables(pieces), len(list(path.iterdir()))
            middle = (len(rows) + 1) // 2
            for number, shard in enumerate((rows[:middle], rows[middle:]), start):
                pq.write_table(shard, path / f"part-{number:05d}-{number:016x}.parquet", compression="zstd")
        self.rows.clear()
        return self.root

    def plan(self):
        self.root.mkdir(parents=True, exist_ok=True)
        spec = {
            "name": "synthetic",
            "seed": 1,
            "datasets": list(self.datasets),
            "models": {m: {"layers": list(self.layers)} for m in self.names},
        }
        spec |= {"units": {"k": 8}, "blind_spots": {"searches": self.searches, "grades": ["best"]}}
        (self.root / "plan.json").write_text(json.dumps({"spec": spec, "name": "synthetic", "tasks": 42}))

    def each_model(self):
        return [(d, m, s) for d in self.datasets for m, s in self.models]

    def examples(self):
        for d in self.datasets:
            columns = {"example_id": self.ids, "label": self.ids % 10}
            self.add("examples", _table(tables.EXAMPLES, columns, dataset=d, split="test"))

    def model_rows(self):
        for i, (d, m, s) in enumerate(self.each_model()):
            row = {"weights_hash": f"{i:064x}", "parameters": 7850 * (i + 1), "test_error": 0.08 / (i + 1)}
            row |= {"test_error": self.errors[i]} if self.errors else {}
            row["train_error"] = None if i == 1 else 0.05 / (i + 1)
            self.add("models", _table(tables.MODELS, {}, dataset=d, model=m, model_seed=s, **row))

    def layer(self, index):
        """Activations (n, 16) of layer `index`."""
        x = images("", self.ids).reshape(len(self.ids), -1) / 255
        w = np.random.default_rng(100 + index).normal(0, 1, (x.shape[1], 16))
        return np.maximum((x - x.mean(0)) @ w, 0).astype(np.float32)

    def activation_rows(self):
        for d, m, s in self.each_model():
            for i, name in enumerate(self.layers):
                block = self.layer(i)[:, : 16 - 4 * i]
                table = tables.activations(block.shape[1], pa.float16() if i else pa.float32())
                vector = pa.array(
                    list(block.astype(np.float16 if i else np.float32)), table.schema.field("vector").type
                )
                columns = {"example_id": self.ids, "vector": vector}
                rows = _table(table, columns, dataset=d, model=m, model_seed=s, layer=name, position=0)
                self.add("activations", rows, f"folder-{len(self.rows)}")

    def topk(self, k=8):
        for d, m, s in self.each_model():
            for i, layer in enumerate(self.layers):
                block = self.layer(i)
                for basis, turn in (
                    ("natural", np.eye(16)),
                    ("gaussian", np.random.default_rng(7).normal(size=(16, 16))),
                ):
                    scores = block @ turn
                    for sign in (1, -1):
                        order = np.argsort(-sign * scores, axis=0, kind="stable")[:k].T.ravel()
                        direction = np.repeat(np.arange(16), k)
                        columns = {
                            "direction": direction,
                            "rank": np.tile(np.arange(1, k + 1), 16),
                            "example_id": self.ids[order],
                            "value": scores[order, direction].astype(np.float32),
                            "label": self.ids[order] % 10,
                        }
                        keys = {"dataset": d, "model": m, "model_seed": s, "layer": layer, "condition": "raw"}
                        keys |= {"basis": basis, "rotation_seed": 0, "sign": sign, "ties": 1, "position": 0}
                        self.add("topk", _table(tables.TOPK, columns, **keys))

    def skipped(self):
        """Three images without activations of each model, for two reasons."""
        for d, m, s in self.each_model():
            reasons = {
                "example_id": [70, 71, 72],
                "reason": ["the input is not finite"] * 2 + [f"cannot be read: {NASTY}"],
            }
            self.add("skipped", _table(tables.SKIPPED, reasons, dataset=d, model=m, model_seed=s))

    def scores(self):
        for d, m, s in self.each_model():
            for layer in self.layers[:1]:
                keys = {"dataset": d, "model": m, "model_seed": s, "layer": layer, "condition": "raw"}
                for basis in ("natural", "gaussian"):
                    for metric, centre in (("purity", 0.7), ("kurtosis", 2.6)):
                        values = centre + 0.1 * self.rng.normal(size=16)
                        columns = {"direction": np.arange(16), "value": values}
                        more = {"basis": basis, "rotation_seed": 0, "metric": metric, "n": 8}
                        self.add("unit_scores", _table(tables.UNIT_SCORES, columns, **keys, **more))
                for metric, natural, p in (("purity", 0.71, 0.32), ("kurtosis", 2.9, 0.004)):
                    null, sd = natural - (0.004 if p > 0.05 else 0.3), 0.05
                    row = {"natural": natural, "null_mean": null, "null_sd": sd, "rotations": 999, "n": 80}
                    row |= {
                        "low": natural - null - 0.1,
                        "high": natural - null + 0.1,
                        "p_high": p / 2,
                        "p_low": 1 - p / 2,
                    }
                    row |= {"p_two": p, "p_holm": min(1.0, 2 * p), "effect": (natural - null) / sd}
                    row |= {"detectable_effect": 2.8, "control": "trained", "metric": metric, "alpha": 0.0}
                    self.add("rotation_tests", _table(tables.ROTATION_TESTS, {}, **keys, **row))

    def smooth(self, rng):
        coarse = rng.normal(0, 60, (7, 7)).clip(-127, 127) + 128
        fine = Image.fromarray(coarse.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return (np.asarray(fine, np.float32)[None] - 128) / 255

    def searched(self):
        """`distortions`, `adversarial` and `transfer`, which must agree."""
        for d, m, s in self.each_model():
            for rule, grade in self.rules:
                self.search(d, m, s, rule, grade)
            for n in range(self.searches):
                self.feed(d, ("", -1), (m, s), [(f"clean:{n}", n, False)], "clean", 0.0, "", "")

    def search(self, d, m, s, rule, grade):
        done, found, pictures = [], [], []
        for n in range(self.searches):
            name, label = f"{rule}:{grade}:{n}", n % 10
            status = {5: "misclassified", 11: "not_found", 17: "bad_output"}.get(n, "found")
            rng = np.random.default_rng([n, self.models.index((m, s))])
            x = images(d, np.array([n]))[0].astype(np.float32) / 255
            image = np.clip(x + rng.lognormal(-1, 0.5) * self.smooth(rng), 0, 1)
            r = image - x
            row = {"search_id": name, "example_id": n, "label": label, "status": status, "target": None}
            row |= {"prediction": (label + 3) % 10, "clean_prediction": label, "l2": float(np.linalg.norm(r))}
            row |= {"distortion": float(np.sqrt((r**2).mean())), "linf": float(np.abs(r).max()), "penalty": 0.1}
            row |= {"forward_passes": 100 + n, "backward_passes": 50 + n, "lower_bound": None}
            if rule != "untargeted":
                row["target"] = (label + 3) % 10
            if status != "found":
                row |= dict.fromkeys(("prediction", "l2", "distortion", "linf", "penalty"))
            else:
                found.append((name, n, row["distortion"]))
                pictures.append({"search_id": name, "shape": [1, SIDE, SIDE], "image": image.ravel()})
            done.append(row)
        keys = {"dataset": d, "model": m, "model_seed": s}
        self.add(
            "distortions", _build(tables.DISTORTIONS, done, **keys, target_rule=rule, grade=grade, penalty_form="l2")
        )
        self.add("adversarial", _build(tables.ADVERSARIAL, pictures, **keys))
        unfinished = (f"{rule}:{grade}:5", 5, 0.0)
        for target in self.models:
            for kind, wrong in (("minimal", 0.3), ("amplified", 0.6), ("gaussian", 0.1)):
                fed = []
                for name, n, _ in [*found, unfinished]:
                    own = target == (m, s) and kind != "gaussian"
                    fed.append((name, n, (own or self.rng.uniform() < wrong) and n != 5))
                self.feed(d, (m, s), target, fed, kind, 0.1 if kind == "amplified" else 0.06, grade, rule)

    def feed(self, d, source, target, fed, kind, rms, grade, rule):
        """`fed`: (search_id, example_id, whether the target model is wrong)."""
        columns = {
            "search_id": [f[0] for f in fed],
            "example_id": [f[1] for f in fed],
            "label": [f[1] % 10 for f in fed],
            "prediction": [(f[1] + f[2]) % 10 for f in fed],
            "is_error": [bool(f[2]) for f in fed],
        }
        keys = {"dataset": d, "source_model": source[0], "source_seed": source[1], "model": target[0]}
        keys |= {"model_seed": target[1], "kind": kind, "rms": rms, "clipped_fraction": 0.2}
        self.add("transfer", _table(tables.TRANSFER, columns, **keys, grade=grade, target_rule=rule))

    def words(self):
        chosen = [
            ["million", "site", "come", "files"],
            ["wars", "troops", "border", "between"],
            ["<b>", "&", "$a$", "007"],
        ]
        for condition in ("raw", "l2"):
            for basis in ("natural", "gaussian"):
                keys = {"corpus": "text", "seed": 1, "fold": 4, "condition": condition, "basis": basis, "sign": 1}
                columns = {"direction": [0, 1, 2], "words": chosen, "npmi": [-0.1, 0.2, None]}
                columns |= {"matched_percentile": [40.0, 91.0, None], "median_count": [230.0, 52.0, 7.5]}
                self.add("word_rows", _table(tables.WORD_ROWS, columns, **keys))
            row = {"natural": -0.156, "null_mean": -0.166, "null_sd": 0.013, "rotations": 39, "n": 3055, "low": -0.02}
            row |= {"high": 0.04, "p_high": 0.275, "p_low": 0.75, "p_two": 0.55, "p_holm": 1.0, "effect": 0.77}
            row |= {"detectable_effect": 2.8, "control": "trained", "metric": "npmi", "alpha": 0.0}
            keys = {"corpus": "text", "seed": 1, "fold": 4, "condition": condition}
            self.add("word_tests", _table(tables.WORD_TESTS, {}, **keys, **row))
            strong = {"control": "varimax", "effect": 6.5, "p_holm": 0.002}
            self.add("word_tests", _table(tables.WORD_TESTS, {}, **keys, **row | strong))
            dealt = {"control": "permuted_words", "natural": 0.2, "null_mean": 0.05, "n": 5}
            self.add("word_tests", _table(tables.WORD_TESTS, {}, **keys, **row | dealt))
            matched = {"metric": "npmi_matched", "natural": 0.021, "null_mean": 0.019, "null_sd": 0.004}
            self.add("word_tests", _table(tables.WORD_TESTS, {}, **keys, **row | matched))
            chance = {"control": "chance", "metric": "intrusion_npmi", "natural": 0.3, "null_mean": 1 / 6, "n": 200}
            self.add("word_tests", _table(tables.WORD_TESTS, {}, **keys, **row | chance))
        keys = {"corpus": "text", "seed": 1, "fold": 4}
        deals = row | dealt | {"condition": "all", "metric": "any"}
        self.add("word_tests", _table(tables.WORD_TESTS, {}, **keys, **deals))
        self.add(
            "word_verdicts", tables.WORD_VERDICTS.build({}, corpus="text", verdict="Nothing <b>new</b> was found.")
        )
        made = {"made_by": "gensim Word2Vec", "words": 4000, "dimension": 100, "held_out_words": 9, "unjudged_words": 5}
        made |= {"remarks": '{"constant_vectors": 3, "words_in_another_normal_form": 1200}'}
        made |= {"skipped": '{"empty_lines": 12, "split_lines": 0}', "reproducible": False, "norm_count_spearman": 0.83}
        self.add("word_vectors", _table(tables.WORD_VECTORS, {}, **keys, **made))
        norms = {"stratum": [0, 1], "count_low": [50, 5], "count_high": [900, 49], "words": [55, 3000]}
        norms |= {"norm_low": [2.0, 0.1], "norm_median": [3.0, 0.3], "norm_high": [4.0, 0.7]}
        self.add("word_norms", tables.WORD_NORMS.build(norms, **keys))

    def task_rows(self):
        row = {"function": "f", "fingerprint": "0" * 64, "attempts": 1, "worker": "inline", "device": "cpu"}
        columns = {"task": [f"t{i}" for i in range(42)], "seconds": np.full(42, 0.5)}
        self.add("tasks", _table(tables.TASKS, columns, **row, peak_memory=10**9))

    def failures(self):
        row = {"function": "intriguing.sweep.tasks.search", "attempts": 3, "error_type": "ModelError"}
        row |= {"message": "The logits of <i>FC10</i> are not finite.", "rerun_command": "intriguing run synthetic"}
        self.add("failures", _table(tables.FAILURES, {}, task='search "FC10" 3', **row))


def _table(table, columns, **constants):
    """`table.build`, with nulls in the columns that are not given and may be null."""
    unknown = [f.name for f in table.fields if f.nullable and f.name not in columns and f.name not in constants]
    return table.build(columns, **constants, **dict.fromkeys(unknown))


def _build(table, rows, **constants):
    return _table(table, {name: [row[name] for row in rows] for name in rows[0]}, **constants)


def make_run(root, words=True, **choices):
    """A whole run in the new folder `root`; `choices` as in `SyntheticRun`."""
    return SyntheticRun(root, **choices).write(*(part for part in PARTS if words or part != "words"))
