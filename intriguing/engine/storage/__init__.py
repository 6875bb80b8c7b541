"""A run's folder: who may write there, what is finished, and the tables that are published from it."""
