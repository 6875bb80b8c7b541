"""Activations of named layers of any torch model, as blocks of vectors."""

from intriguing.activations.capture import Captured
from intriguing.activations.collect import Block, MapBlock, Skipped, collect_activations, collect_maps, read_items
from intriguing.activations.layers import Layer, parse_layer, resolve_layers

__all__ = [
    "Block",
    "Captured",
    "Layer",
    "MapBlock",
    "Skipped",
    "collect_activations",
    "collect_maps",
    "parse_layer",
    "read_items",
    "resolve_layers",
]
