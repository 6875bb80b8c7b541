"""Schemas: what units and random directions respond to, their scores, and the tests."""

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.tables.fields import (
    BASIS,
    CONDITION,
    DATASET,
    DIRECTION,
    DOUBLE,
    EXAMPLE,
    LAYER,
    MODEL,
    SEED,
    SINGLE,
    TEST_FIELDS,
    TEXT,
    WHOLE,
)

_OF_BASIS = (
    DATASET,
    MODEL,
    SEED,
    LAYER,
    CONDITION,
    BASIS,
    Field("rotation_seed", pa.int32(), "Which random draw of the basis; 0 where the basis is not random."),
)
_NAMES = tuple(field.name for field in _OF_BASIS)

TOPK = Table(
    "topk",
    "a rank in a direction",
    (
        *_OF_BASIS,
        DIRECTION,
        Field("sign", pa.int8(), "+1: the largest projections, -1: the smallest."),
        Field("rank", pa.int32(), "From 1, the most extreme."),
        EXAMPLE,
        Field(
            "position",
            pa.int32(),
            "The place in the layer's map (row major): of a row, or of the maxima that add most to the value; else 0.",
        ),
        Field("value", SINGLE, "The projection of the activation on the direction."),
        Field("label", WHOLE, "The input's true class.", nullable=True),
        Field("ties", pa.int32(), "How many inputs of this direction share the value of its last rank."),
    ),
    (*_NAMES, "direction", "sign", "rank"),
)

RECEPTIVE_FIELDS = Table(
    "receptive_fields",
    "a place of a layer's map",
    (
        DATASET,
        MODEL,
        SEED,
        LAYER,
        Field("position", pa.int32(), "The place in the layer's map (row major)."),
        Field("top", pa.int32(), "The first row of the input that it can see.", "pixels"),
        Field("bottom", pa.int32(), "One past the last.", "pixels"),
        Field("left", pa.int32(), "The first column.", "pixels"),
        Field("right", pa.int32(), "One past the last.", "pixels"),
    ),
    ("dataset", "model", "model_seed", "layer", "position"),
)

_JUDGE = Field(
    "judge", TEXT, "Who judged the score: encoder or pixels; null for a score that no judge gives.", nullable=True
)

UNIT_SCORES = Table(
    "unit_scores",
    "a score of a direction",
    (
        *_OF_BASIS,
        Field("direction", pa.int32(), "The direction's number in its basis; -1 for a figure of the whole basis."),
        Field("metric", TEXT, "The score's name: purity, entropy, enrichment, auroc, kurtosis, ..."),
        _JUDGE,
        Field("value", DOUBLE, "The score.", nullable=True),
        Field("n", WHOLE, "How many inputs it rests on."),
    ),
    (*_NAMES, "direction", "metric", "judge"),
)

UNIT_HISTOGRAMS = Table(
    "unit_histograms",
    "a direction",
    (
        *_OF_BASIS,
        DIRECTION,
        Field("low", SINGLE, "The smallest projection, where the first bin begins."),
        Field("high", SINGLE, "The largest, where the last bin ends."),
        Field("counts", pa.list_(pa.int32()), "How many inputs lie in each of the bins, which are equally wide."),
        Field("zeros", WHOLE, "How many inputs have a projection of exactly 0."),
        Field("n", WHOLE, "How many inputs it rests on: a draw from those scanned."),
    ),
    (*_NAMES, "direction"),
)

ROTATION_TESTS = Table(
    "rotation_tests",
    "a test of a layer's basis",
    (
        DATASET,
        MODEL,
        SEED,
        LAYER,
        CONDITION,
        *TEST_FIELDS[:2],
        _JUDGE,
        *TEST_FIELDS[2:],
        Field("verdict", TEXT, "What the test says, in a sentence; null for a dose.", nullable=True),
    ),
    ("dataset", "model", "model_seed", "layer", "condition", "control", "metric", "judge", "alpha"),
)

MODEL_OR_DATA = Table(
    "model_or_data",
    'a figure of the answer to "model or data?"',
    (
        Field(
            "metric", TEXT, "The score whose effects in the models' last named layers are explained; all: each of them."
        ),
        _JUDGE,
        Field("condition", TEXT, "raw: all units; live: without dead or saturated ones where a layer has any."),
        Field(
            "figure", TEXT, "share (of the spread of effects), model or data (one's mean effect), scores (how many)."
        ),
        Field("name", TEXT, "The source of the spread (model, data, both, seed), or the model's or data set's name."),
        Field("value", DOUBLE, "The share, the mean effect in null standard deviations, or the count.", nullable=True),
        Field("low", DOUBLE, "Lower end of its 95 % interval.", nullable=True),
        Field("high", DOUBLE, "Upper end.", nullable=True),
        Field("p", DOUBLE, "P(a share at least as large) if the source had no effect; null for the others.", "", True),
        Field("n", WHOLE, "How many networks the answer rests on; for all: how many scores."),
        Field("sentence", TEXT, "The answer in a sentence."),
    ),
    ("metric", "judge", "condition", "figure", "name"),
)
