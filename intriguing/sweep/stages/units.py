"""The unit question (section 3): activations, scans, top inputs and their scores."""

import hashlib
from collections.abc import Iterator

from intriguing.engine.publish import slug
from intriguing.engine.task import Output, Task
from intriguing.sweep import functions
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.common import Trained, dataset_resource, part_of, shards_of


def units(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    """Collect, scan and score the layers that the spec names, for every model."""
    if spec.units is None:
        return
    for model in models:
        if model.layers:
            yield from _units_of(spec, model)


def _units_of(spec: Spec, model: Trained) -> Iterator[Task]:
    units = spec.units
    assert units is not None
    total = units.rows or model.dataset.sizes[units.split]
    shards = shards_of(total, spec.compute.rows_per_shard)
    compute = {"threads": spec.compute.threads, "slots": spec.compute.slots}
    drawn = {"split": units.split, "rows": total, "seed": spec.seed}
    for i, (start, stop) in enumerate(shards):
        yield Task(
            f"activations/{model.place}/{i:05d}",
            functions.ACTIVATIONS,
            {
                **model.keys,
                **drawn,
                **compute,
                "start": start,
                "stop": stop,
                "layers": list(model.layers),
                "dtype": units.dtype,
            },
            resources={"dataset": dataset_resource(model.dataset), "model": model.resource},
            publish={f"layer{j}": _activations_folder(model, layer) for j, layer in enumerate(model.layers)},
            affinity=model.place,
            shrink="slots",
            amount=stop - start,
            noun="images",
            rows={"activations": (stop - start) * len(model.layers)},
        )
    for j, layer in enumerate(model.layers):
        for basis in units.bases:
            scans = []
            for i in range(len(shards)):
                name = f"scan/{model.place}/{part_of(layer)}/{basis}/{i:05d}"
                scans.append(Output(name, "state"))
                yield Task(
                    name,
                    functions.SCAN,
                    {
                        "basis": basis,
                        "k": units.k,
                        "both": units.signs == "both",
                        "seed": spec.seed,
                        "threads": spec.compute.threads,
                    },
                    {"activations": Output(f"activations/{model.place}/{i:05d}", f"layer{j}")},
                    affinity=model.place,
                    noun="scans",
                )
            yield Task(
                f"top/{model.place}/{part_of(layer)}/{basis}",
                functions.TOP,
                {**model.keys, "layer": layer, "condition": "raw", "basis": basis, "classes": model.dataset.classes},
                {"states": scans, "examples": Output(f"examples/{part_of(model.dataset.name)}", "examples")},
                publish={"topk": "topk", "unit_scores": "unit_scores"},
                affinity=model.place,
            )


def _activations_folder(model: Trained, layer: str) -> str:
    name = f"{model.dataset.name}.{model.name}.{model.seed}.{layer}"
    return f"activations/{slug(name)}-{hashlib.blake2b(repr((model.keys, layer)).encode(), digest_size=4).hexdigest()}"
