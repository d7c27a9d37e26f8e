"""Loggers, one file each, which send the observations and decisions of a run to a service or to files."""
