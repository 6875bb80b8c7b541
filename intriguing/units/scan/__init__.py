"""The scan: the inputs with the largest and smallest projections on many directions, in one pass."""
