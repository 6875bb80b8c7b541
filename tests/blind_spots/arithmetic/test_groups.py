"""Rows of a search by their examples: the least, the first and the row of a rank, beside what a loop finds."""

import pytest
import torch

from intriguing.blind_spots.arithmetic.groups import Groups, ranked

INFINITY = float("inf")
OWNER = torch.tensor([2, 0, 2, 0, 3, 2, 0, 3])
VALUES = torch.tensor([4.0, 7.0, 1.0, 7.0, INFINITY, 2.0, 9.0, INFINITY])
GROUPS = Groups.of(OWNER)
"""Four examples: 1 has no row, 3 no finite value, and 0 its smallest value twice."""


def rows_of(example):
    """The rows of an example, the smallest value first."""
    return sorted((example == OWNER).nonzero().flatten().tolist(), key=lambda row: (float(VALUES[row]), row))


def test_least_and_total_are_of_each_example():
    assert GROUPS.count == 4
    assert GROUPS.least(VALUES).tolist() == [7.0, INFINITY, 1.0, INFINITY]
    index = torch.tensor([0, 5, 6])
    assert GROUPS.least(VALUES[index], index).tolist() == [9.0, INFINITY, 2.0, INFINITY]
    assert GROUPS.total(torch.ones(8)).tolist() == [3.0, 0.0, 3.0, 2.0]


def test_the_first_row_is_one_per_example_with_a_finite_value():
    assert GROUPS.first(VALUES).tolist() == [1, 2]
    assert GROUPS.earliest(VALUES > 1.5).tolist() == [0, 1, 4]


@pytest.mark.parametrize("rank", range(4))
def test_the_row_of_a_rank_is_that_or_the_last_with_a_finite_value(rank):
    finite = [[row for row in rows_of(example) if VALUES[row] < INFINITY] for example in range(4)]
    wanted = sorted(rows[min(rank, len(rows) - 1)] for rows in finite if rows)
    assert sorted(GROUPS.at_rank(VALUES, rank).tolist()) == wanted


def test_ranks_are_counted_within_an_example_and_the_least_value_stands_beside_each():
    ranks, least = ranked(VALUES, OWNER)
    for row in range(8):
        rows = rows_of(int(OWNER[row]))
        assert int(ranks[row]) == rows.index(row) and float(least[row]) == float(VALUES[rows[0]])
