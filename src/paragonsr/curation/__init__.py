"""Curation of training sets from photographs: tile, score, select, downscale, report."""
