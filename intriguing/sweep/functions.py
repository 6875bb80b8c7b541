"""Every task function, with its version and the source that decides its results.

Raise a version whenever results change: finished outputs of the old version are then computed again. The golden file
`tests/sweep/golden_sources.json` fails a test when the covered source changes without a decision about the version.
"""

from intriguing.engine.task import Function

_TASKS = "intriguing.sweep.tasks"
_DATA = ("intriguing.data", "intriguing.randomness")
_MODELS = ("intriguing.models", *_DATA)

EXAMPLES = Function(f"{_TASKS}.models:examples", 1, (f"{_TASKS}.models", *_DATA))
TRAIN = Function(f"{_TASKS}.models:train", 1, (f"{_TASKS}.models", *_MODELS))
LOAD = Function(f"{_TASKS}.models:load", 1, (f"{_TASKS}.models", *_MODELS))
ACTIVATIONS = Function(f"{_TASKS}.units:activations", 1, (f"{_TASKS}.units", "intriguing.activations", *_MODELS))
SCAN = Function(f"{_TASKS}.units:scan", 1, (f"{_TASKS}.units", "intriguing.units", "intriguing.randomness"))
TOP = Function(f"{_TASKS}.units:top", 1, (f"{_TASKS}.units", "intriguing.units", "intriguing.randomness"))
SEARCH = Function(f"{_TASKS}.blind_spots:search", 1, (f"{_TASKS}.blind_spots", "intriguing.blind_spots", *_MODELS))
CLEAN = Function(f"{_TASKS}.transfer:clean", 1, (f"{_TASKS}.transfer", "intriguing.transfer", *_MODELS))
FEED = Function(f"{_TASKS}.transfer:feed", 1, (f"{_TASKS}.transfer", "intriguing.transfer", *_MODELS))

FUNCTIONS = (EXAMPLES, TRAIN, LOAD, ACTIVATIONS, SCAN, TOP, SEARCH, CLEAN, FEED)
