"""Text: its sources, a corpus as numbers, and which words occur near each other."""
