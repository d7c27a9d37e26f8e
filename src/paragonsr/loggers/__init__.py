"""Loggers: each shows the observations and decisions of a run somewhere, in one file each."""
