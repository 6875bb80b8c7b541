"""Schemas: the inputs, the models, and the stored activations of a run."""

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.tables.fields import DATASET, DOUBLE, EXAMPLE, LABEL, LAYER, MODEL, SEED, SINGLE, TEXT, WHOLE

EXAMPLES = Table(
    "examples",
    "an input",
    (
        DATASET,
        EXAMPLE,
        LABEL,
        Field("split", TEXT, "The split that it belongs to: train or test."),
        Field("class_name", TEXT, "The name of its true class; null where classes have none.", nullable=True),
        Field(
            "path", TEXT, "Its file below the data set's folder, or its name; null where it has none.", nullable=True
        ),
    ),
    ("dataset", "example_id"),
)

MODELS = Table(
    "models",
    "a model",
    (
        DATASET,
        MODEL,
        SEED,
        Field("weights_hash", TEXT, "SHA-256 of the stored weights."),
        Field("parameters", WHOLE, "How many numbers the weights hold."),
        Field("train_error", DOUBLE, "Wrong on the images that it was trained on.", "fraction", nullable=True),
        Field("test_error", DOUBLE, "Wrong on the test split.", "fraction", nullable=True),
        Field("train_part", TEXT, "The part of the training split that it was trained on; null: all of it.", "", True),
        Field(
            "other_error", DOUBLE, "Wrong on the rest of the training split; null where none is left.", "fraction", True
        ),
    ),
    ("dataset", "model", "model_seed"),
)

SKIPPED = Table(
    "skipped",
    "an input that was left out",
    (
        DATASET,
        Field("model", TEXT, "The model that it was left out for; empty where no model could be fed it."),
        Field("model_seed", pa.int32(), "That model's seed; -1 where no model could be fed it."),
        EXAMPLE,
        Field("reason", TEXT, "Why, in a sentence."),
    ),
    ("dataset", "model", "model_seed", "example_id", "reason"),
)


def activations(dim: int, dtype: pa.DataType = SINGLE) -> Table:
    """The table of one layer's activations: `dim` units, stored as float32 or float16."""
    return Table(
        "activations",
        "an input at a layer",
        (
            DATASET,
            MODEL,
            SEED,
            LAYER,
            EXAMPLE,
            Field("position", pa.int32(), "The place in the layer's map (row major); 0 for one vector per input."),
            Field("vector", pa.list_(dtype, dim), "The activations of the layer's units."),
            Field(
                "prediction", WHOLE, "The class that the model gives the input; null where none was computed.", "", True
            ),
            Field(
                "maxima",
                pa.list_(pa.uint16(), dim),
                "Where in the layer's map (row major) each unit's maximum lies; null without a map or maximum.",
                nullable=True,
            ),
        ),
        ("dataset", "model", "model_seed", "layer", "example_id", "position"),
    )


ACTIVATIONS = activations(1)
"""The table `activations`, told by a layer of one unit."""
