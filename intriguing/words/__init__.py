"""The question of `units` for word vectors: are the top words of single axes more similar than those of other
directions?

Word vectors are an N x D table, as activations are. This package has corpora, training, judges that use other text than
the training, and a control for word frequency. Directions, top K and the rotation test are those of `units`. `steps`
lists the tasks in order.
"""

from intriguing.words.embeddings.formats import from_keyed_vectors, read_vectors
from intriguing.words.embeddings.training import TrainingOptions, train
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.inference import verdict, word_tests
from intriguing.words.judging.one_embedding import judge
from intriguing.words.judging.options import JudgeOptions
from intriguing.words.text.cooccurrence import Cooccurrence, count_windows, npmi
from intriguing.words.text.corpus import Corpus, read_corpus, select_folds

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
