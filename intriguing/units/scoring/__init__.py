"""Scores of directions: their names, their formulas, and the projections that they are computed from."""
