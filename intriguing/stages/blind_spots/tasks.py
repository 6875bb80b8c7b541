"""The task that searches: a shard of attacked inputs, one target rule."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.blind_spots import SearchOptions, SearchResult, minimal_distortion
from intriguing.blind_spots.grades import GRADES
from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.stages.blind_spots import functions
from intriguing.stages.common.parameters import ModelKey
from intriguing.stages.common.resources import device, device_name
from intriguing.stages.common.sampling import attacked_positions, drawn_positions, random_targets

_STARTS, _PER_CLASS = 256, 2
"""Number of images that searches may start from, and smallest number of images per class of the split to have any."""


@functions.SEARCH.implementation
def search(work: Work, parameters: functions.SearchParameters) -> dict[str, pa.Table]:
    """Search for the smallest changes of a shard of the attacked inputs; `distortions`, `adversarial`."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.attacked.split]
    chosen = attacked_positions(rows, parameters.attacked, parameters.shard)
    ids, labels = rows.ids[chosen], rows.labels[chosen]
    options = SearchOptions(grade=parameters.grade, slots=parameters.compute.slots)
    images = rows.pixels_or_nan(chosen).to(device())  # one that cannot be read gets the status bad_input
    starts = _starts(rows, parameters)
    found = _Found(parameters, ids, labels, options)
    for classes in _targets(parameters, ids, labels):
        targets = torch.from_numpy(classes).to(device()) if isinstance(classes, np.ndarray) else classes
        found.add(
            minimal_distortion(
                work.resource("model"),
                images,
                torch.from_numpy(np.array(labels)).to(device()),
                targets,
                options,
                starts=starts,
            ),
            classes,
        )
    return found.tables()


def _starts(rows: Split, parameters: functions.SearchParameters) -> Callable[[], torch.Tensor] | None:
    """A function that reads images of the split from which searches may start: a draw by the spec's seed, the same for
    every shard. They are read once, and only where a search has a use for them.

    None for a grade that takes none, and where there are too few for most classes to have one.
    """
    if not GRADES[parameters.grade].starts or len(rows) < _PER_CLASS * parameters.classes:
        return None
    chosen = drawn_positions(rows.ids, _STARTS, parameters.attacked.seed, "starts of searches")
    return cache(lambda: rows.pixels_or_nan(chosen).to(device()))


def _targets(
    parameters: functions.SearchParameters, ids: np.ndarray, labels: np.ndarray
) -> Iterator[np.ndarray | str | None]:
    """What the images are searched with, one after the other: a class per image, `every`, or None for any."""
    match parameters.target_rule:
        case "random":
            yield random_targets(ids, labels, parameters.classes, parameters.attacked.seed)
        case "each":
            yield from ((labels + step) % parameters.classes for step in range(1, parameters.classes))
        case rule:
            yield "every" if rule == "every" else None


class _Found:
    """The searches of a shard as rows of `distortions` and `adversarial`."""

    def __init__(
        self, parameters: functions.SearchParameters, ids: np.ndarray, labels: np.ndarray, options: SearchOptions
    ) -> None:
        self._parameters, self._ids, self._labels, self._options = parameters, ids, labels, options
        self._rows: list[pa.Table] = []
        self._images: list[pa.Table] = []

    def add(self, result: SearchResult, targets: np.ndarray | str | None) -> None:
        """The searches of the shard with these targets. Of a search for each wrong class no image is kept."""
        parameters = self._parameters
        each = parameters.target_rule == "each"
        classes = targets.tolist() if isinstance(targets, np.ndarray) else [None] * len(self._ids)
        names = [f"{parameters.grade}/{parameters.target_rule}/{i}" for i in self._ids]
        names = [f"{name}/{target}" for name, target in zip(names, classes, strict=True)] if each else names
        columns = {
            "search_id": names,
            "example_id": self._ids,
            "label": self._labels,
            "target": classes,
            "status": result.status,
            "prediction": _classes(result.prediction),
            "clean_prediction": _classes(result.clean_prediction),
            **{name: _numbers(getattr(result, name)) for name in ("l2", "distortion", "linf", "penalty")},
            "forward_passes": result.forward_passes.tolist(),
            "backward_passes": result.backward_passes.tolist(),
            "lower_bound": _numbers(result.lower_bound),
        }
        rule, grade, form = parameters.target_rule, parameters.grade, self._options.penalty_form
        keys = {**parameters.key.columns, "target_rule": rule, "grade": grade, "penalty_form": form}
        self._rows.append(tables.DISTORTIONS.build(columns, **keys))
        self._images.append(_images(result, names, parameters.key, keep=not each))

    def tables(self) -> dict[str, pa.Table]:
        """Both tables."""
        return {"distortions": pa.concat_tables(self._rows), "adversarial": pa.concat_tables(self._images)}


def _images(result: SearchResult, names: list[str], key: ModelKey, keep: bool) -> pa.Table:
    kept = [i for i, status in enumerate(result.status) if keep and status in ("found", "misclassified")]
    images = result.adversarial[kept].cpu()
    flat = images.flatten(1)
    return tables.ADVERSARIAL.build(
        {
            "search_id": [names[i] for i in kept],
            "shape": [list(images.shape[1:])] * len(kept),
            "image": pa.ListArray.from_arrays(
                np.arange(len(kept) + 1, dtype=np.int32) * flat.shape[1], pa.array(flat.reshape(-1).numpy())
            ),
        },
        **key.columns,
    )


def _classes(classes: torch.Tensor) -> list[int | None]:
    return [None if c < 0 else c for c in classes.tolist()]


def _numbers(numbers: torch.Tensor) -> list[float | None]:
    return [None if x != x else x for x in numbers.tolist()]
