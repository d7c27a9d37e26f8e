"""Programs that keep what is derived from the code true: references, schema, pictures of the architecture."""
