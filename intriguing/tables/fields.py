"""Types and fields that several tables share."""

import pyarrow as pa

from intriguing.basics.table import Field

TEXT, WHOLE, SINGLE, DOUBLE, FLAG = pa.string(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()

DATASET = Field("dataset", TEXT, "The data set's name in the spec.")
MODEL = Field("model", TEXT, "The model's name in the spec.")
SEED = Field("model_seed", pa.int32(), "The seed that the model was trained with.")
EXAMPLE = Field("example_id", WHOLE, "The input's number in its data set: unique over all splits.")
LABEL = Field("label", WHOLE, "The true class.")
LAYER = Field("layer", TEXT, "The layer's name, as `model.named_modules()` gives it (with `:in` for its input).")
CONDITION = Field(
    "condition", TEXT, "What was done to the vectors before scoring: raw, live, negated, l2, centred, ..."
)
BASIS = Field("basis", TEXT, "Where the directions come from: natural, gaussian, haar, covariance, pca, uniform01, ...")
DIRECTION = Field("direction", pa.int32(), "The direction's number in its basis.")
SEARCH = Field("search_id", TEXT, "The search's name, unique in its data set, model and seed.")
GRADE = Field("grade", TEXT, "The search's grade, as the spec names it.")
RULE = Field(
    "target_rule", TEXT, "How the target was chosen: untargeted, random, every (the nearest kept), each (all kept)."
)

TEST_FIELDS = (
    Field("control", TEXT, "What was tested: trained, random_init, shuffled_labels, ..."),
    Field("metric", TEXT, "The score whose mean over the directions of a basis is the statistic."),
    Field("alpha", DOUBLE, "The dose: the basis Q^alpha is tested, so 0 is the natural basis."),
    Field("natural", DOUBLE, "The statistic in the natural basis (in Q^alpha where alpha > 0).", nullable=True),
    Field("null_mean", DOUBLE, "Its mean over random rotations.", nullable=True),
    Field("null_sd", DOUBLE, "Its standard deviation over random rotations.", nullable=True),
    Field("low", DOUBLE, "Lower end of the 95 % interval of natural minus null_mean.", nullable=True),
    Field("high", DOUBLE, "Upper end of that interval.", nullable=True),
    Field("rotations", pa.int32(), "How many Haar rotations make up the null."),
    Field("p_high", DOUBLE, "(1 + rotations with a statistic at least as large) / (rotations + 1).", nullable=True),
    Field("p_low", DOUBLE, "The same for at most as large.", nullable=True),
    Field("p_two", DOUBLE, "min(1, 2 min(p_high, p_low)).", nullable=True),
    Field("p_holm", DOUBLE, "p_two after Holm's correction over the run's tests of the same kind.", nullable=True),
    Field("effect", DOUBLE, "(natural - null_mean) / null_sd.", "null standard deviations", nullable=True),
    Field("detectable_effect", DOUBLE, "The smallest effect found with 80 % power.", "null standard deviations", True),
    Field("n", WHOLE, "How many inputs it rests on."),
)
