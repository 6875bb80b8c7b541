"""Schemas: the searches, their images, and what is proven beside them."""

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.tables.fields import (
    DATASET,
    DOUBLE,
    EXAMPLE,
    FLAG,
    GRADE,
    LABEL,
    MODEL,
    RULE,
    SEARCH,
    SEED,
    SINGLE,
    TEXT,
    WHOLE,
)

DISTORTIONS = Table(
    "distortions",
    "one search",
    (
        DATASET,
        MODEL,
        SEED,
        SEARCH,
        EXAMPLE,
        LABEL,
        Field("target", WHOLE, "The class searched for; null when any wrong class will do.", nullable=True),
        RULE,
        GRADE,
        Field(
            "status",
            TEXT,
            "found, misclassified (no change is needed) or not_found; not searched, which is no sign of robustness: "
            "no_gradient (zero wherever the search looked), unstable (found in a batch, not for the image alone), "
            "bad_output (a logit is not finite, or nothing of the gradient is known), bad_input (a pixel is not finite "
            "or outside [0, 1]).",
        ),
        Field(
            "prediction", WHOLE, "The class of the result, as the model itself gives it; null without one.", "", True
        ),
        Field("clean_prediction", WHOLE, "The class of the unchanged input.", "", True),
        Field(
            "l2",
            SINGLE,
            "The perturbation's L2 norm, pixels in [0, 1]; 0 where the status is misclassified, so take those found.",
            "pixel range",
            True,
        ),
        Field("distortion", SINGLE, "The paper's: sqrt(sum r^2 / n); 0 where misclassified.", "pixel range", True),
        Field("linf", SINGLE, "The largest change of a pixel; 0 where misclassified.", "pixel range", True),
        Field("penalty", SINGLE, "The paper's c (the project's lambda) at the result.", "", True),
        Field("penalty_form", TEXT, "The norm that the penalty multiplies: squared_l2 or l2."),
        Field("forward_passes", WHOLE, "Forward passes spent on this search.", "rows"),
        Field("backward_passes", WHOLE, "Backward passes spent on this search.", "rows"),
        Field("lower_bound", SINGLE, "No smaller L2 norm succeeds, proven; null where nothing is proven.", "", True),
    ),
    ("dataset", "model", "model_seed", "search_id"),
)

ADVERSARIAL = Table(
    "adversarial",
    "an adversarial image",
    (
        DATASET,
        MODEL,
        SEED,
        SEARCH,
        Field("shape", pa.list_(pa.int32()), "The image's shape: channels, height, width."),
        Field("image", pa.list_(SINGLE), "Its pixels in [0, 1], row major."),
    ),
    ("dataset", "model", "model_seed", "search_id"),
)

OPERATOR_NORMS = Table(
    "operator_norms",
    "a layer of a model",
    (
        DATASET,
        MODEL,
        SEED,
        Field("position", pa.int32(), "The layer's place in the order of the forward, from 0."),
        Field("layer", TEXT, "The module that it belongs to, or what it does where it belongs to none."),
        Field("kind", TEXT, "convolution, linear, relu, max_pool, ...; for one that is not known, what it is."),
        Field("stride", pa.list_(pa.int32()), "A convolution's stride per axis; empty for other layers."),
        Field("input_shape", pa.list_(pa.int32()), "The shape of one of its inputs, without the batch."),
        Field(
            "norm", DOUBLE, "The L2 gain that it reaches, by Lanczos or in closed form; null where unknown.", "", True
        ),
        Field("residual", DOUBLE, "Lanczos' estimate of the norm's error; 0 in closed form.", "", True),
        Field("upper_bound", DOUBLE, "The gain that it never exceeds, proven; infinite for a layer that is not known."),
        Field("printed", DOUBLE, "What the formula printed in the paper's section 4.3 gives; no bound.", "", True),
        Field(
            "share", DOUBLE, "log(upper_bound) over its sum over all layers; null where that is not finite.", "", True
        ),
        Field(
            "product_bound",
            DOUBLE,
            "No change of the input of L2 norm d moves this layer's output by more than d times this; of the last "
            "layer: the bound of the whole model.",
        ),
    ),
    ("dataset", "model", "model_seed", "position"),
)

CERTIFICATES = Table(
    "certificates",
    "a search whose other end was proven",
    (
        DATASET,
        MODEL,
        SEED,
        SEARCH,
        EXAMPLE,
        RULE,
        GRADE,
        Field("status", TEXT, "The search's status, as in distortions."),
        Field("l2", SINGLE, "The L2 norm that the search found, as in distortions; null without one.", "", True),
        Field("lower_bound", DOUBLE, "No smaller L2 norm succeeds, proven; null where nothing is proven.", "", True),
        Field("share", DOUBLE, "lower_bound / l2, of searches that found something; 1 is an optimum.", "", True),
        Field("is_optimal", FLAG, "Whether what was found is proven to be within 1e-3 of the smallest change."),
        Field("method", TEXT, "What proved it: exact, coupled, lines, local, product, or none."),
        Field(
            "reason", TEXT, "Why nothing better is proven, with the operations in the way; empty where there is none."
        ),
    ),
    ("dataset", "model", "model_seed", "search_id"),
)
