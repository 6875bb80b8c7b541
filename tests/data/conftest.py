"""What tests of data sets make."""

import numpy as np
import pytest


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "some set.npz"
        np.savez(path, **arrays)
        return f"npz:{path}"

    return write
