"""What is given back: confirmed, on a grid, bounded from below."""
