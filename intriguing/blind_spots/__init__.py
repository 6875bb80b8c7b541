"""The minimal-distortion search: the smallest change of an input that makes a network give another class."""

from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.result import STATUS_SENTENCES, SearchResult
from intriguing.blind_spots.search import minimal_distortion

__all__ = ["STATUS_SENTENCES", "SearchOptions", "SearchResult", "minimal_distortion"]
