"""Top words of single dimensions of word vectors, beside those of random directions and those the study printed."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from intriguing.report.drawing import bands, forest
from intriguing.report.media import for_page
from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.text import figure
from intriguing.stages.words.printed import STUDY_ROWS
from intriguing.stats.findings import finding, scored_by

_DIRECTIONS = 5
_WORDS = 4
_CONDITION = {
    "raw": "Raw vectors",
    "l2": "Normalised vectors",
    "centred": "Centred vectors",
}
_BASIS = {
    "natural": "single dimensions",
    "gaussian": "random directions",
    "haar": "a random rotation",
    "pca": "principal components",
    "varimax": "varimax axes",
}
_JUDGES = {
    "npmi": "NPMI",
    "npmi_matched": "NPMI, matched",
    "cosine": "cosine",
    "intrusion_npmi": "intruders by NPMI",
    "intrusion_cosine": "intruders by cosine",
    "dist_ratio": "DistRatio",
}
_CONTROLS = {
    "trained": "Single dimensions",
    "varimax": "Varimax",
    "pca": "PCA",
    "gaussian": "Gaussian",
}
_DEALT = "permuted_words"
_REMARKS = {
    "constant_vectors": "vectors whose numbers are all equal, as in a row of zeros",
    "repeated_vectors": "vectors that equal an earlier word's: which of the words comes first is arbitrary",
    "constant_dimensions": "dimensions that are the same for all words: their top words are arbitrary",
    "words_in_another_normal_form": "words matched to the text although their Unicode normal form differs",
    "unended_lines": "last line without an end: its last number may have been cut",
}


def parts(context: Context) -> list[PagePart]:
    """For each corpus the verdict, the study's tables, tests with their controls, and norms against counts; no
    parts where no words were trained.
    """
    run = context.run
    rows = run.table("word_rows", sign=1, direction=list(range(_DIRECTIONS))).to_pylist()
    tests = run.table("word_tests").to_pylist()
    if not rows and not tests:
        return []
    said = {row["corpus"]: row["verdict"] for row in run.table("word_verdicts").to_pylist()}
    embeddings, norms = run.table("word_vectors").to_pylist(), run.table("word_norms").to_pylist()
    corpora = []
    for name in dict.fromkeys(row["corpus"] for row in [*rows, *tests]):
        study, others = _tables(context, [row for row in rows if row["corpus"] == name])
        corpora.append(
            {"corpus": name, "verdict": said.get(name), "study": study, "others": others}
            | _tests([test for test in tests if test["corpus"] == name])
            | _embeddings([row for row in embeddings if row["corpus"] == name], tests)
            | {"norms": _norms(context, name, [row for row in norms if row["corpus"] == name])}
        )
    html = render("stages/words/page.html", corpora=corpora, conditions=_CONDITION, controls=_CONTROLS, most=_WORDS)
    return [PagePart("words", "Word vectors", html)]


def headline(context: Context) -> list[tuple[str, str]]:
    """How many word embeddings there are."""
    embeddings = context.run.table("word_vectors", columns=["seed"]).num_rows
    return [figure(embeddings, "word embedding")] if embeddings else []


def _tables(context: Context, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The tables that the study printed, and those of other conditions and bases, of one training and one fold."""
    if not rows:
        return [], []
    _, shown = context.grouped(rows, "seed", "fold")[0]
    study, others = [], []
    for key, lines in context.grouped(shown, "condition", "basis"):
        theirs = STUDY_ROWS.get((key["condition"], key["basis"]), ())
        lines = sorted(lines, key=lambda line: line["direction"])
        table = key | {
            "title": f"{_CONDITION.get(key['condition'], key['condition'])}, {_BASIS.get(key['basis'], key['basis'])}",
            "of": len(lines[0]["words"]),
            "lines": [
                line | {"printed": theirs[line["direction"]] if line["direction"] < len(theirs) else ""}
                for line in lines
            ],
        }
        (study if theirs else others).append(table)
    return sorted(study, key=lambda table: table["condition"] != "raw"), others


