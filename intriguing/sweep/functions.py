"""Every task function, with its version and the source that decides its results.

Raise a version whenever results change: finished outputs of the old version are then computed again. The golden file
`tests/sweep/golden_sources.json` fails a test when the covered source changes without a decision about the version.
"""

from intriguing.engine.task import Function

_TASKS = "intriguing.sweep.tasks"
_DATA = ("intriguing.data", "intriguing.randomness")
_MODELS = ("intriguing.models", *_DATA)
_COLLECTED = (f"{_TASKS}.activations", f"{_TASKS}.draws", "intriguing.activations", *_MODELS)
_SCANNED = (f"{_TASKS}.scans", "intriguing.units", "intriguing.randomness")
_TESTED = (f"{_TASKS}.unit_tests", f"{_TASKS}.tested", f"{_TASKS}.scans", "intriguing.units", *_COLLECTED)

EXAMPLES = Function(f"{_TASKS}.models:examples", 1, (f"{_TASKS}.models", *_DATA))
TRAIN = Function(f"{_TASKS}.models:train", 1, (f"{_TASKS}.models", *_MODELS))
LOAD = Function(f"{_TASKS}.models:load", 1, (f"{_TASKS}.models", *_MODELS))
ACTIVATIONS = Function(f"{_TASKS}.activations:activations", 1, _COLLECTED)
STREAM = Function(f"{_TASKS}.activations:stream", 1, (*_COLLECTED, f"{_TASKS}.scans", "intriguing.units"))
INITIAL = Function(f"{_TASKS}.activations:initial", 1, (f"{_TASKS}.activations", "intriguing.models"))
SCAN = Function(f"{_TASKS}.scans:scan", 1, _SCANNED)
TOP = Function(f"{_TASKS}.scans:top", 1, (*_SCANNED, "intriguing.activations"))
PIXELS = Function(f"{_TASKS}.unit_tests:pixels", 1, _TESTED)
MOMENTS = Function(f"{_TASKS}.unit_tests:moments", 1, _TESTED)
SCORE = Function(f"{_TASKS}.unit_tests:score", 2, _TESTED)
NULL = Function(f"{_TASKS}.unit_tests:null", 1, _TESTED)
TEST = Function(f"{_TASKS}.unit_tests:test", 2, _TESTED)
CORRECT = Function(f"{_TASKS}.unit_answers:correct", 3, (f"{_TASKS}.unit_answers", "intriguing.units"))
MODEL_OR_DATA = Function(f"{_TASKS}.unit_answers:model_or_data", 3, (f"{_TASKS}.unit_answers", "intriguing.units"))
SEARCH = Function(f"{_TASKS}.blind_spots:search", 4, (f"{_TASKS}.blind_spots", "intriguing.blind_spots", *_MODELS))
CLEAN = Function(f"{_TASKS}.transfer:clean", 1, (f"{_TASKS}.transfer", "intriguing.transfer", *_MODELS))
FEED = Function(f"{_TASKS}.transfer:feed", 1, (f"{_TASKS}.transfer", "intriguing.transfer", *_MODELS))

_WORDS = (f"{_TASKS}.words", "intriguing.words", "intriguing.randomness")
ENCODE_TEXT = Function(f"{_TASKS}.words:encode_text", 1, _WORDS)
TRAIN_WORDS = Function(f"{_TASKS}.words:train_words", 1, _WORDS)
READ_VECTORS = Function(f"{_TASKS}.words:read_vectors", 1, _WORDS)
COUNT_WORDS = Function(f"{_TASKS}.words:count_words", 1, _WORDS)
DESCRIBE_WORDS = Function(f"{_TASKS}.words:describe_words", 1, _WORDS)
JUDGE_WORDS = Function(f"{_TASKS}.words:judge_words", 2, (*_WORDS, "intriguing.units"))
TEST_WORDS = Function(f"{_TASKS}.words:word_tests", 3, (*_WORDS, "intriguing.units"))

FUNCTIONS = (EXAMPLES, TRAIN, LOAD, SEARCH, CLEAN, FEED)
FUNCTIONS += (ACTIVATIONS, STREAM, INITIAL, SCAN, TOP, PIXELS, MOMENTS, SCORE, NULL, TEST, CORRECT, MODEL_OR_DATA)
FUNCTIONS += (ENCODE_TEXT, TRAIN_WORDS, READ_VECTORS, COUNT_WORDS, DESCRIBE_WORDS, JUDGE_WORDS, TEST_WORDS)
