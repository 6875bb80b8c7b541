"""Top words of single dimensions of word vectors, beside those of random directions."""

from intriguing.report.section import Context, Row, Section, render
from intriguing.report.text import verdict

_DIRECTIONS = 5
_WORDS = 4
_PRINTED = {
    ("raw", True): "million site come files / wars troops border between / upon reason song though / "
    "stations my satellite traffic / be than many pre",
    ("raw", False): "estimated age married league / been worked became came / ratio has estimated population / "
    "did million cost saw / number world man years",
    ("l2", True): "avanti phasing compiled interviews / slavs crusaders peace syria / donation reason greeson saints / "
    "station flooded traffic traveling / lynx bronze lighthouse celtic",
    ("l2", False): "lusthog surprise would showed / happened saw exploded showed / hope chances chance got / "
    "flight bombers troop flew / unemployed adult married females",
}
"""The rows that the study of word vectors printed, judged by eye, by condition and whether the basis is natural."""


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
            key
            | {
                "lines": sorted(lines, key=lambda line: line["direction"]),
                "printed": _PRINTED.get((key["condition"], key["basis"] == "natural")),
            }
            for key, lines in context.grouped(shown, "condition", "basis")
        ]
        corpora.append(corpus | one | {"tables": tables})
    plain = [_told(test) for test in tests if test["alpha"] == 0 and test["control"] == "trained"]
    # Where tests over all seeds and folds were made, they are the answer and the others are details.
    pooled = [test for test in plain if test["seed"] < 0 and test["fold"] < 0]
    rest = [test for test in plain if test not in pooled] if pooled else []
    html = render("words.html", corpora=corpora, tests=pooled or plain, rest=rest, most=_WORDS)
    return Section("words", "Word vectors", html)


def _told(test: Row) -> Row:
    outcome, sentence = verdict(test | {"metric": "NPMI" if test["metric"] == "npmi" else test["metric"]}, "dimension")
    return test | {"outcome": outcome, "sentence": sentence}
