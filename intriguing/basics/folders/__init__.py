"""A run's folder on a disk or an object store: files written safely, and read as what anybody may have written."""
