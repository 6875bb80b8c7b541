"""What a network computes: its traced operations, the graph that they make, and what a graph does not show."""
