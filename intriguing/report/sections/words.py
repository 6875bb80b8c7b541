"""Top words of single dimensions of word vectors, beside those of random directions."""

from intriguing.report.section import Context, Row, Section, render
from intriguing.report.text import verdict

_DIRECTIONS = 5
_WORDS = 4


def section(context: Context) -> Section | None:
    """The study's tables (first dimensions, top words) and the tests; None where no words were trained."""
    rows = context.run.table("word_rows", sign=1, direction=list(range(_DIRECTIONS))).to_pylist()
    tests = context.run.table("word_tests").to_pylist()
    if not rows and not tests:
        return None
    corpora = []
    for corpus, group in context.grouped(rows, "corpus"):
        # One training and one fold are shown; the tests cover all of them.
        one, shown = context.grouped(group, "seed", "fold")[0]
        tables = [
            key | {"lines": sorted(lines, key=lambda line: line["direction"])}
            for key, lines in context.grouped(shown, "condition", "basis")
        ]
        corpora.append(corpus | one | {"tables": tables})
    html = render("words.html", corpora=corpora, tests=[_told(test) for test in tests], most=_WORDS)
    return Section("words", "Word vectors", html)


def _told(test: Row) -> Row:
    outcome, sentence = verdict(test)
    return test | {"outcome": outcome, "sentence": sentence}
