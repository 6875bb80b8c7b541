"""Schemas: trainings on what the searches find, and the claims."""

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.tables.fields import DATASET, DOUBLE, SEED, TEXT, WHOLE

_BASE = Field("model", TEXT, "The name in the spec of the model whose architecture is trained.")

_VARIANT = Field("variant", TEXT, "The variant's name in the spec: how it was trained.")

HARDENING = Table(
    "hardening",
    "an epoch of a hardened training",
    (
        DATASET,
        _BASE,
        _VARIANT,
        SEED,
        Field("epoch", pa.int32(), "How many epochs the network has been trained, from 1."),
        Field("network", TEXT, "The name of the network after the last epoch, as the table `models` has it."),
        Field("method", TEXT, "What is mixed into the clean data: plain (nothing), pools, noise or pgd."),
        Field("below", TEXT, "Whether changes of a layer train the layers below it: fixed or trained."),
        Field("layers", pa.list_(TEXT), "The layers that have a pool of changes."),
        Field("split", TEXT, "What the error is measured on: test, or held-out images of the training split."),
        Field("images", pa.int32(), "How many images the error is measured on."),
        Field("train_error", DOUBLE, "Wrong on the images trained on.", "fraction"),
        Field("error", DOUBLE, "Wrong on the images of `split`.", "fraction"),
        Field("distortion", DOUBLE, "Mean minimal distortion (RMS) over images of `split`.", "", True),
        Field("distortion_images", pa.int32(), "How many images have one: those that it gets right, of those tried."),
        Field(
            "distortions",
            pa.list_(DOUBLE),
            "The minimal distortion (RMS) of each image tried, the same images in the same order for every network; "
            "null where it gets the image wrong unchanged.",
            "",
            True,
        ),
        Field("lower_bound", DOUBLE, "Mean proven lower bound of the distortion; null without one.", "", True),
        Field("bounded_images", pa.int32(), "How many images have a bound."),
        Field(
            "fooled", DOUBLE, "How many of the baseline's adversarial images fool it; null: not fed.", "fraction", True
        ),
        Field("fooled_of", pa.int32(), "How many were fed whose unchanged image it gets right."),
        Field("cpu_seconds", DOUBLE, "CPU time of the training up to here.", "seconds"),
        Field("search_seconds", DOUBLE, "The part of it that searches took.", "seconds"),
        Field("searches", WHOLE, "Searches up to here.", "searches"),
        Field(
            "pool_rms",
            pa.list_(DOUBLE),
            "The RMS of a value of the changes in use, per layer of `layers`; null for a pool that is empty.",
        ),
    ),
    ("dataset", "model", "variant", "model_seed", "epoch"),
)

HARDENING_CLAIMS = Table(
    "hardening_claims",
    "a claim about hardening",
    (
        DATASET,
        _BASE,
        Field("claim", TEXT, "The claim, in short."),
        Field("variant", TEXT, "The variant of which it is said."),
        Field("against", TEXT, "The variant that it is compared with."),
        Field("outcome", TEXT, "held, contradicted, open (no significant difference) or unknown (no figures)."),
        Field("sentence", TEXT, "The answer in plain words."),
        Field("measure", TEXT, "What `value` is."),
        Field("value", DOUBLE, "Mean difference of errors over seeds, or geometric mean of ratios.", "", True),
        Field("low", DOUBLE, "Lower end of its 95 % interval over seeds.", "", True),
        Field("high", DOUBLE, "Upper end.", "", True),
        Field("p", DOUBLE, "Two-sided p-value of Student's t, after Holm's correction over the claims.", "", True),
        Field("seeds", pa.int32(), "How many seeds are compared."),
        Field("test_noise", DOUBLE, "Binomial standard deviation of a difference of errors on the images.", "", True),
        Field("goal", DOUBLE, "The error that `faster` asks for.", "fraction", True),
        Field("remark", TEXT, "What else is to be known; empty where nothing is."),
        Field("refuted_by", TEXT, "What would have refuted the answer."),
    ),
    ("dataset", "model", "claim"),
)
