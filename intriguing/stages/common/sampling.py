"""Which inputs a task works on: draws by hashes of ids, the same in every task, for every model, shard and executor."""

import numpy as np

from intriguing.data import Split
from intriguing.randomness import generator, hash_ids
from intriguing.stages.common.parameters import AttackedInputs, Shard


def drawn_positions(ids: np.ndarray, count: int, seed: int, purpose: str) -> np.ndarray:
    """Positions of `count` of the `ids` (n,), ascending: those with the smallest hashes (keyed by the seed).

    A larger draw contains every smaller one.
    """
    if count >= len(ids):
        return np.arange(len(ids))
    return np.sort(np.argsort(hash_ids(seed, purpose, ids), kind="stable")[:count])


def attacked_positions(split: Split, attacked: AttackedInputs, shard: Shard) -> np.ndarray:
    """Positions of a shard of the attacked inputs, in the order of their keyed hashes: shards hold mixed classes."""
    order = np.argsort(hash_ids(attacked.seed, "attacked inputs", split.ids), kind="stable")
    return order[: attacked.images][shard.start : shard.stop]


def random_targets(ids: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """A wrong class per input, uniform among the wrong ones, keyed by the input's id."""
    steps = [int(generator(seed, "random target", int(i)).integers(1, classes)) for i in ids]
    return (labels + np.array(steps, dtype=np.int64)) % classes
