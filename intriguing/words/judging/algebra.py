"""Matrix products and decompositions that give the same bits on all machines of one kind.

They use torch with the number of threads set for the process. NumPy's BLAS uses all cores, and the last bits of its
results depend on their number.
"""

import numpy as np
import torch


def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The matrix product of (A, B) and (B, C) of one floating type: (A, C)."""
    return (_tensor(first) @ _tensor(second)).numpy()


def covariance(x: np.ndarray) -> np.ndarray:
    """The covariance (D, D), float64, of the (N, D) rows of `x`."""
    centred = x.astype(np.float64)
    centred -= centred.mean(axis=0)
    return product(centred.T, centred) / max(len(x) - 1, 1)


def eigenvectors(symmetric: np.ndarray) -> np.ndarray:
    """The eigenvectors of a symmetric matrix as columns, smallest eigenvalue first."""
    return torch.linalg.eigh(_tensor(symmetric))[1].numpy()


def singular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The singular value decomposition u, values, v^T."""
    u, values, vt = torch.linalg.svd(_tensor(matrix))
    return u.numpy(), values.numpy(), vt.numpy()


def _tensor(array: np.ndarray) -> torch.Tensor:
    # Copy read-only arrays and negative strides, which torch cannot share.
    shareable = array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if shareable else array.copy())
