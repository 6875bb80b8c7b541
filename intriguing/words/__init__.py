"""The unit question on word vectors: do single axes gather words that belong together, more than random directions?

A table of word vectors is one more N x D table of activations. Corpora and training are here, judges that never saw the
training text, and the frequency control that words need; directions, top-K and the rotation test are those of `units`.
`steps` holds the tasks in order.
"""

from intriguing.words.cooccurrence import Cooccurrence, count_windows, npmi
from intriguing.words.corpus import Corpus, read_corpus, select_folds
from intriguing.words.formats import from_keyed_vectors, read_vectors
from intriguing.words.inference import verdict, word_tests
from intriguing.words.judging import judge
from intriguing.words.options import JudgeOptions
from intriguing.words.training import TrainingOptions, train
from intriguing.words.vectors import WordVectors

__all__ = [
    "Cooccurrence",
    "Corpus",
    "JudgeOptions",
    "TrainingOptions",
    "WordVectors",
    "count_windows",
    "from_keyed_vectors",
    "judge",
    "npmi",
    "read_corpus",
    "read_vectors",
    "select_folds",
    "train",
    "verdict",
    "word_tests",
]
