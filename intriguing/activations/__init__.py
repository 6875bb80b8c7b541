"""Activations of named layers of any torch model, as blocks of vectors."""

from intriguing.activations.capture import Captured
from intriguing.activations.collect import (
    Block,
    CollectOptions,
    MapBlock,
    Skipped,
    collect_activations,
    collect_maps,
    read_items,
)
from intriguing.activations.layers import Layer, parse_layer, resolve_layers
from intriguing.activations.receptive import ReceptiveField, receptive_field
from intriguing.activations.stored import (
    WRITE_OPTIONS,
    activation_table,
    narrowed,
    read_vectors,
    vector_array,
    vectors_of,
)

__all__ = [
    "WRITE_OPTIONS",
    "Block",
    "Captured",
    "CollectOptions",
    "Layer",
    "MapBlock",
    "ReceptiveField",
    "Skipped",
    "activation_table",
    "collect_activations",
    "collect_maps",
    "narrowed",
    "parse_layer",
    "read_items",
    "read_vectors",
    "receptive_field",
    "resolve_layers",
    "vector_array",
    "vectors_of",
]
