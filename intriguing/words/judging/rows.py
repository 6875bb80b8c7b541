"""The table `word_rows`: the top words of each direction, with their scores."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from intriguing import tables
from intriguing.randomness import generator
from intriguing.tables.words import EmbeddingKey
from intriguing.units import Directions, TopK
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.frequency import matched_draws
from intriguing.words.judging.judges import Panel
from intriguing.words.judging.options import JudgeOptions

_LINES_TOGETHER = 50


def word_rows(
    trained: WordVectors,
    panel: Panel,
    vectors: np.ndarray,
    bases: Mapping[str, np.ndarray],
    key: EmbeddingKey,
    condition: str,
    options: JudgeOptions,
) -> tuple[pa.Table, tuple[float, np.ndarray]]:
    """The rows of every basis in `bases` (D, M), and for the natural one the mean NPMI of its rows with its null from
    count-matched words, (draws,).

    Rows list the top words among all words with a vector, as the paper does. The NPMI of a row leaves out words that
    the judges do not know; it is null if fewer than 2 remain. `vectors` (N, D): `trained` under the condition.
    """
    number = np.full(len(trained.words), -1, np.int64)
    number[panel.rows] = np.arange(len(panel.rows))
    parts, matched = [], (float("nan"), np.full(options.matched_draws, np.nan))
    for name, columns in bases.items():
        scan = TopK(Directions.matrix(columns), k=options.row_words, both=True)
        scan.update(vectors, np.arange(len(vectors)))
        lists = np.concatenate([scan.result(1).ids, scan.result(-1).ids])
        rng = generator(options.seed, "matched words", name, condition, key.seed, key.fold)
        npmi, percentile, null = judged_rows(panel, number[lists], options.matched_draws, rng)
        if name == "natural" and not np.isnan(npmi).all():
            matched = (float(np.nanmean(npmi)), null)
        many = columns.shape[1]
        parts.append(
            tables.WORD_ROWS.build(
                {
                    "direction": np.tile(np.arange(many), 2),
                    "sign": np.repeat([1, -1], many),
                    "words": [[trained.words[i] for i in line] for line in lists.tolist()],
                    "npmi": [None if np.isnan(v) else float(v) for v in npmi],
                    "matched_percentile": [None if np.isnan(v) else float(v) for v in percentile],
                    "median_count": np.median(trained.counts[lists], axis=1),
                },
                **key.columns,
                condition=condition,
                basis=name,
            )
        )
    return pa.concat_tables(parts), matched


def judged_rows(
    panel: Panel, lists: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of `lists` (L, K) of the panel's words (-1: unknown): NPMI (L,), its percentile among `draws` count-matched
    random lists (L,), and the mean over the lists of each draw's NPMI (draws,). NaN where fewer than 2 words are known.
    """
    npmi, percentile = np.full(len(lists), np.nan), np.full(len(lists), np.nan)
    total, judged = np.zeros(draws), 0
    sizes = (lists >= 0).sum(axis=1)
    for size in sorted(set(sizes[sizes >= 2].tolist())):
        here = np.flatnonzero(sizes == size)
        first, second = np.triu_indices(size, 1)
        for start in range(0, len(here), _LINES_TOGETHER):
            lines = here[start : start + _LINES_TOGETHER]
            sets = lists[lines][lists[lines] >= 0].reshape(-1, size)
            value = panel.npmi(sets[:, first], sets[:, second]).mean(axis=1)
            random_sets = matched_draws(panel.stratum, sets, draws, rng)
            null = panel.npmi(random_sets[..., first], random_sets[..., second]).mean(axis=2)
            npmi[lines] = value
            percentile[lines] = 100 * ((null < value).mean(axis=0) + 0.5 * (null == value).mean(axis=0))
            total += null.sum(axis=1)
            judged += len(lines)
    return npmi, percentile, total / max(judged, 1)
