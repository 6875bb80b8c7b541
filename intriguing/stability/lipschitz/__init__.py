"""Lipschitz constants of single operations: sound upper bounds, and values that are reached."""
