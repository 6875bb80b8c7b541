"""Judge one embedding under one condition: statistics of the natural basis, of the controls and of random rotations,
and the rows of its top words.

`intriguing.words.judging.inference` computes the tests from these statistics, over all folds, seeds and conditions.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from intriguing import randomness
from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.halves import OF_WHOLE_LISTS, random_half, standard_errors
from intriguing.tables.words import METRICS, EmbeddingKey
from intriguing.units import Directions, TopK
from intriguing.units.rotation import basis
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.algebra import covariance, product
from intriguing.words.judging.conditions import conditioned, varimax
from intriguing.words.judging.judges import TOP_WORDS, Panel, build_panel, draw_intruders, score
from intriguing.words.judging.options import JudgeOptions
from intriguing.words.judging.rows import word_rows
from intriguing.words.judging.statistics import Statistics
from intriguing.words.text.cooccurrence import Cooccurrence

_TOGETHER = 8
_LONGEST = 4096


def judge(
    trained: WordVectors,
    held_out: Cooccurrence,
    independent: WordVectors,
    key: EmbeddingKey,
    condition: str,
    options: JudgeOptions | None = None,
) -> tuple[pa.Table, Statistics]:
    """The `word_rows` and the statistics of `trained` under `condition`.

    held_out: counts of text that was not used for training (fold `key.fold`), for at least the words of `trained`.
    independent: an embedding trained on that text, or other text, from another start. key: the embedding's name in the
    tables; its seed and fold key all random draws.

    For each of `METRICS` the statistics have the mean over both ends of all directions: of the natural basis, of
    `options.rotations` Haar rotations, and of the controls ``varimax`` (positive), ``pca`` and ``gaussian``. In the
    negative control vectors are assigned to words at random, `options.deals` times; the natural basis and all rotations
    use the same assignments.

    Raises: `DataError` if the judges know too few of the words.
    """
    options = options or JudgeOptions()
    if (trained.counts < 0).any():
        raise InputError("These vectors bring no word counts: take them from a corpus (WordVectors.counted_in) first.")
    panel = build_panel(trained, held_out, independent, most=options.most_words)
    everything = conditioned(trained.vectors, condition, removed=options.removed)
    own_seed = randomness.key(options.seed, "word judges", key.fold, key.seed) & 0x7FFFFFFF
    bench = Bench(panel, everything[panel.rows], own_seed, options.pool_words, options.intruders)
    bases = _bases(everything, own_seed)
    dim = trained.dim
    deals = [
        generator(own_seed, "permuted words", *([number] if number else [])).permutation(len(panel.words))
        for number in range(options.deals)
    ]
    null, *dealt_null = bench.null(dim, options.rotations, deals)
    # Above 512 dimensions 512 directions of each basis are sampled.
    axes = basis(dim, -1, own_seed).astype(np.float32)
    natural, *dealt = bench.measure(axes, "natural", deals)
    [once] = Bench(panel, everything[panel.rows], own_seed, options.pool_words, 1).measure(axes, "natural")
    controls = {
        name: bench.measure(bases[name][:, : axes.shape[1]], name)[0] for name in ("varimax", "pca", "gaussian")
    }
    rows, matched = word_rows(trained, panel, everything, bases, key, condition, options)
    statistics = Statistics(
        corpus=key.corpus,
        seed=key.seed,
        fold=key.fold,
        condition=condition,
        words=len(panel.words),
        left_out=panel.left_out,
        lines=2 * axes.shape[1],
        measured={name: means(lines) for name, lines in {"trained": natural, **controls}.items()},
        null=null,
        dealt={
            m: np.array([[own[m].mean(), *others[m]] for own, others in zip(dealt, dealt_null, strict=True)])
            for m in METRICS
        },
        spread=bench.spread(dim, options.subsamples, options.subsample_rotations),
        intruders_found={m: int(once[m].sum()) for m in METRICS if m.startswith("intrusion")},
        matched_npmi=matched[0],
        matched_null=matched[1],
    )
    return rows, statistics


def _bases(vectors: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The bases (D, D) of the vectors (N, D) that `word_rows` lists, by name."""
    dim = vectors.shape[1]
    return {
        "natural": np.eye(dim, dtype=np.float32),
        "haar": basis(dim, 0, seed).astype(np.float32),
        "gaussian": Directions.gaussian(dim, dim, seed).columns,
        "pca": Directions.pca(covariance(vectors)).columns,
        "varimax": varimax(vectors).astype(np.float32),
    }


def means(lines: Mapping[str, np.ndarray]) -> dict[str, float]:
    """A basis's statistics from its lines' scores."""
    return {metric: float(values.mean()) for metric, values in lines.items()}


