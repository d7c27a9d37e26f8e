"""Degradations, which make LR images from HR images during training."""
