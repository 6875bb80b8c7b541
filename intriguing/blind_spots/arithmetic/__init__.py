"""Sums on rows that know no network: the box, margins and losses, directions, small quadratic programs."""
