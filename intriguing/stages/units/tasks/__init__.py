"""What the tasks of the unit question compute: activations, scans, the rotation tests and their inputs, the answers."""
