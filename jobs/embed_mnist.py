"""Rebuild the sample of MNIST that the wheel embeds: `python jobs/embed_mnist.py ROOT` (ROOT in torchvision's layout).

8,000 images of the training set and 2,000 of the test set, each class in its share of that set (largest remainders),
drawn with the seed below. An image keeps its number: n in the training set, 60,000 + n in the test set, so an example
of the sample has the same id in the data set `mnist`. The file is the same, byte for byte, whenever it is rebuilt.
"""

import argparse
import hashlib
import io
import lzma
from pathlib import Path

import numpy as np

from intriguing import randomness
from intriguing.data.files import read_idx

SEED = 1312
SIZES = {"train": 8_000, "test": 2_000}
FILES = {"train": ("train", 0), "test": ("t10k", 60_000)}


def shares(labels: np.ndarray, size: int) -> np.ndarray:
    """How many of each class to draw, `size` in all: proportional, what is left over to the largest remainders."""
    exact = np.bincount(labels) * size / len(labels)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: size - counts.sum()]] += 1
    return counts


def draw(labels: np.ndarray, size: int, split: str) -> np.ndarray:
    """The sorted positions of the images that the sample takes from a split."""
    chosen = [
        randomness.generator(SEED, "mnist sample", split, digit).permutation(np.flatnonzero(labels == digit))[:count]
        for digit, count in enumerate(shares(labels, size))
    ]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the sample of MNIST that the wheel embeds.")
    parser.add_argument("root", type=Path, help="the folder that holds MNIST/raw")
    default = Path(__file__).resolve().parents[1] / "intriguing" / "data" / "mnist_sample.npz.xz"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    arrays = {}
    for split, (prefix, first) in FILES.items():
        raw = arguments.root / "MNIST" / "raw"
        images, labels = (read_idx(raw / f"{prefix}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
        rows = draw(labels, SIZES[split], split)
        arrays |= {
            f"{split}_images": images[rows],
            f"{split}_labels": labels[rows],
            f"{split}_ids": (rows + first).astype(np.int32),
        }
    plain = io.BytesIO()
    np.savez(plain, **arrays)
    packed = lzma.compress(plain.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    arguments.out.write_bytes(packed)
    print(f"{arguments.out}: {len(packed):,} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main()
