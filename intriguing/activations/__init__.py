"""Activations of named layers of any torch model, as blocks of vectors."""

from intriguing.activations.capture import Captured
from intriguing.activations.collect import Block, MapBlock, Skipped, collect_activations, collect_maps, read_items
from intriguing.activations.layers import Layer, parse_layer, resolve_layers
from intriguing.activations.receptive import ReceptiveField, receptive_field

__all__ = [
    "Block",
    "Captured",
    "Layer",
    "MapBlock",
    "ReceptiveField",
    "Skipped",
    "collect_activations",
    "collect_maps",
    "parse_layer",
    "read_items",
    "receptive_field",
    "resolve_layers",
]
