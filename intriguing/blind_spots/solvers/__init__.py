"""The solvers, and the loop that runs them."""
