"""What the rotation tests are made on: the tested inputs' activations, labels and judges, and all scores wanted.

A shuffled label and a second judge are other looks at the same projections, so that these are computed once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from intriguing.activations import Skipped
from intriguing.engine.worker import Work
from intriguing.randomness import hash_ids
from intriguing.sweep.resources import device_name
from intriguing.sweep.tasks.activations import DRAW, Rows, collected, joined
from intriguing.sweep.tasks.draws import drawn_positions
from intriguing.sweep.tasks.names import ENCODER, PIXELS, SHUFFLED, TRAINED
from intriguing.sweep.tasks.scans import known_labels
from intriguing.units.judges import unit_rows
from intriguing.units.metrics import Scorer, scorers
from intriguing.units.scores import Depth
from intriguing.units.views import Inputs, View


@dataclass(frozen=True)
class Tested:
    """Inputs, and which columns of `inputs.judge` belong to which judge."""

    inputs: Inputs
    judges: dict[str, slice]


@dataclass(frozen=True)
class Score:
    """A score that is tested: what it is called in the tables, and how it is computed.

    The computed scorer has a name of its own for each judge and control: it is the column of the null's table.
    """

    control: str
    computed: Scorer
    judge: str | None = None

    @property
    def metric(self) -> str:
        """What the tables call the score."""
        return self.computed.metric.name


def tested(
    work: Work,
    layer: str,
    split: str,
    rows: int,
    seed: int,
    reduce: str,
    dtype: str,
    judge_layer: str,
    threads: int,
    slots: int,
) -> Tested:
    """The tested inputs: the `rows` of the scanned ones that come first in the draw, one place of the map each.

    Activations are read from the input `activations`, or where there is none computed by the resource `model`; those
    of the judging network likewise (`judge`, or `encoder`, at `judge_layer`); the input `pixels` is the second judge.
    """
    torch.set_num_threads(threads)
    work.device = device_name()
    forward = (split, rows, seed, reduce, dtype, slots)
    own = _rows(work, "activations", "model", layer, *forward)
    ids, vectors = _one_place(own, seed)
    judges: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if judge_layer:
        judges[ENCODER] = _mean_over_places(_rows(work, "judge", "encoder", judge_layer, *forward))
    for table in work.tables("pixels"):
        judges[PIXELS] = np.asarray(table["example_id"]), _matrix(table)
    for judged, _ in judges.values():
        keep = np.isin(ids, judged)
        ids, vectors = ids[keep], vectors[keep]
    slices, parts, first = {}, [], 0
    for name, (judged, seen) in judges.items():
        order = np.argsort(judged)
        parts.append(unit_rows(seen[order[np.searchsorted(judged[order], ids)]]))
        slices[name] = slice(first, first + seen.shape[1])
        first += seen.shape[1]
    known, labels = known_labels(work)
    own_labels = labels[np.searchsorted(known, ids)]
    judge = np.concatenate(parts, axis=1) if parts else None
    return Tested(Inputs.of(vectors, ids, labels=own_labels, judge=judge, seed=seed), slices)


def live(inputs: Inputs, k: int) -> Inputs | None:
    """`inputs` without the units whose largest value more than `k` inputs share (the dead ones among them).

    None where there are no such units, or where fewer than two are left.
    """
    values = inputs.activations
    useless = (values == values.max(axis=0)).sum(axis=0) > k
    return inputs.without(useless) if useless.any() and (~useless).sum() > 1 else None


def scores_of(found: Tested, names: Sequence[str], k: int, seed: int, shuffled: bool) -> list[Score]:
    """The scores called `names`: judged ones once for each judge, those that need labels also `shuffled`."""
    scores = []
    for scorer in scorers(names, Depth(k=k)):
        if not scorer.metric.judged:
            scores.append(Score(TRAINED, scorer))
        for judge in (ENCODER, PIXELS) if scorer.metric.judged else ():
            if judge in found.judges:
                name = scorer.name if judge == ENCODER else f"{scorer.name}_{judge}"
                looked = _looked(scorer, name, judge, _judged(found.judges[judge]))
                scores.append(Score(TRAINED, looked, judge))
    if shuffled:
        for scorer in scorers(names, Depth(k=k)):
            if "labels" in scorer.metric.needs:
                looked = _looked(scorer, f"{SHUFFLED} {scorer.name}", SHUFFLED, lambda inputs: inputs.shuffled(seed))
                scores.append(Score(SHUFFLED, looked))
    return scores


def _looked(scorer: Scorer, name: str, kind: str, change: Callable[[Inputs], Inputs]) -> Scorer:
    """`scorer`, called `name`, of the same basis with inputs of another `kind`: their labels or judge changed."""

    def looking(score: Callable[[View], np.ndarray]) -> Callable[[View], np.ndarray]:
        def looked(view: View) -> np.ndarray:
            # What is made once stays with the inputs that it was made of, and goes with them.
            changed = vars(view.inputs).setdefault("changed", {})
            if kind not in changed:
                changed[kind] = change(view.inputs)
            return score(view.with_inputs(changed[kind]))

        return looked

    return replace(scorer, name=name, score=looking(scorer.score), score_half=looking(scorer.score_half))


def _judged(columns: slice) -> Callable[[Inputs], Inputs]:
    def change(inputs: Inputs) -> Inputs:
        assert inputs.judge is not None
        return replace(inputs, judge=unit_rows(inputs.judge[:, columns]))

    return change


def _rows(
    work: Work,
    stored: str,
    network: str,
    layer: str,
    split: str,
    rows: int,
    seed: int,
    reduce: str,
    dtype: str,
    slots: int,
) -> Rows:
    tables = work.tables(stored, ["example_id", "position", "vector"])
    if tables:
        ids = np.concatenate([np.asarray(t["example_id"]) for t in tables])
        wanted = _first(ids, rows, seed)
        keep = [np.isin(np.asarray(t["example_id"]), wanted) for t in tables]
        positions = np.concatenate([np.asarray(t["position"])[k] for t, k in zip(tables, keep, strict=True)])
        vectors = np.concatenate([_matrix(t)[k] for t, k in zip(tables, keep, strict=True)])
        return Rows(ids[np.concatenate(keep)], positions, vectors)
    part = work.resource("dataset").splits[split]
    chosen = drawn_positions(part, rows, seed, DRAW)
    skipped: list[Skipped] = []
    blocks = collected(work.resource(network), part, chosen, [layer], reduce, dtype, slots, skipped)
    return joined([block for _, block in blocks])


def _first(ids: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """The `rows` inputs among `ids` that a draw of so many would have taken."""
    names = np.unique(ids)
    return names[np.argsort(hash_ids(seed, DRAW, names), kind="stable")[:rows]]


def _one_place(found: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and vectors of one row per input: places of one map are no independent inputs, so one is drawn by a key."""
    places = int(found.positions.max(initial=0)) + 1
    drawn = hash_ids(seed, "tested place", found.ids) % np.uint64(places)
    keep = found.positions.astype(np.uint64) == drawn
    return found.ids[keep], found.vectors[keep]


def _mean_over_places(found: Rows) -> tuple[np.ndarray, np.ndarray]:
    starts = np.flatnonzero(found.positions == 0)
    sums = np.add.reduceat(found.vectors.astype(np.float32), starts, axis=0)
    return found.ids[starts], sums / np.diff(np.append(starts, len(found.ids)))[:, None].astype(np.float32)


def _matrix(table: object) -> np.ndarray:
    vectors = table["vector"].combine_chunks()  # type: ignore[index]
    return np.asarray(vectors.flatten()).reshape(-1, vectors.type.list_size)
