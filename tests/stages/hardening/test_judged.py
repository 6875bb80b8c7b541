"""How soon a training reaches an error: from its rows, epoch by epoch."""

import pytest

from intriguing.stages.hardening.outcome.judged import goals, reaching

CURVE = [{"epoch": epoch, "error": error} for epoch, error in ((1, 0.3), (2, 0.2), (3, 0.1), (4, 0.15))]


@pytest.mark.parametrize(("goal", "epoch"), [(0.3, 1), (0.25, 2), (0.2, 2), (0.1, 3)])
def test_an_error_is_reached_in_the_first_epoch_that_is_at_most_that(goal, epoch):
    row = reaching(CURVE, goal)
    assert row is not None and row["epoch"] == epoch
    assert reaching(CURVE, 0.09) is None


def test_goals_are_multiples_of_the_mean_last_error_and_the_first_may_be_given():
    trainings = {0: CURVE, 1: [*CURVE, {"epoch": 5, "error": 0.25}]}
    assert goals(trainings, None) == pytest.approx((1.1 * 0.2, 2 * 0.2))
    assert goals(trainings, 0.05) == pytest.approx((0.05, 2 * 0.2))
