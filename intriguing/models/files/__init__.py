"""The weights of a model in files, and what a model keeps outside of them."""
