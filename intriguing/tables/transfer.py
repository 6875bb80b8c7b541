"""Schemas: what was fed to which model, and the comparison with the paper."""

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

TRANSFER = Table(
    "transfer",
    "one image fed to one model",
    (
        DATASET,
        Field("source_model", TEXT, "The model that the image was made for; empty for a clean image."),
        Field("source_seed", pa.int32(), "That model's seed; -1 for a clean image."),
        MODEL,
        SEED,
        SEARCH,
        GRADE,
        RULE,
        Field("kind", TEXT, "clean, noise, minimal, amplified, gaussian (noise as large as the search's own change)."),
        Field("rms", SINGLE, "sqrt(mean squared change) of the image as fed, after clipping.", "pixel range"),
        Field("clipped_fraction", SINGLE, "How much of the image was clipped to [0, 1].", "fraction"),
        EXAMPLE,
        LABEL,
        Field("prediction", WHOLE, "The class that the model gives; -1 where it answers NaN."),
        Field("is_error", FLAG, "Whether that is not the label."),
        Field("size", SINGLE, "Of kind noise: its RMS before clipping; null for the other kinds.", "pixel range", True),
    ),
    ("dataset", "source_model", "source_seed", "model", "model_seed", "search_id", "kind"),
)

RAYS = Table(
    "rays",
    "the ray from an image through a changed one, fed to one model",
    (
        *TRANSFER.fields[:6],
        GRADE,
        RULE,
        Field("kind", TEXT, "adversarial: through what a search found; gaussian: a random direction, the control."),
        EXAMPLE,
        LABEL,
        Field("clean_error", FLAG, "Whether the model is wrong on the image itself, where the ray starts."),
        Field("sizes", pa.list_(SINGLE), "The sizes asked for: RMS after clipping, ascending.", "pixel range"),
        Field("rms", pa.list_(SINGLE), "The RMS as fed; smaller than asked where the ray's end is.", "pixel range"),
        Field("predictions", pa.list_(WHOLE), "The class that the model gives at each of these; -1: NaN."),
        Field(
            "status",
            TEXT,
            "crossed (the model becomes wrong on the ray), wrong_before (it is wrong where the ray starts), never (it "
            "stays right to the end of the ray, where every pixel that changes is 0 or 1).",
        ),
        Field(
            "crossing", SINGLE, "The smallest RMS at which it was seen wrong; null unless crossed.", "pixel range", True
        ),
        Field("right_below", SINGLE, "The largest RMS below at which it was seen right; null likewise.", "", True),
        Field("forward_passes", WHOLE, "Forward passes spent on this ray.", "rows"),
    ),
    ("dataset", "source_model", "source_seed", "model", "model_seed", "search_id", "kind"),
)

_CHANGED = Field("kind", TEXT, "minimal: the changes as found. amplified: to one size.")

PAPER_COMPARISON = Table(
    "paper_comparison",
    "an error, a mean distortion or a cell of a transfer matrix, beside the paper's where it has one",
    (
        DATASET,
        Field(
            "source", TEXT, "Where the data came from: another than the spec's first choice where that was not there."
        ),
        Field("paper_table", pa.int32(), "The paper's table that has this cell; 0: none of them."),
        Field(
            "measure",
            TEXT,
            "train_error, other_error (the rest of the training split), test_error, distortion (mean), minimal and "
            "amplified (a cell of a matrix), noise SIZE (Gaussian noise of this standard deviation).",
        ),
        Field("grade", TEXT, "The search's grade; empty where no search plays a part."),
        Field("target_rule", TEXT, "How targets were chosen (of `each`: each: nearest, mean, hardest); or empty."),
        Field("source_model", TEXT, "The model that images were made for; empty where none was."),
        Field("source_seed", pa.int32(), "That model's seed, or -1."),
        MODEL,
        SEED,
        Field("value", DOUBLE, "Ours: a share of wrong answers over all images fed, or a mean distortion."),
        Field("low", DOUBLE, "Lower end of its 95 % interval (Wilson; of a mean the normal one).", "", True),
        Field("high", DOUBLE, "Upper end.", "", True),
        Field("n", WHOLE, "How many images it rests on."),
        Field("rms", DOUBLE, "The mean RMS of the changes as fed.", "pixel range", True),
        Field("paper", DOUBLE, "The paper's figure; null where it has none.", "", True),
        Field("paper_n", WHOLE, "How many images that rests on, as far as is known.", "", True),
        Field("paper_low", DOUBLE, "Lower end of the 95 % interval (Wilson) that so many images give.", "", True),
        Field("paper_high", DOUBLE, "Upper end.", "", True),
        Field("overlap", FLAG, "Whether the two intervals overlap.", "", True),
        Field("difference", DOUBLE, "Ours minus the paper's.", "", True),
        Field("difference_low", DOUBLE, "Lower end of its 95 % interval (Newcombe).", "", True),
        Field("difference_high", DOUBLE, "Upper end.", "", True),
        Field("right_n", WHOLE, "How many images source and target both get right unchanged.", "", True),
        Field("right_value", DOUBLE, "The share of wrong answers among these.", "", True),
        Field("control_value", DOUBLE, "The same for noise of the same size, image by image.", "", True),
        Field("only_change", WHOLE, "Images of these that fool the target changed, but not with the noise.", "", True),
        Field("only_control", WHOLE, "Images that fool it with the noise alone.", "", True),
        Field("p", DOUBLE, "McNemar's exact p-value of these two counts.", "", True),
        Field("p_holm", DOUBLE, "p after Holm's correction over the cells of a matrix.", "", True),
    ),
    ("dataset", "measure", "grade", "target_rule", "source_model", "source_seed", "model", "model_seed"),
)

PAPER_CLAIMS = Table(
    "paper_claims",
    "a claim of the paper about transfer, a rate between models of one relation, or an agreement with the paper",
    (
        DATASET,
        Field("figure", TEXT, "claim, effect (a rate by what source and target differ in), or agreement."),
        Field("name", TEXT, "The claim's name, what the models differ in, or what agrees."),
        _CHANGED,
        GRADE,
        Field("target_rule", TEXT, "How targets were chosen (of `each`: each: nearest, mean, hardest)."),
        Field("measure", TEXT, "What the value is."),
        Field("value", DOUBLE, "The figure; null where it is not known.", "", True),
        Field(
            "low",
            DOUBLE,
            "Lower end of its 95 % interval, over images, and over seeds where there are several.",
            "",
            True,
        ),
        Field("high", DOUBLE, "Upper end.", "", True),
        Field("p", DOUBLE, "Its two-sided p-value by the same resamples; null for what is no test.", "", True),
        Field("p_holm", DOUBLE, "p after Holm's correction over the claims.", "", True),
        Field("pairs", WHOLE, "How many ordered pairs of models, or cells, it rests on."),
        Field("draws", WHOLE, "How many resamples gave a number."),
        Field("by_seed", FLAG, "Whether seeds were drawn again before images."),
        Field("outcome", TEXT, "Of a claim: holds, fails, open, or unknown where there is no figure.", "", True),
        Field("sentence", TEXT, "The answer in a sentence; null where the figure is all.", "", True),
        Field("refuted_by", TEXT, "What would have refuted the claim.", "", True),
    ),
    ("dataset", "figure", "name", "kind", "grade", "target_rule"),
)
