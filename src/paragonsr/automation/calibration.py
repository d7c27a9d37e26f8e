"""Calibration of the loss balance from statistics of the training images and the network's size.

Only the course of the shares is calibrated: `late_share`, if it is null. The other constants need no calibration: they
are in steps or relative to measured values, so they mean the same for every network and every set of images.

The mapping was meant to be fitted to a sweep of MS-SSIM's share (none, 0.10, 0.28, and 0.27 fading to 0.02) over the
flattest and the most textured third of 245 photographs, with Nano and 3 seeds: benchmarks/calibration_sweep.py. No
effect on the final PSNR exceeded its interval, nor did any difference between the two kinds of images
(docs/evidence/calibration.json); other network sizes were not measured. So the mapping is constant. Its value is the
middle of the range found harmless: it starts at the user's share and goes halfway to the main loss alone, which is best
for the final PSNR.
"""

from collections.abc import Mapping

from paragonsr.automation.options import LossBalanceOptions

LATE_SHARE = 0.5
"""`late_share` for all images and networks."""


def calibrated(options: LossBalanceOptions, values: Mapping[str, float], parameters: int) -> LossBalanceOptions:
    """Fill in the options that are null; keys set by the user win.

    Args:
        options: as configured.
        values: statistics of the training images, see `paragonsr.data.statistics`.
        parameters: parameter count of the network.
    """
    if options.late_share is not None:
        return options
    return options.model_copy(update={"late_share": LATE_SHARE})


def table(options: LossBalanceOptions, values: Mapping[str, float], parameters: int) -> list[str]:
    """Human-readable lines: the measured values, and the resulting calibration.

    Args:
        options: as configured.
        values: statistics of the training images.
        parameters: parameter count of the network.
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
