"""The minimal-distortion search: the smallest change of an input that makes a network give another class.

`search` is the entry; it cuts the images into batches (`batch_search`), whose rows go through the stages of a grade
(`row_search`), where the nearest result of each is kept (`row_results`). The solvers, the network's passes, the starts,
and what is given back are folders. `grades` says what is known of each grade, and costs no torch; the names below are
imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.blind_spots.options import SearchOptions
    from intriguing.blind_spots.outcome.result import STATUS_SENTENCES, SearchResult
    from intriguing.blind_spots.search import minimal_distortion

_HOME = {
    "STATUS_SENTENCES": "intriguing.blind_spots.outcome.result",
    "SearchOptions": "intriguing.blind_spots.options",
    "SearchResult": "intriguing.blind_spots.outcome.result",
    "minimal_distortion": "intriguing.blind_spots.search",
}

__all__ = ["STATUS_SENTENCES", "SearchOptions", "SearchResult", "minimal_distortion"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
