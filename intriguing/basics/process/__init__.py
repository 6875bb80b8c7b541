"""The process that computes: its memory, its signs of life, its end, and what users' code changes of it."""
