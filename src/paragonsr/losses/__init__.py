"""Losses of SR images against HR images; each is a mean over samples, so that gradient accumulation is exact."""
