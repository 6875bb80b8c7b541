"""Text for terminals and notebooks."""
