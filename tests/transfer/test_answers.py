"""Rows of answers as arrays of models and images."""

import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.transfer.answers import Collector, Network


def test_rows_come_together_in_any_order():
    models = (Network("a", 0, "x", "x"), Network("b", 0, "y", "y"))
    collector = Collector(models, [7, 3, 5])
    collector.clean(["b", "a"], [0, 0], [5, 3], [True, False])
    collector.changed("minimal", (["a", "a"], [0, 0]), (["b", "b"], [0, 0]), [7, 3], ([True, False], [0.1, 0.2]))
    collector.noise("noise 0.1", (["b"], [0]), [5], [True])
    answers = collector.answers()
    assert answers.images.tolist() == [3, 5, 7]
    assert answers.clean[1].tolist()[1] == 1
    assert np.isnan(answers.clean[1, 0])
    assert answers.cells("minimal")[0, 1, [0, 2]].tolist() == [0, 1]
    assert np.isnan(answers.cells("minimal")[1]).all()
    assert answers.rms["minimal"][0, 2] == pytest.approx(0.1)
    assert answers.cells("noise 0.1")[:, 1, 1].tolist() == [1, 1]
    assert answers.both_right.sum() == 1  # image 3 with itself: b was not fed it, and a not the others
    with pytest.raises(InputError, match="not attacked"):
        collector.clean(["a", "a"], [0, 0], [3, 4], [True, True])
    with pytest.raises(InputError, match="minimal, noise"):
        answers.cells("amplified")
