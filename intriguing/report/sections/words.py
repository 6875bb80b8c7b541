"""Top words of single dimensions of word vectors, beside those of random directions."""

from typing import Any

from intriguing.report.section import Context, Section, render
from intriguing.report.text import verdict

_DIRECTIONS = 5
_WORDS = 4


def section(context: Context) -> Section | None:
    """The study's tables (first dimensions, top words) and the tests; None where no words were trained."""
    rows = context.run.pandas("word_rows", sign=1)
    tests = context.run.table("word_tests").to_pylist()
    if rows.empty and not tests:
        return None
    corpora = []
    for corpus, group in rows.groupby("corpus"):
        # One training and one fold are shown; the tests cover all of them.
        seed = group.seed.min()
        one = group[(group.seed == seed) & (group.fold == group.fold[group.seed == seed].min())]
        tables = []
        for condition in sorted(set(one.condition), key=lambda c: (c != "raw", c)):
            for basis in sorted(set(one.basis), key=lambda b: (b != "natural", b)):
                part = one[(one.condition == condition) & (one.basis == basis)].sort_values("direction")
                lines = part.head(_DIRECTIONS).to_dict("records")
                if lines:
                    tables.append({"condition": condition, "basis": basis, "lines": lines})
        corpora.append({"corpus": corpus, "seed": int(seed), "fold": int(one.fold.iloc[0]), "tables": tables})
    html = render("words.html", corpora=corpora, tests=[_told(t) for t in tests], most=_WORDS)
    return Section("words", "Word vectors", html)


def _told(test: dict[str, Any]) -> dict[str, Any]:
    outcome, sentence = verdict(test)
    return test | {"outcome": outcome, "sentence": sentence}
