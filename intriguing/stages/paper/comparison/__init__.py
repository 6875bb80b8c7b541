"""The paper's tables as data, and the rows of the tables `paper_comparison` and `paper_claims`."""
