"""The tables of a run: one schema each, with a sentence and a unit per field, and the primary key.

Rows carry their keys; nothing is coded in a path, and no type is inferred. `intriguing show --schema TABLE` prints one.
The primary key is in the schema's metadata under ``primary_key`` (JSON), the sentences under each field's ``doc``.
"""

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.errors import unknown_name

_S, _I, _F, _D, _B = pa.string(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()

_DATASET = Field("dataset", _S, "The data set's name in the spec.")
_MODEL = Field("model", _S, "The model's name in the spec.")
_SEED = Field("model_seed", pa.int32(), "The seed that the model was trained with.")
_EXAMPLE = Field("example_id", _I, "The input's number in its data set: unique over all splits.")
_LABEL = Field("label", _I, "The true class.")
_LAYER = Field("layer", _S, "The layer's name, as `model.named_modules()` gives it (with `:in` for its input).")
_CONDITION = Field("condition", _S, "What was done to the vectors before scoring: raw, live, negated, l2, centred, ...")
_BASIS = Field("basis", _S, "Where the directions come from: natural, gaussian, haar, covariance, pca, uniform01, ...")
_DIRECTION = Field("direction", pa.int32(), "The direction's number in its basis.")
_SEARCH = Field("search_id", _S, "The search's name, unique in its data set, model and seed.")
_GRADE = Field("grade", _S, "The search's grade, as the spec names it.")
_RULE = Field(
    "target_rule", _S, "How the target was chosen: untargeted, random, every (the nearest kept), each (all kept)."
)

EXAMPLES = Table(
    "examples",
    "an input",
    (
        _DATASET,
        _EXAMPLE,
        _LABEL,
        Field("split", _S, "The split that it belongs to: train or test."),
        Field("class_name", _S, "The name of its true class; null where classes have none.", nullable=True),
        Field("path", _S, "Its file below the data set's folder, or its name; null where it has none.", nullable=True),
    ),
    ("dataset", "example_id"),
)

MODELS = Table(
    "models",
    "a model",
    (
        _DATASET,
        _MODEL,
        _SEED,
        Field("weights_hash", _S, "SHA-256 of the stored weights."),
        Field("parameters", _I, "How many numbers the weights hold."),
        Field("train_error", _D, "Wrong on the images that it was trained on.", "fraction", nullable=True),
        Field("test_error", _D, "Wrong on the test split.", "fraction", nullable=True),
        Field("train_part", _S, "The part of the training split that it was trained on; null: all of it.", "", True),
        Field("other_error", _D, "Wrong on the rest of the training split; null where none is left.", "fraction", True),
    ),
    ("dataset", "model", "model_seed"),
)


SKIPPED = Table(
    "skipped",
    "an input that was left out",
    (
        _DATASET,
        Field("model", _S, "The model that it was left out for; empty where no model could be fed it."),
        Field("model_seed", pa.int32(), "That model's seed; -1 where no model could be fed it."),
        _EXAMPLE,
        Field("reason", _S, "Why, in a sentence."),
    ),
    ("dataset", "model", "model_seed", "example_id", "reason"),
)


def activations(dim: int, dtype: pa.DataType = _F) -> Table:
    """The table of one layer's activations: `dim` units, stored as float32 or float16."""
    return Table(
        "activations",
        "an input at a layer",
        (
            _DATASET,
            _MODEL,
            _SEED,
            _LAYER,
            _EXAMPLE,
            Field("position", pa.int32(), "The place in the layer's map (row major); 0 for one vector per input."),
            Field("vector", pa.list_(dtype, dim), "The activations of the layer's units."),
            Field(
                "prediction", _I, "The class that the model gives the input; null where none was computed.", "", True
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


TOPK = Table(
    "topk",
    "a rank in a direction",
    (
        _DATASET,
        _MODEL,
        _SEED,
        _LAYER,
        _CONDITION,
        _BASIS,
        Field("rotation_seed", pa.int32(), "Which random draw of the basis; 0 where the basis is not random."),
        _DIRECTION,
        Field("sign", pa.int8(), "+1: the largest projections, -1: the smallest."),
        Field("rank", pa.int32(), "From 1, the most extreme."),
        _EXAMPLE,
        Field("position", pa.int32(), "The place in the layer's map (row major), of a unit's maximum too; else 0."),
        Field("value", _F, "The projection of the activation on the direction."),
        Field("label", _I, "The input's true class.", nullable=True),
        Field("ties", pa.int32(), "How many inputs of this direction share the value of its last rank."),
    ),
    ("dataset", "model", "model_seed", "layer", "condition", "basis", "rotation_seed", "direction", "sign", "rank"),
)

RECEPTIVE_FIELDS = Table(
    "receptive_fields",
    "a place of a layer's map",
    (
        _DATASET,
        _MODEL,
        _SEED,
        _LAYER,
        Field("position", pa.int32(), "The place in the layer's map (row major)."),
        Field("top", pa.int32(), "The first row of the input that it can see.", "pixels"),
        Field("bottom", pa.int32(), "One past the last.", "pixels"),
        Field("left", pa.int32(), "The first column.", "pixels"),
        Field("right", pa.int32(), "One past the last.", "pixels"),
    ),
    ("dataset", "model", "model_seed", "layer", "position"),
)

_JUDGE = Field(
    "judge", _S, "Who judged the score: encoder or pixels; null for a score that no judge gives.", nullable=True
)

UNIT_SCORES = Table(
    "unit_scores",
    "a score of a direction",
    (
        _DATASET,
        _MODEL,
        _SEED,
        _LAYER,
        _CONDITION,
        _BASIS,
        Field("rotation_seed", pa.int32(), "Which random draw of the basis; 0 where the basis is not random."),
        Field("direction", pa.int32(), "The direction's number in its basis; -1 for a figure of the whole basis."),
        Field("metric", _S, "The score's name: purity, entropy, enrichment, auroc, kurtosis, ..."),
        _JUDGE,
        Field("value", _D, "The score.", nullable=True),
        Field("n", _I, "How many inputs it rests on."),
    ),
    ("dataset", "model", "model_seed", "layer", "condition", "basis", "rotation_seed", "direction", "metric", "judge"),
)

_TEST_FIELDS = (
    Field("control", _S, "What was tested: trained, random_init, shuffled_labels, ..."),
    Field("metric", _S, "The score whose mean over the directions of a basis is the statistic."),
    Field("alpha", _D, "The dose: the basis Q^alpha is tested, so 0 is the natural basis."),
    Field("natural", _D, "The statistic in the natural basis (in Q^alpha where alpha > 0).", nullable=True),
    Field("null_mean", _D, "Its mean over random rotations.", nullable=True),
    Field("null_sd", _D, "Its standard deviation over random rotations.", nullable=True),
    Field("low", _D, "Lower end of the 95 % interval of natural minus null_mean.", nullable=True),
    Field("high", _D, "Upper end of that interval.", nullable=True),
    Field("rotations", pa.int32(), "How many Haar rotations make up the null."),
    Field("p_high", _D, "(1 + rotations with a statistic at least as large) / (rotations + 1).", nullable=True),
    Field("p_low", _D, "The same for at most as large.", nullable=True),
    Field("p_two", _D, "min(1, 2 min(p_high, p_low)).", nullable=True),
    Field("p_holm", _D, "p_two after Holm's correction over the run's tests of the same kind.", nullable=True),
    Field("effect", _D, "(natural - null_mean) / null_sd.", "null standard deviations", nullable=True),
    Field("detectable_effect", _D, "The smallest effect found with 80 % power.", "null standard deviations", True),
    Field("n", _I, "How many inputs it rests on."),
)

ROTATION_TESTS = Table(
    "rotation_tests",
    "a test of a layer's basis",
    (
        _DATASET,
        _MODEL,
        _SEED,
        _LAYER,
        _CONDITION,
        *_TEST_FIELDS[:2],
        _JUDGE,
        *_TEST_FIELDS[2:],
        Field("verdict", _S, "What the test says, in a sentence; null for a dose.", nullable=True),
    ),
    ("dataset", "model", "model_seed", "layer", "condition", "control", "metric", "judge", "alpha"),
)

MODEL_OR_DATA = Table(
    "model_or_data",
    'a figure of the answer to "model or data?"',
    (
        Field(
            "metric", _S, "The score whose effects in the models' last named layers are explained; all: each of them."
        ),
        _JUDGE,
        Field("condition", _S, "raw: all units; live: without dead or saturated ones where a layer has any."),
        Field("figure", _S, "share (of the spread of effects), model or data (one's mean effect), scores (how many)."),
        Field("name", _S, "The source of the spread (model, data, both, seed), or the model's or data set's name."),
        Field("value", _D, "The share, the mean effect in null standard deviations, or the count.", nullable=True),
        Field("low", _D, "Lower end of its 95 % interval.", nullable=True),
        Field("high", _D, "Upper end.", nullable=True),
        Field("p", _D, "P(a share at least as large) if the source had no effect; null for the others.", "", True),
        Field("n", _I, "How many networks the answer rests on; for all: how many scores."),
        Field("sentence", _S, "The answer in a sentence."),
    ),
    ("metric", "judge", "condition", "figure", "name"),
)

DISTORTIONS = Table(
    "distortions",
    "one search",
    (
        _DATASET,
        _MODEL,
        _SEED,
        _SEARCH,
        _EXAMPLE,
        _LABEL,
        Field("target", _I, "The class searched for; null when any wrong class will do.", nullable=True),
        _RULE,
        _GRADE,
        Field(
            "status",
            _S,
            "found, misclassified (no change is needed) or not_found; not searched, which is no sign of robustness: "
            "no_gradient (zero wherever the search looked), unstable (found in a batch, not for the image alone), "
            "bad_output (a logit or gradient is not finite), bad_input (a pixel is not finite or outside [0, 1]).",
        ),
        Field("prediction", _I, "The class of the result, as the model itself gives it; null without one.", "", True),
        Field("clean_prediction", _I, "The class of the unchanged input.", "", True),
        Field("l2", _F, "The perturbation's L2 norm, pixels in [0, 1].", "pixel range", True),
        Field("distortion", _F, "The paper's: sqrt(sum r^2 / n).", "pixel range", True),
        Field("linf", _F, "The largest change of a pixel.", "pixel range", True),
        Field("penalty", _F, "The paper's c (the project's lambda) at the result.", "", True),
        Field("penalty_form", _S, "The norm that the penalty multiplies: squared_l2 or l2."),
        Field("forward_passes", _I, "Forward passes spent on this search.", "rows"),
        Field("backward_passes", _I, "Backward passes spent on this search.", "rows"),
        Field("lower_bound", _F, "No smaller L2 norm succeeds, proven; null where nothing is proven.", "", True),
    ),
    ("dataset", "model", "model_seed", "search_id"),
)

ADVERSARIAL = Table(
    "adversarial",
    "an adversarial image",
    (
        _DATASET,
        _MODEL,
        _SEED,
        _SEARCH,
        Field("shape", pa.list_(pa.int32()), "The image's shape: channels, height, width."),
        Field("image", pa.list_(_F), "Its pixels in [0, 1], row major."),
    ),
    ("dataset", "model", "model_seed", "search_id"),
)

OPERATOR_NORMS = Table(
    "operator_norms",
    "a layer of a model",
    (
        _DATASET,
        _MODEL,
        _SEED,
        Field("position", pa.int32(), "The layer's place in the order of the forward, from 0."),
        Field("layer", _S, "The module that it belongs to, or what it does where it belongs to none."),
        Field("kind", _S, "convolution, linear, relu, max_pool, ...; for one that is not known, what it is."),
        Field("stride", pa.list_(pa.int32()), "A convolution's stride per axis; empty for other layers."),
        Field("input_shape", pa.list_(pa.int32()), "The shape of one of its inputs, without the batch."),
        Field("norm", _D, "The L2 gain that it reaches, by Lanczos or in closed form; null where unknown.", "", True),
        Field("residual", _D, "Lanczos' estimate of the norm's error; 0 in closed form.", "", True),
        Field("upper_bound", _D, "The gain that it never exceeds, proven; infinite for a layer that is not known."),
        Field("printed", _D, "What the formula printed in the paper's section 4.3 gives; no bound.", "", True),
        Field("share", _D, "log(upper_bound) over its sum over all layers; null where that is not finite.", "", True),
        Field(
            "product_bound",
            _D,
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
        _DATASET,
        _MODEL,
        _SEED,
        _SEARCH,
        _EXAMPLE,
        _RULE,
        _GRADE,
        Field("status", _S, "The search's status, as in distortions."),
        Field("l2", _F, "The L2 norm that the search found, as in distortions; null without one.", "", True),
        Field("lower_bound", _D, "No smaller L2 norm succeeds, proven; null where nothing is proven.", "", True),
        Field("share", _D, "lower_bound / l2, of searches that found something; 1 is an optimum.", "", True),
        Field("is_optimal", _B, "Whether what was found is proven to be within 1e-3 of the smallest change."),
        Field("method", _S, "What proved it: exact, coupled, lines, local, product, or none."),
        Field("reason", _S, "Why nothing better is proven, with the operations in the way; empty where there is none."),
    ),
    ("dataset", "model", "model_seed", "search_id"),
)

TRANSFER = Table(
    "transfer",
    "one image fed to one model",
    (
        _DATASET,
        Field("source_model", _S, "The model that the image was made for; empty for a clean image."),
        Field("source_seed", pa.int32(), "That model's seed; -1 for a clean image."),
        _MODEL,
        _SEED,
        _SEARCH,
        _GRADE,
        _RULE,
        Field("kind", _S, "clean, noise, minimal, amplified, gaussian (noise as large as the search's own change)."),
        Field("rms", _F, "sqrt(mean squared change) of the image as fed, after clipping.", "pixel range"),
        Field("clipped_fraction", _F, "How much of the image was clipped to [0, 1].", "fraction"),
        _EXAMPLE,
        _LABEL,
        Field("prediction", _I, "The class that the model gives."),
        Field("is_error", _B, "Whether that is not the label."),
        Field("size", _F, "Of kind noise: its RMS before clipping; null for the other kinds.", "pixel range", True),
    ),
    ("dataset", "source_model", "source_seed", "model", "model_seed", "search_id", "kind"),
)

RAYS = Table(
    "rays",
    "the ray from an image through a changed one, fed to one model",
    (
        *TRANSFER.fields[:6],
        _GRADE,
        _RULE,
        Field("kind", _S, "adversarial: through what a search found; gaussian: a random direction, the control."),
        _EXAMPLE,
        _LABEL,
        Field("clean_error", _B, "Whether the model is wrong on the image itself, where the ray starts."),
        Field("sizes", pa.list_(_F), "The sizes asked for: RMS after clipping, ascending.", "pixel range"),
        Field("rms", pa.list_(_F), "The RMS as fed; smaller than asked where the ray's end is.", "pixel range"),
        Field("predictions", pa.list_(_I), "The class that the model gives at each of these."),
        Field(
            "status",
            _S,
            "crossed (the model becomes wrong on the ray), wrong_before (it is wrong where the ray starts), never (it "
            "stays right to the end of the ray, where every pixel that changes is 0 or 1).",
        ),
        Field("crossing", _F, "The smallest RMS at which it was seen wrong; null unless crossed.", "pixel range", True),
        Field("right_below", _F, "The largest RMS below at which it was seen right; null likewise.", "", True),
        Field("forward_passes", _I, "Forward passes spent on this ray.", "rows"),
    ),
    ("dataset", "source_model", "source_seed", "model", "model_seed", "search_id", "kind"),
)

_CHANGED = Field("kind", _S, "minimal: the changes as found. amplified: to one size.")

PAPER_COMPARISON = Table(
    "paper_comparison",
    "an error, a mean distortion or a cell of a transfer matrix, beside the paper's where it has one",
    (
        _DATASET,
        Field("source", _S, "Where the data came from: another than the spec's first choice where that was not there."),
        Field("paper_table", pa.int32(), "The paper's table that has this cell; 0: none of them."),
        Field(
            "measure",
            _S,
            "train_error, other_error (the rest of the training split), test_error, distortion (mean), minimal and "
            "amplified (a cell of a matrix), noise SIZE (Gaussian noise of this standard deviation).",
        ),
        Field("grade", _S, "The search's grade; empty where no search plays a part."),
        Field("target_rule", _S, "How targets were chosen (of `each`: each: nearest, mean, hardest); or empty."),
        Field("source_model", _S, "The model that images were made for; empty where none was."),
        Field("source_seed", pa.int32(), "That model's seed, or -1."),
        _MODEL,
        _SEED,
        Field("value", _D, "Ours: a share of wrong answers over all images fed, or a mean distortion."),
        Field("low", _D, "Lower end of its 95 % interval (Wilson; of a mean the normal one).", "", True),
        Field("high", _D, "Upper end.", "", True),
        Field("n", _I, "How many images it rests on."),
        Field("rms", _D, "The mean RMS of the changes as fed.", "pixel range", True),
        Field("paper", _D, "The paper's figure; null where it has none.", "", True),
        Field("paper_n", _I, "How many images that rests on, as far as is known.", "", True),
        Field("paper_low", _D, "Lower end of the 95 % interval (Wilson) that so many images give.", "", True),
        Field("paper_high", _D, "Upper end.", "", True),
        Field("overlap", _B, "Whether the two intervals overlap.", "", True),
        Field("difference", _D, "Ours minus the paper's.", "", True),
        Field("difference_low", _D, "Lower end of its 95 % interval (Newcombe).", "", True),
        Field("difference_high", _D, "Upper end.", "", True),
        Field("right_n", _I, "How many images source and target both get right unchanged.", "", True),
        Field("right_value", _D, "The share of wrong answers among these.", "", True),
        Field("control_value", _D, "The same for noise of the same size, image by image.", "", True),
        Field("only_change", _I, "Images of these that fool the target changed, but not with the noise.", "", True),
        Field("only_control", _I, "Images that fool it with the noise alone.", "", True),
        Field("p", _D, "McNemar's exact p-value of these two counts.", "", True),
        Field("p_holm", _D, "p after Holm's correction over the cells of a matrix.", "", True),
    ),
    ("dataset", "measure", "grade", "target_rule", "source_model", "source_seed", "model", "model_seed"),
)

PAPER_CLAIMS = Table(
    "paper_claims",
    "a claim of the paper about transfer, a rate between models of one relation, or an agreement with the paper",
    (
        _DATASET,
        Field("figure", _S, "claim, effect (a rate by what source and target differ in), or agreement."),
        Field("name", _S, "The claim's name, what the models differ in, or what agrees."),
        _CHANGED,
        _GRADE,
        Field("target_rule", _S, "How targets were chosen (of `each`: each: nearest, mean, hardest)."),
        Field("measure", _S, "What the value is."),
        Field("value", _D, "The figure; null where it is not known.", "", True),
        Field(
            "low", _D, "Lower end of its 95 % interval, over images, and over seeds where there are several.", "", True
        ),
        Field("high", _D, "Upper end.", "", True),
        Field("p", _D, "Its two-sided p-value by the same resamples; null for what is no test.", "", True),
        Field("p_holm", _D, "p after Holm's correction over the claims.", "", True),
        Field("pairs", _I, "How many ordered pairs of models, or cells, it rests on."),
        Field("draws", _I, "How many resamples gave a number."),
        Field("by_seed", _B, "Whether seeds were drawn again before images."),
        Field("outcome", _S, "Of a claim: holds, fails, open, or unknown where there is no figure.", "", True),
        Field("sentence", _S, "The answer in a sentence; null where the figure is all.", "", True),
        Field("refuted_by", _S, "What would have refuted the claim.", "", True),
    ),
    ("dataset", "figure", "name", "kind", "grade", "target_rule"),
)

WORD_ROWS = Table(
    "word_rows",
    "a direction's top words",
    (
        Field("corpus", _S, "The corpus's name in the spec."),
        Field("seed", pa.int32(), "The seed of the training (-1: all seeds, pooled)."),
        Field("fold", pa.int32(), "The fold held out for the judges (-1: all folds, pooled)."),
        _CONDITION,
        _BASIS,
        _DIRECTION,
        Field("sign", pa.int8(), "+1: the largest projections, -1: the smallest."),
        Field("words", pa.list_(_S), "The top words, best first."),
        Field("npmi", _D, "Their mean pairwise NPMI in held-out text.", "", True),
        Field("matched_percentile", _D, "Where that lies among count-matched random words.", "percent", True),
        Field("median_count", _D, "The median count of the words in the training text.", "occurrences"),
    ),
    ("corpus", "seed", "fold", "condition", "basis", "direction", "sign"),
)

WORD_TESTS = Table(
    "word_tests",
    "a test of a word embedding's basis",
    (WORD_ROWS.fields[0], WORD_ROWS.fields[1], WORD_ROWS.fields[2], _CONDITION, *_TEST_FIELDS),
    ("corpus", "seed", "fold", "condition", "control", "metric", "alpha"),
)

WORD_VERDICTS = Table(
    "word_verdicts",
    "what the tests of a corpus or of existing vectors say",
    (WORD_ROWS.fields[0], Field("verdict", _S, "The answer in sentences, with what the controls say.")),
    ("corpus",),
)

WORD_VECTORS = Table(
    "word_vectors",
    "a word embedding",
    (
        *WORD_ROWS.fields[:3],
        Field("made_by", _S, "What made the vectors."),
        Field("words", _I, "How many words have a vector.", "words"),
        Field("dimension", pa.int32(), "The length of a vector."),
        Field("training_words", _I, "Running words of the training text; null for vectors from elsewhere.", "", True),
        Field("held_out_words", _I, "Running words of the judges' text.", "words"),
        Field("unjudged_words", _I, "Words with a vector that the judges' text lacks or has too rarely.", "words"),
        Field("reproducible", _B, "Whether the same text, options and seed give the same vectors.", "", True),
        Field("skipped", _S, "What was left out while reading text and vectors, counted (JSON)."),
        Field("norm_count_spearman", _D, "Rank correlation of a vector's norm with its word's count.", "", True),
        Field("norm_count_p", _D, "Its two-sided p-value.", "", True),
        Field("remarks", _S, "What else there is to know of words and vectors, counted (JSON).", "", True),
    ),
    ("corpus", "seed", "fold"),
)

WORD_NORMS = Table(
    "word_norms",
    "a group of words of like count",
    (
        *WORD_ROWS.fields[:3],
        Field("stratum", pa.int32(), "The group's number, from 0 for the most frequent words."),
        Field("count_low", _I, "The smallest count in the group.", "occurrences"),
        Field("count_high", _I, "The largest.", "occurrences"),
        Field("words", _I, "How many words it holds.", "words"),
        Field("norm_low", _D, "The 10 % quantile of their vectors' norms."),
        Field("norm_median", _D, "The median norm."),
        Field("norm_high", _D, "The 90 % quantile."),
    ),
    ("corpus", "seed", "fold", "stratum"),
)

TASKS = Table(
    "tasks",
    "a task of the run",
    (
        Field("task", _S, "The task's name."),
        Field("function", _S, "The function that it calls."),
        Field("fingerprint", _S, "The folder of its outputs in store/."),
        Field("attempts", pa.int32(), "How many attempts it took."),
        Field("worker", _S, "Where it ran."),
        Field("device", _S, "On what kind of device."),
        Field("seconds", _D, "Wall-clock time of the attempt that succeeded.", "s"),
        Field("peak_memory", _I, "Largest resident memory of its process by then.", "bytes"),
    ),
    ("task",),
)

FAILURES = Table(
    "failures",
    "a task that gave up",
    (
        Field("task", _S, "The task's name."),
        Field("function", _S, "The function that it calls."),
        Field("attempts", pa.int32(), "How many attempts were made."),
        Field("error_type", _S, "The error's class."),
        Field("message", _S, "What it said."),
        Field("rerun_command", _S, "The command that runs it alone again, in one process."),
        Field("traceback", _S, "Where it was raised, the innermost call last; null in older runs.", nullable=True),
    ),
    ("task",),
)

_BASE = Field("model", _S, "The name in the spec of the model whose architecture is trained.")
_VARIANT = Field("variant", _S, "The variant's name in the spec: how it was trained.")

HARDENING = Table(
    "hardening",
    "an epoch of a hardened training",
    (
        _DATASET,
        _BASE,
        _VARIANT,
        _SEED,
        Field("epoch", pa.int32(), "How many epochs the network has been trained, from 1."),
        Field("network", _S, "The name of the network after the last epoch, as the table `models` has it."),
        Field("method", _S, "What is mixed into the clean data: plain (nothing), pools, noise or pgd."),
        Field("below", _S, "Whether changes of a layer train the layers below it: fixed or trained."),
        Field("layers", pa.list_(_S), "The layers that have a pool of changes."),
        Field("split", _S, "What the error is measured on: test, or held-out images of the training split."),
        Field("images", pa.int32(), "How many images the error is measured on."),
        Field("train_error", _D, "Wrong on the images trained on.", "fraction"),
        Field("error", _D, "Wrong on the images of `split`.", "fraction"),
        Field("distortion", _D, "Mean minimal distortion (RMS) over images of `split`.", "", True),
        Field("distortion_images", pa.int32(), "How many images have one: those that it gets right, of those tried."),
        Field("lower_bound", _D, "Mean proven lower bound of the distortion; null without one.", "", True),
        Field("bounded_images", pa.int32(), "How many images have a bound."),
        Field("fooled", _D, "How many of the baseline's adversarial images fool it; null: not fed.", "fraction", True),
        Field("fooled_of", pa.int32(), "How many were fed whose unchanged image it gets right."),
        Field("cpu_seconds", _D, "CPU time of the training up to here.", "seconds"),
        Field("search_seconds", _D, "The part of it that searches took.", "seconds"),
        Field("searches", _I, "Searches up to here.", "searches"),
        Field("pool_rms", pa.list_(_D), "The RMS of a value of the changes in use, per layer; empty without pools."),
    ),
    ("dataset", "model", "variant", "model_seed", "epoch"),
)

HARDENING_CLAIMS = Table(
    "hardening_claims",
    "a claim about hardening",
    (
        _DATASET,
        _BASE,
        Field("claim", _S, "The claim, in short."),
        Field("variant", _S, "The variant of which it is said."),
        Field("against", _S, "The variant that it is compared with."),
        Field("outcome", _S, "held, contradicted, open (no significant difference) or unknown (no figures)."),
        Field("sentence", _S, "The answer in plain words."),
        Field("measure", _S, "What `value` is."),
        Field("value", _D, "Mean difference of errors over seeds, or geometric mean of ratios.", "", True),
        Field("low", _D, "Lower end of its 95 % interval over seeds.", "", True),
        Field("high", _D, "Upper end.", "", True),
        Field("p", _D, "Two-sided p-value of Student's t, after Holm's correction over the claims.", "", True),
        Field("seeds", pa.int32(), "How many seeds are compared."),
        Field("test_noise", _D, "Binomial standard deviation of a difference of errors on the images.", "", True),
        Field("goal", _D, "The error that `faster` asks for.", "fraction", True),
        Field("remark", _S, "What else is to be known; empty where nothing is."),
        Field("refuted_by", _S, "What would have refuted the answer."),
    ),
    ("dataset", "model", "claim"),
)

TABLES: dict[str, Table] = {table.name: table for table in list(vars().values()) if isinstance(table, Table)}
"""Every table by name, in the order of this page."""


def named(name: str) -> Table:
    """The table called `name`; raises `UnknownNameError` with the nearest names."""
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    return TABLES[name]
