"""Judging word vectors: the judges, what is measured of one embedding, and the tests of all of them."""
