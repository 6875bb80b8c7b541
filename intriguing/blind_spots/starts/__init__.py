"""Where searches begin: further starts, points all around, and which wrong classes go on."""
