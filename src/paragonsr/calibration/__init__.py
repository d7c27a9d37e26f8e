"""Calibration: degradations whose parameters are fitted to a folder of bad images."""
