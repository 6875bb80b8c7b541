"""The plan: reading this page is reading what a sweep does, in the paper's order.

Plain functions build the graph of tasks from a spec and the facts of its data sets; nothing is computed here, and
neither torch nor a data set's pixels are needed. Dependencies are per shard: a transfer cell starts when its first
shard of adversarial images is there.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from intriguing.engine.publish import slug
from intriguing.engine.task import Output, Plan, Resource, Task
from intriguing.errors import SpecError, unknown_name
from intriguing.sweep import functions
from intriguing.sweep.facts import DatasetFacts, ModelFacts
from intriguing.sweep.spec import Spec

_RESOURCES = "intriguing.sweep.resources"


@dataclass(frozen=True)
class Trained:
    """A model that the plan trains or loads, with what other tasks need of it."""

    dataset: DatasetFacts
    name: str
    seed: int
    layers: tuple[str, ...]
    weights: Output
    resource: Resource

    @property
    def place(self) -> str:
        """The model's part of a task's name."""
        return f"{_part(self.dataset.name)}/{_part(self.name)}/{self.seed}"

    @property
    def keys(self) -> dict[str, str | int]:
        """The columns that name the model in a table."""
        return {"dataset": self.dataset.name, "model": self.name, "model_seed": self.seed}


def build_plan(spec: Spec, datasets: Mapping[str, DatasetFacts], models: Mapping[str, ModelFacts]) -> Plan:
    """All tasks of `spec`, each after the ones it needs.

    Raises:
        SpecError: the spec asks for more than its data sets hold; the message names the key.
    """
    _check(spec, datasets)
    trained = list(_models(spec, datasets, models))
    return Plan(
        [
            *(_examples(spec, facts) for facts in datasets.values()),
            *(task for _, task in trained),
            *_units(spec, [model for model, _ in trained]),
            *_blind_spots(spec, [model for model, _ in trained]),
            *_transfer(spec, [model for model, _ in trained]),
        ]
    )


# --- data and models ---------------------------------------------------------------------------------------------


def _examples(spec: Spec, facts: DatasetFacts) -> Task:
    rows = sum(facts.sizes.values())
    return Task(
        f"examples/{_part(facts.name)}",
        functions.EXAMPLES,
        {"dataset": facts.name},
        resources={"dataset": _dataset(facts)},
        publish={"examples": "examples"},
        affinity=facts.content_hash,
        rows={"examples": rows},
        size=rows * 4,
    )


def _models(
    spec: Spec, datasets: Mapping[str, DatasetFacts], models: Mapping[str, ModelFacts]
) -> Iterator[tuple[Trained, Task]]:
    for name, model in spec.models.items():
        for dataset in model.datasets or spec.datasets:
            facts = datasets[dataset]
            built = {
                "architecture": model.architecture or name,
                "options": model.options,
                "shape": list(facts.shape),
                "classes": facts.classes,
                "source_hash": models[name].source_hash,
            }
            for seed in model.seeds or spec.model_seeds:
                place = f"{_part(dataset)}/{_part(name)}/{seed}"
                yield _model(spec, facts, name, seed, built, models[name], place)


def _model(
    spec: Spec, facts: DatasetFacts, name: str, seed: int, built: dict, model: ModelFacts, place: str
) -> tuple[Trained, Task]:
    keys = {"dataset": facts.name, "model": name, "model_seed": seed}
    parameters = {**keys, **built, "threads": spec.compute.threads, "slots": spec.compute.slots}
    resources = {"dataset": _dataset(facts)}
    if model.weights_hash:
        kept = {"sha256": model.weights_hash}
        resources["weights"] = Resource(f"{_RESOURCES}:weights_file", kept, location={"path": model.weights_path})
        function = functions.LOAD
    else:
        parameters["training"] = spec.models[name].training
        function = functions.TRAIN
    task = Task(
        f"model/{place}",
        function,
        parameters,
        resources=resources,
        publish={"models": "models"},
        affinity=facts.content_hash,
        noun="models",
        rows={"models": 1},
    )
    weights = Output(task.name, "weights")
    resource = Resource(f"{_RESOURCES}:model", built, {"weights": weights})
    return Trained(facts, name, seed, tuple(spec.models[name].layers), weights, resource), task


# --- units (section 3) -------------------------------------------------------------------------------------------


def _units(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    if spec.units is None:
        return
    for model in models:
        if model.layers:
            yield from _units_of(spec, model)


def _units_of(spec: Spec, model: Trained) -> Iterator[Task]:
    units = spec.units
    assert units is not None
    total = units.rows or model.dataset.sizes[units.split]
    shards = _shards(total, spec.compute.rows_per_shard)
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
            resources={"dataset": _dataset(model.dataset), "model": model.resource},
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
                name = f"scan/{model.place}/{_part(layer)}/{basis}/{i:05d}"
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
                f"top/{model.place}/{_part(layer)}/{basis}",
                functions.TOP,
                {**model.keys, "layer": layer, "condition": "raw", "basis": basis, "classes": model.dataset.classes},
                {"states": scans, "examples": Output(f"examples/{_part(model.dataset.name)}", "examples")},
                publish={"topk": "topk", "unit_scores": "unit_scores"},
                affinity=model.place,
            )


def _activations_folder(model: Trained, layer: str) -> str:
    name = f"{model.dataset.name}.{model.name}.{model.seed}.{layer}"
    return f"activations/{slug(name)}-{hashlib.blake2b(repr((model.keys, layer)).encode(), digest_size=4).hexdigest()}"


# --- blind spots (section 4) -------------------------------------------------------------------------------------


def _blind_spots(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    attack = spec.blind_spots
    if attack is None:
        return
    for model in models:
        for rule in attack.target_rules:
            for i, (start, stop) in enumerate(_searches(spec)):
                yield Task(
                    _search_name(model, rule, i),
                    functions.SEARCH,
                    {**model.keys, **_attacked(spec, start, stop), "target_rule": rule, "grade": attack.grade}
                    | {"classes": model.dataset.classes, "threads": spec.compute.threads, "slots": spec.compute.slots},
                    resources={"dataset": _dataset(model.dataset), "model": model.resource},
                    publish={"distortions": "distortions", "adversarial": "adversarial"},
                    affinity=model.place,
                    shrink="slots",
                    amount=stop - start,
                    noun="searches",
                    rows={"distortions": stop - start, "adversarial": stop - start},
                    size=(stop - start) * model.dataset.values * 4,
                )


def _transfer(spec: Spec, models: list[Trained]) -> Iterator[Task]:
    """Tables 2 and 4: every model is fed what was made for every model of its data set."""
    attack, transfer = spec.blind_spots, spec.transfer
    if attack is None or transfer is None:
        return
    compute = {"threads": spec.compute.threads, "slots": spec.compute.slots}
    shards = _searches(spec)
    for target in models:
        resources = {"dataset": _dataset(target.dataset), "model": target.resource}
        for i, (start, stop) in enumerate(shards):
            yield Task(
                f"clean/{target.place}/{i:05d}",
                functions.CLEAN,
                {**target.keys, **_attacked(spec, start, stop), **compute},
                resources=resources,
                publish={"transfer": "transfer"},
                affinity=target.place,
                amount=stop - start,
                noun="fed images",
                rows={"transfer": stop - start},
            )
        for source in models:
            if source.dataset.name != target.dataset.name:
                continue
            for rule in attack.target_rules:
                for i, (start, stop) in enumerate(shards):
                    search = _search_name(source, rule, i)
                    amount = (stop - start) * len(transfer.kinds)
                    yield Task(
                        f"transfer/{source.place}/{rule}/{i:05d}/to/{_part(target.name)}/{target.seed}",
                        functions.FEED,
                        {
                            **target.keys,
                            **compute,
                            "source_model": source.name,
                            "source_seed": source.seed,
                            "split": attack.split,
                            "kinds": list(transfer.kinds),
                            "seed": spec.seed,
                        },
                        {"distortions": Output(search, "distortions"), "adversarial": Output(search, "adversarial")},
                        resources,
                        {"transfer": "transfer"},
                        affinity=target.place,
                        amount=amount,
                        noun="fed images",
                        rows={"transfer": amount},
                    )


def _search_name(model: Trained, rule: str, shard: int) -> str:
    return f"search/{model.place}/{rule}/{shard:05d}"


def _searches(spec: Spec) -> list[tuple[int, int]]:
    assert spec.blind_spots is not None
    return _shards(spec.blind_spots.images, spec.compute.searches_per_shard)


def _attacked(spec: Spec, start: int, stop: int) -> dict[str, str | int]:
    attack = spec.blind_spots
    assert attack is not None
    return {"split": attack.split, "images": attack.images, "seed": spec.seed, "start": start, "stop": stop}


# --- shared ------------------------------------------------------------------------------------------------------


def _dataset(facts: DatasetFacts) -> Resource:
    return Resource(
        f"{_RESOURCES}:dataset",
        {"source": facts.source, "content_hash": facts.content_hash},
        location={"root": facts.root},
    )


def _shards(total: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def _part(name: str) -> str:
    """`name` as a part of a task's name, which slashes separate."""
    return quote(name, safe=" ()[],;:+=@!$&'*")


def _check(spec: Spec, datasets: Mapping[str, DatasetFacts]) -> None:
    sections = {"units": spec.units, "blind_spots": spec.blind_spots}
    for facts in datasets.values():
        for name, section in sections.items():
            if section is None:
                continue
            if section.split not in facts.sizes:
                raise SpecError(f"{name}.split: {unknown_name(f'split of {facts.name!r}', section.split, facts.sizes)}")
            size = facts.sizes[section.split]
            asked = {"rows": spec.units.rows or 0, "k": spec.units.k} if name == "units" and spec.units else {}
            if name == "blind_spots" and spec.blind_spots:
                asked = {"images": spec.blind_spots.images}
            limit = min(size, spec.units.rows or size) if name == "units" and spec.units else size
            for key, value in asked.items():
                most = limit if key == "k" else size
                if value > most:
                    raise SpecError(
                        f"{name}.{key} is {value}, and only {most} inputs of {facts.name!r} ({section.split} split) "
                        f"are there to choose from. Write at most {most}."
                    )
