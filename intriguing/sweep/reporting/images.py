"""Where a report's pictures come from: the data sets of a run that is being made, or those that a run folder names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from intriguing.data import is_users_code
from intriguing.errors import DataError, InputError, IntriguingError
from intriguing.stages.common.planned import PlannedDataset

Images = Callable[[str, Any], Any]
"""images(data set, ids) -> float32 (n, C, H, W); `DataError` says why they are left out."""


@dataclass(frozen=True)
class Source:
    """A data set to read images from: its source, where it lies, and the hash of what the run saw ("": any)."""

    source: str
    root: str | None = None
    content_hash: str = ""

    @property
    def is_code(self) -> bool:
        """Whether reading it runs a function of the user's, `module:factory`."""
        return is_users_code(self.source)


def sources_of(datasets: Mapping[str, PlannedDataset]) -> dict[str, Source]:
    """The sources of data sets that a plan knows."""
    return {name: Source(d.source, d.root, d.content_hash) for name, d in datasets.items()}


def saved_sources(
    saved: Mapping[str, Mapping[str, Any]], spec: Mapping[str, Any], root: str | None
) -> dict[str, Source]:
    """The sources that a run folder's plan.json names (`saved`); in older folders, those of its `spec`.

    `root` comes before what the folder says.
    """
    listed = spec.get("datasets")
    descriptions = saved or {
        name: {"source": about.get("source") or name, "root": about.get("root")}
        for name, about in (listed.items() if isinstance(listed, Mapping) else ())
        if isinstance(about, Mapping)
    }
    sources = {}
    for name, about in descriptions.items():
        source, where, content = (about.get(key) or "" for key in ("source", "root", "content_hash"))
        if all(isinstance(text, str) and "\0" not in text for text in (source, where, content)):
            sources[str(name)] = Source(source, root or where or None, content)
    return sources


def image_reader(sources: Mapping[str, Source], trust: bool = True, ask: str = "") -> Images:
    """What a report reads images with. Each data set is loaded when its first image is wanted.

    trust: whether a data set that is a function of the user's may be called. The reader raises `DataError` where it may
    not, and where a data set cannot be read or is not the one that the run saw. ask: how to trust; given, it is an
    `InputError` with this sentence to need such a data set without trust.
    """
    from intriguing.data import Dataset, load_dataset

    loaded: dict[str, Dataset | DataError] = {}

    def load(name: str) -> Dataset:
        if name not in sources:
            raise DataError(f"plan.json does not say where the images of {name!r} lie")
        source = sources[name]
        if source.is_code and not trust and ask:
            raise InputError(f"The images come from the function {source.source!r}, which runs with your rights. {ask}")
        if source.is_code and not trust:
            raise DataError(
                f"they come from the function {source.source!r}, and `intriguing report` does not run what a run "
                "folder names. If you trust that code, run `intriguing report RUN --trust` in its folder"
            )
        try:
            data = load_dataset(source.source, source.root)
        except IntriguingError as error:
            raise DataError(f"they cannot be read: {error}".rstrip(".")) from error
        if source.content_hash and data.content_hash != source.content_hash:
            raise DataError(f"{source.source!r} is not what it was when the run was made: the files have changed")
        return data

    def images(dataset: str, ids: Any) -> Any:
        import numpy as np

        if dataset not in loaded:
            try:
                loaded[dataset] = load(dataset)
            except DataError as error:
                loaded[dataset] = error
        data = loaded[dataset]
        if isinstance(data, DataError):
            raise data
        ids_array = np.asarray(ids, dtype=np.int64)
        result = np.zeros((len(ids_array), *data.shape), dtype=np.float32)
        for split in data.splits.values():
            in_split = np.isin(ids_array, split.ids)
            if in_split.any():
                result[in_split] = split.pixels(split.positions(ids_array[in_split])).numpy()
        return result

    return images
