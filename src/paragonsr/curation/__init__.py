"""From photographs to a training set: tile, score, select, downscale, report."""
