"""Which inputs a task works on: keyed draws, the same in every task, model, shard and executor."""

import numpy as np

from intriguing.data import Split
from intriguing.randomness import generator, hash_ids
from intriguing.stages.common.parameters import AttackedInputs, Shard


def drawn_positions(split: Split, count: int, seed: int, purpose: str) -> np.ndarray:
    """Positions of `count` inputs of `split`, ascending: those whose ids have the smallest keyed hashes.

    A draw of more holds every input of a draw of fewer.
    """
    if count >= len(split):
        return np.arange(len(split))
    return np.sort(np.argsort(hash_ids(seed, purpose, split.ids), kind="stable")[:count])


def attacked_positions(split: Split, attacked: AttackedInputs, shard: Shard) -> np.ndarray:
    """Positions of a shard of the attacked inputs, in the order of their keyed hashes: shards hold mixed classes."""
    order = np.argsort(hash_ids(attacked.seed, "attacked inputs", split.ids), kind="stable")
    return order[: attacked.images][shard.start : shard.stop]


def random_targets(ids: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """A wrong class per input, uniform among the wrong ones, keyed by the input's id."""
    steps = [int(generator(seed, "random target", int(i)).integers(1, classes)) for i in ids]
    return (labels + np.array(steps, dtype=np.int64)) % classes