def _tests(tests: list[Row]) -> Row:
    """The tests of the pool where there is one, else of the single embeddings: a figure, and a line per judge."""
    pooled = [test for test in tests if test["seed"] < 0]
    shown = sorted(
        pooled or tests, key=lambda test: (_rank(_CONDITION, test, "condition"), _rank(_JUDGES, test, "metric"))
    )
    lines: dict[tuple[str, str], Row] = {}
    for test in shown:
        if test["control"] in (*_CONTROLS, _DEALT) and test["metric"] != "any":
            line = lines.setdefault((test["condition"], test["metric"]), {"judge": _judge(test), "by": {}})
            line["by"][test["control"]] = test
    judged = [line | {"axes": line["by"]["trained"]} for line in lines.values() if "trained" in line["by"]]
    dealt = next((test for test in shown if test["control"] == _DEALT and test["metric"] == "any"), None)
    single = [_with_finding(test) for test in tests if test["control"] == "trained" and test["seed"] >= 0]
    return {
        "pooled": bool(pooled),
        "effects": _effects([line["axes"] for line in judged]),
        "judged": [
            (key, list(group)) for key, group in itertools.groupby(judged, lambda line: line["axes"]["condition"])
        ],
        "dealt": dealt,
        "matched": [line["axes"] for line in judged if line["axes"]["metric"] == "npmi_matched"],
        "controls": [c for c in list(_CONTROLS)[1:] if any(c in line["by"] for line in judged)],
        "chance": [test | {"judge": _judge(test)} for test in shown if test["control"] in ("chance", "count_matched")],
        "single": single,
    }


def _rank(names: Mapping[str, str], test: Row, column: str) -> int:
    """Where a test comes in the order of `names`; names that are not listed come last."""
    return list(names).index(test[column]) if test[column] in names else len(names)


def _judge(test: Row) -> str:
    return _JUDGES.get(str(test["metric"]), str(test["metric"]))


EFFECT_AXIS = "single dimensions minus rotations, in their standard deviations"
NORM_AXES = ("count of the word in the training text", "norm")


def _effects(tests: list[Row]) -> Markup | None:
    rows = effect_rows(tests)
    alt = "Effect of each test of single dimensions with its 95 % interval; the figures are in the table below."
    return for_page(alt, forest, rows, EFFECT_AXIS) if rows else None


def effect_rows(tests: list[Row]) -> list[tuple[str, float, float, float]]:
    """The effect of each test with its interval, in null standard deviations: (label, effect, low, high)."""
    rows = []
    for test in tests:
        if test["effect"] is not None and test["null_sd"]:
            ends = (test["effect"] if test[end] is None else test[end] / test["null_sd"] for end in ("low", "high"))
            rows.append((f"{test['condition']} · {_judge(test)}", test["effect"], *ends))
    return rows


def _embeddings(rows: list[Row], tests: list[Row]) -> Row:
    """What the embeddings are, with what was skipped while reading in words, how many words were judged, and what makes
    their top words arbitrary.
    """
    judged = {(t["corpus"], t["seed"], t["fold"]): t["n"] for t in tests if t["control"] == "trained"}
    embeddings, remarks = [], {}
    for row in rows:
        judged_words = judged.get((row["corpus"], row["seed"], row["fold"]), row["words"] - row["unjudged_words"])
        row = row | {"judged": judged_words}
        # Runs from before there was the column have none.
        remarks |= {kind: max(n, remarks.get(kind, 0)) for kind, n in json.loads(row.get("remarks") or "{}").items()}
        skipped = [f"{n:,} {what.replace('_', ' ')}" for what, n in json.loads(row["skipped"]).items() if n]
        embeddings.append(row | {"skipped": ", ".join(skipped)})
    return {
        "embeddings": embeddings,
        "foreign": any(row["training_words"] is None for row in rows),
        "racy": any(row["reproducible"] is False for row in rows),
        "least": min(embeddings, key=lambda row: row["judged"] / max(row["words"], 1), default=None),
        "remarks": [(n, _REMARKS.get(kind, kind.replace("_", " "))) for kind, n in remarks.items()],
    }


def _norms(context: Context, corpus: str, rows: list[Row]) -> Markup | None:
    """Norms of the vectors against their words' counts, of one embedding."""
    if not rows:
        return None
    alt = f"Norms of the word vectors of {corpus} against word counts: median, and 10 % to 90 % of words of like count."
    return for_page(alt, bands, *norm_bands(context, rows), *NORM_AXES)


def norm_bands(context: Context, rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts of words, and of the norms of words of like count the lower end, the median and the upper end."""
    _, shown = context.grouped(rows, "seed", "fold")[0]
    shown = sorted(shown, key=lambda row: row["count_low"])
    counts = np.sqrt([row["count_low"] * row["count_high"] for row in shown])
    low, middle, high = (np.array([row[f"norm_{part}"] for row in shown]) for part in ("low", "median", "high"))
    return counts, low, middle, high


def _with_finding(test: Row) -> Row:
    result = finding(test, replace(scored_by(_judge(test), "single dimensions"), datum="word"))
    return test | {"outcome": result.outcome, "sentence": result.sentence}
