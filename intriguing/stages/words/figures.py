"""Figures of word vectors: effects of the tests, and norms against counts."""

from matplotlib.figure import Figure

from intriguing.report.drawing import bands, forest
from intriguing.report.named_figures import NamedFigure, distinct
from intriguing.report.parts import Context
from intriguing.results import Run
from intriguing.stages.words.page import EFFECT_AXIS, NORM_AXES, effect_rows, norm_bands


def word_effects(run: Run, corpus: str) -> Figure:
    """The effects of the tests of single dimensions, of the pool where there is one."""
    tests = run.table("word_tests", corpus=corpus, control="trained").to_pylist()
    return forest(effect_rows([t for t in tests if t["seed"] < 0] or tests), EFFECT_AXIS)


def word_norms(run: Run, corpus: str) -> Figure:
    """Norms of the word vectors against the words' counts."""
    return bands(*norm_bands(Context(run), run.table("word_norms", corpus=corpus).to_pylist()), *NORM_AXES)


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    tested = "control = 'trained' and effect is not null and null_sd > 0"
    return (
        NamedFigure(
            "word_effects",
            "The effects of the tests of single dimensions of word vectors.",
            word_effects,
            lambda run: distinct(run, "word_tests", "corpus", where=tested),
        ),
        NamedFigure(
            "word_norms",
            "Norms of word vectors against word counts.",
            word_norms,
            lambda run: distinct(run, "word_norms", "corpus"),
        ),
    )
