"""Metrics of SR images against HR images, measured by one protocol."""
