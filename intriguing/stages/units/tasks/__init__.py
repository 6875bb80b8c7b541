"""What the tasks of this stage compute."""
