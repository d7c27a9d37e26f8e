"""Degradations: how LR images are made from HR images while training."""
