"""From what the training images are like, and the network's size, to how the losses are balanced.

The map was to be fitted on measured sweeps; no effect on PSNR exceeded its interval (docs/evidence.md, calibration), so
it is constant, and the table says so. The statistics are measured, shown and kept with the run all the same.
"""

from collections.abc import Iterator, Mapping

from paragonsr.automation.options import LossBalanceOptions

ENTRIES: dict[str, float] = {"share_floor": 0.9}
"""Key -> value for all images and networks."""


def calibrated(options: LossBalanceOptions, figures: Mapping[str, float], parameters: int) -> LossBalanceOptions:
    """The options with the calibrated values; keys that the user wrote win."""
    values = {key: value for key, value in ENTRIES.items() if key not in options.model_fields_set}
    return options.model_copy(update=values)


def table(options: LossBalanceOptions, figures: Mapping[str, float], parameters: int) -> Iterator[str]:
    """Lines for a person: the statistics, and what follows from them."""
    yield "training images, 0 .. 1  " + "  ".join(f"{name}: {value:.3f}" for name, value in figures.items())
    if not options.auto_calibrate:
        yield "auto_calibrate is off: the keys count as they stand"
        return
    made = calibrated(options, figures, parameters)
    for key in ENTRIES:
        written = " (written, it wins)" if key in options.model_fields_set else ""
        yield f"  {key:12} {getattr(made, key):g}{written}"
    yield "  the same for all images and networks: no measured effect exceeded its interval (docs/evidence.md)"
