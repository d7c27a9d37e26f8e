"""Generators of files derived from the code: references, schemas, the architecture graph."""
