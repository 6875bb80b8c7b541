"""What a sweep tells of its run: the page, the text of a terminal, figures, and remarks while it is at work."""
