"""Losses of SR images against HR images; each a mean over samples, so that accumulation is exact."""
