"""Random numbers keyed by what they are for.

Nothing in this package draws from a shared stream: every draw is made from a counter-based generator whose key is a
hash of the root seed, a purpose and the ids concerned. So the target of image 17 is the same in every grade, model,
shard, machine and executor, and adding a model changes no other model's numbers.
"""

import hashlib

import numpy as np

_MASK = (1 << 64) - 1


def key(seed: int, purpose: str, *ids: int | str) -> int:
    """A 128-bit key: the BLAKE2b hash of the root `seed`, the `purpose` and the `ids`."""
    text = "\x1f".join([str(int(seed)), purpose, *(f"{type(i).__name__}:{i}" for i in ids)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *ids: int | str) -> np.random.Generator:
    """A NumPy generator (Philox) that depends on the root `seed`, the `purpose` and the `ids`, and on nothing else."""
    return np.random.Generator(np.random.Philox(key=key(seed, purpose, *ids)))


def torch_seed(seed: int, purpose: str, *ids: int | str) -> int:
    """A seed for `torch.Generator().manual_seed`, keyed as `generator` is: an integer in [0, 2**63)."""
    return key(seed, purpose, *ids) & (_MASK >> 1)


def hash_ids(seed: int, purpose: str, ids: np.ndarray) -> np.ndarray:
    """One 64-bit hash per id: an element-wise bijection of int64 `ids` to uint64, keyed by seed and purpose.

    Ties between equal activations are broken by it, never by the id itself, which often follows the classes. The mixing
    is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", fig. 18).
    """
    with np.errstate(over="ignore"):
        z = np.asarray(ids).astype(np.uint64) ^ np.uint64(key(seed, purpose) & _MASK)
        z = (z + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
