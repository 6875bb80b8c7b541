"""The words that the tables about units use for controls, conditions and judges."""

TRAINED, RANDOM, SHUFFLED = "trained", "random_init", "shuffled_labels"
RAW, LIVE, NEGATED = "raw", "live", "negated"
ENCODER, PIXELS = "encoder", "pixels"
