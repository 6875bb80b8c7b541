"""Lower bounds around an image by lines around each function, and by a semidefinite program."""