class Bench:
    """Scores any basis for the judged words and their vectors. Random draws depend on the seed and the basis's name."""

    def __init__(
        self, panel: Panel, x: np.ndarray, seed: int, pool_words: int, intruders: int, ids: np.ndarray | None = None
    ) -> None:
        """`x` (n, D): vectors of the panel's words `ids` (default: all)."""
        self.panel, self.x, self.seed, self.intruders = panel, np.ascontiguousarray(x, np.float32), seed, intruders
        self.ids = np.arange(len(x)) if ids is None else ids
        pool = generator(seed, "intruder pool").permutation(len(x))[:pool_words]
        self.pool = np.sort(pool)
        self._pooled = self.x[self.pool]
        norms = np.linalg.norm(self.x.astype(np.float64), axis=1)
        order = np.argsort(-norms, kind="stable")
        self._longest_first = self.x[order], self.ids[order], norms[order]

    def measure(self, columns: np.ndarray, name: str, deals: Sequence[np.ndarray] = ()) -> list[dict[str, np.ndarray]]:
        """Scores of all lines of a basis; then the same with the words permuted, for each permutation of `deals`.

        columns: (D, M). Scores are (2 M,): upper ends, then lower ends.
        """
        return self._scored(self._lists(columns, 1), [columns], [name], deals)

    def null(self, dim: int, rotations: int, deals: Sequence[np.ndarray] = ()) -> list[dict[str, np.ndarray]]:
        """The statistics of Haar rotations, (rotations,) each, with the words unchanged, then for each of `deals`."""
        statistics: list[dict[str, list[float]]] = [{m: [] for m in METRICS} for _ in range(1 + len(deals))]
        for numbers in _groups(range(rotations)):
            bases = [basis(dim, number, self.seed).astype(np.float32) for number in numbers]
            lists = self._lists(np.hstack(bases), len(bases))
            scored = self._scored(lists, bases, [f"rotation {number}" for number in numbers], deals)
            for collected, lines in zip(statistics, scored, strict=True):
                for metric, values in lines.items():
                    collected[metric] += values.reshape(len(bases), -1).mean(axis=1).tolist()
        return [{m: np.array(values) for m, values in collected.items()} for collected in statistics]

    def spread(self, dim: int, subsamples: int, rotations: int) -> dict[str, float]:
        """The standard error, by metric, of natural minus null mean over the choice of words.

        All bases use the same halves. Lists keep their length in a half, because the judges score pairs of words
        (`stats.halves`). For 1,000 words of the embedded text (raw and l2, natural and varimax) that gave 0.9 to 1.3
        times the spread over fresh words; lists of half the length gave 0.8 to 1.6 times.
        """
        bases = [basis(dim, number, self.seed).astype(np.float32) for number in range(-1, rotations)]

        def statistics_of_half(draw: int) -> dict[str, list[float]]:
            half = random_half(generator(self.seed, "half of the words", draw), len(self.x))
            bench = Bench(self.panel, self.x[half], self.seed, len(self.pool), self.intruders, self.ids[half])
            lists = bench._lists(np.hstack(bases), len(bases))
            names = [f"half {draw} rotation {number}" for number in range(-1, rotations)]
            scored = bench._scored(lists, bases, names)[0]
            return {m: values.reshape(len(bases), -1).mean(axis=1).tolist() for m, values in scored.items()}

        return standard_errors((statistics_of_half(draw) for draw in range(subsamples)), factor=OF_WHOLE_LISTS)

    def _lists(self, columns: np.ndarray, bases: int) -> np.ndarray:
        """Top words of every line, basis after basis: (bases 2 M, 20) numbers of the panel's words.

        Words are in the order of falling norm. A projection is at most the norm, so short vectors need no scan.
        """
        x, ids, norms = self._longest_first
        scan = TopK(Directions.matrix(columns), k=TOP_WORDS, both=True)
        scan.update(x[:_LONGEST], ids[:_LONGEST])
        if len(x) > _LONGEST:
            least = min(scan.result(1).values[:, -1].min(), -scan.result(-1).values[:, -1].max())
            longest = float(np.linalg.norm(columns.astype(np.float64), axis=0).max())
            reach = int(np.searchsorted(-norms, -least * (1 - 1e-5) / longest, side="right")) if least > 0 else len(x)
            scan.update(x[_LONGEST:reach], ids[_LONGEST:reach])
        ends = np.stack([scan.result(1).ids, scan.result(-1).ids])
        return ends.reshape(2, bases, -1, TOP_WORDS).transpose(1, 0, 2, 3).reshape(-1, TOP_WORDS)

    def _scored(
        self, lists: np.ndarray, bases: Sequence[np.ndarray], names: Sequence[str], deals: Sequence[np.ndarray] = ()
    ) -> list[dict[str, np.ndarray]]:
        intruders, ties = [], []
        for columns, name in zip(bases, names, strict=True):
            rng = generator(self.seed, "intruders", name)
            intruders.append(self.ids[self.pool[draw_intruders(product(self._pooled, columns), rng, self.intruders)]])
            # Each deal has its own random tie-breaking, so that deals are independent.
            ties.append(rng.random((1 + len(deals), self.intruders, 2 * columns.shape[1], 6)))
        intruder, tie = np.concatenate(intruders, axis=1), np.concatenate(ties, axis=2)
        scored = [score(self.panel, lists, intruder, tie[0])]
        return scored + [
            score(self.panel, deal[lists], deal[intruder], own) for deal, own in zip(deals, tie[1:], strict=True)
        ]


def _groups(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _TOGETHER):
        yield numbers[start : start + _TOGETHER]
