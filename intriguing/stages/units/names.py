"""The words that the tables about units use for controls, conditions and judges."""

TRAINED, RANDOM, SHUFFLED = "trained", "random_init", "shuffled_labels"
RAW, LIVE, NEGATED = "raw", "live", "negated"
ENCODER, PIXELS = "encoder", "pixels"

DRAW = "scanned inputs"
"""The purpose of the draw of inputs: a draw of fewer is a part of a draw of more."""

FIGURES = ("dataset", "layer", "condition", "metric", "judge", "natural", "null_mean", "null_sd")
"""What two tests have in common if their networks are one: no two others agree in the mean of all rotations."""
