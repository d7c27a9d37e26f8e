"""From what the training images are like, and the network's size, to how the losses are balanced.

What is calibrated is the course of the shares: `late_share`, where it is null. The other constants need no calibration:
they count in steps and relative to what is measured, and mean the same for every network and every set of images.

The map was to be fitted on a sweep of MS-SSIM's share (none, 0.10, 0.28, and 0.27 fading to 0.02) over the flattest and
the most textured third of 245 photographs, Nano, 3 seeds: benchmarks/calibration_sweep.py. No effect on the final PSNR
exceeded its interval, and neither did any difference between the two kinds of images (docs/evidence/calibration.json);
other sizes were not measured. So the map is constant. Its constant is the middle of what was measured as harmless: it
begins with the user's share and goes half-way to the main loss alone, which is what PSNR asks for in the end.
"""

from collections.abc import Mapping

from paragonsr.automation.options import LossBalanceOptions

LATE_SHARE = 0.5
"""`late_share` for all images and networks."""


def calibrated(options: LossBalanceOptions, values: Mapping[str, float], parameters: int) -> LossBalanceOptions:
    """The options with a value for each key that was null; a key that the user wrote wins.

    Args:
        options: as they were written.
        values: of the training images, see `paragonsr.data.statistics`.
        parameters: of the network.
    """
    if options.late_share is not None:
        return options
    return options.model_copy(update={"late_share": LATE_SHARE})


def table(options: LossBalanceOptions, values: Mapping[str, float], parameters: int) -> list[str]:
    """Lines for a person: what was measured, and what follows from it.

    Args:
        options: as they were written.
        values: of the training images.
        parameters: of the network.
    """
    measured = [f"  {name:16} {value:.3f}" for name, value in values.items()]
    lines = ["training images (each value from 0 to 1)", *measured, f"network: {parameters} parameters"]
    late, origin = options.late_share, "as written"
    if late is None and options.auto_calibrate:
        late, origin = calibrated(options, values, parameters).late_share, "calibrated"
    elif late is None:
        late, origin = 1.0, "default; auto_calibrate is off"
    start = ", ".join(f"{label} {share:g}" for label, share in options.target_shares.items())
    lines += [
        "the losses' shares of the gradient over the run",
        f"  begins with      {start or 'what the configured weights give'}",
        f"  share_floor      {options.share_floor:g}",
        f"  late_share       {late:g}  ({origin})",
    ]
    if options.auto_calibrate:
        lines += ["  the same for all images and networks:", "  in the sweep no effect exceeded its interval"]
    return lines
