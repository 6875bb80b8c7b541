"""Word vectors: as one table, read from files, or trained."""
