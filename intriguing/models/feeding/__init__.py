"""Feeding a network: how large its batches are, in what order they go, and the logits that come back."""
