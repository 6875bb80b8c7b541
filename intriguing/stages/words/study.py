"""The word-vector study's four tables, in its own layout, beside what it printed.

The study trained gensim's Word2Vec with defaults on text8 and listed the top four words of the first five directions:
raw and L2-normalised vectors, natural axes and random directions. It judged them by eye. Its random directions'
distribution is not stated; here they are Gaussian.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from intriguing.errors import InputError
from intriguing.results import Run
from intriguing.stages.words.printed import STUDY_ROWS

_CONDITION = {"raw": "Raw vectors", "l2": "Normalised vectors"}
_BASIS = {"natural": "natural axes", "gaussian": "random directions"}


@dataclass(frozen=True)
class StudyRow:
    """A direction in one of the four tables. The judges' figures are of the row's whole list, the shown words are its
    first; None where the judges know too few of them.
    """

    direction: int
    words: tuple[str, ...]
    npmi: float | None
    matched_percentile: float | None
    median_count: float
    printed: str


@dataclass(frozen=True)
class StudyTable:
    """One of the four tables: a title, how many words the figures rest on, and the rows."""

    title: str
    condition: str
    basis: str
    listed: int
    rows: tuple[StudyRow, ...]


def printed(run: Run) -> str:
    """Per corpus of the spec the four tables and the verdict, or that they are not there yet."""
    words = run.section("words")
    return "\n\n".join(_of_corpus(run, name) for name in (*words.get("corpora", ()), *words.get("vectors", ())))


def _of_corpus(run: Run, corpus: str) -> str:
    """The four tables of the first seed and fold of `corpus`, and the verdict of all."""
    rows, said = run.table("word_rows", corpus=corpus), run.table("word_verdicts", corpus=corpus)
    if not rows.num_rows or not said.num_rows:
        return f"{corpus}: the study is not finished; `intriguing show {run.path} failures` says why."
    seed, fold = min(zip(rows["seed"].to_pylist(), rows["fold"].to_pylist(), strict=True))
    tables = render(study_tables(rows, corpus=corpus, seed=seed, fold=fold))
    return f"{corpus} (seed {seed}, fold {fold} held out)\n\n{tables}\n{said['verdict'][0]}"


def study_tables(
    rows: pa.Table, *, corpus: str, seed: int, fold: int, directions: int = 5, words: int = 4
) -> list[StudyTable]:
    """The study's four tables from `word_rows`; a condition or basis that was not run gives no table.

    Raises `InputError` when there are no rows of this corpus, seed and fold.
    """
    here = rows.filter(
        (pc.field("corpus") == corpus)
        & (pc.field("seed") == seed)
        & (pc.field("fold") == fold)
        & (pc.field("sign") == 1)
    )
    if not here.num_rows:
        raise InputError(f"There are no word rows of corpus {corpus!r}, seed {seed}, fold {fold}.")
    tables = []
    for (condition, basis), printed in STUDY_ROWS.items():
        chosen = here.filter((pc.field("condition") == condition) & (pc.field("basis") == basis))
        ours = chosen.sort_by("direction").slice(0, directions).to_pylist()
        if not ours:
            continue
        lines = tuple(
            StudyRow(
                row["direction"] + 1,
                tuple(row["words"][:words]),
                row["npmi"],
                row["matched_percentile"],
                row["median_count"],
                printed[row["direction"]] if row["direction"] < len(printed) else "",
            )
            for row in ours
        )
        title = f"{_CONDITION[condition]}, {_BASIS[basis]}"
        tables.append(StudyTable(title, condition, basis, len(ours[0]["words"]), lines))
    return tables


def render(tables: list[StudyTable]) -> str:
    """The tables as plain text, one line per direction.

    ``matched`` is the percentile of NPMI among random words of the same counts, ``count`` the words' median count.
    """
    ours = max([len(" ".join(r.words)) for t in tables for r in t.rows] + [len("top words")])
    lines = []
    for table in tables:
        judged = f"NPMI, matched and count are of the top {table.listed}"
        lines += [
            f"{table.title} ({judged})",
            f"dim  {'top words':<{ours}}   NPMI  matched    count  the study printed",
        ]
        for row in table.rows:
            npmi = "    -" if row.npmi is None else f"{row.npmi:5.2f}"
            matched = "     -" if row.matched_percentile is None else f"{row.matched_percentile:4.0f} %"
            shown = f"{' '.join(row.words):<{ours}}  {npmi}   {matched:>6}  {row.median_count:7.0f}"
            lines.append(f"{row.direction:>3}  {shown}  {row.printed}".rstrip())
        lines.append("")
    return "\n".join(lines)
