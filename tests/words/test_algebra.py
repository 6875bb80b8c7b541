import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from intriguing.randomness import generator
from intriguing.words.judging.algebra import covariance, eigenvectors, product, singular
from intriguing.words.judging.conditions import conditioned, varimax

DRAWN = generator(0, "algebra").standard_normal((300, 12))


def digest():
    x = generator(0, "algebra of words").standard_normal((3000, 100))
    return hashlib.sha256(conditioned(x, "centred").tobytes() + varimax(x, iterations=3).tobytes()).hexdigest()


def test_products_and_decompositions_are_numpys():
    frozen = DRAWN.copy()
    frozen.flags.writeable = False
    assert np.allclose(product(frozen.T[::-1], frozen), DRAWN.T[::-1] @ DRAWN, atol=1e-11)
    assert np.allclose(covariance(frozen), np.cov(DRAWN.T), atol=1e-12)
    axes = eigenvectors(covariance(DRAWN))
    assert np.allclose(covariance(DRAWN @ axes), np.diag(np.linalg.eigvalsh(np.cov(DRAWN.T))), atol=1e-12)
    u, values, vt = singular(DRAWN[:12])
    assert np.allclose(u @ np.diag(values) @ vt, DRAWN[:12])


@pytest.mark.slow
def test_numpys_number_of_threads_changes_no_bit():
    code = "import sys, torch; sys.path.insert(0, sys.argv[1]); torch.set_num_threads(1)\n"
    code += "import test_algebra; print(test_algebra.digest())"
    found = set()
    for threads in ("1", "2"):
        env = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", code, os.path.dirname(__file__)]  # noqa: PTH120
        found.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1
