"""Calibration of the degradation: what was fitted to the folder of bad images, as decisions."""

from collections.abc import Mapping, Sequence
from typing import Any

from paragonsr.automation.protocol import Decision, Measurements, Observation

CALIBRATED = "degradation of "
"""Kind of the measurements, followed by the phase of the set."""


class DegradationCalibration:
    """Journals the fitted pipeline of each set with `degradation: {like: FOLDER}`, before the first step."""

    name = "degradation_calibration"
    watches = "traits of the bad images, and of simulations"
    may_change = "degradation"

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Decide when a fit is done."""
        if not isinstance(observation, Measurements) or not observation.kind.startswith(CALIBRATED):
            return ()
        values = dict(observation.values)
        phase = observation.kind.removeprefix(CALIBRATED)
        reason = (
            f"fitted to {values['images']:.0f} images: energy distance of all traits {values['distance']:.3f}, "
            f"{values['bicubic']:.3f} with the bicubic resize alone, {values['floor']:.3f} between halves of the folder"
        )
        return (Decision(self.name, f"degradation/{phase}", _described(values), reason, values),)

    def state_dict(self) -> dict[str, Any]:
        """Empty: the decision is made once."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""


def _described(values: Mapping[str, float]) -> str:
    """Such as "blur 98% 1.00 to 2.13, jpeg 100% 40 to 71"."""
    shown = []
    for name in (key.removesuffix("/share") for key in values if key.endswith("/share")):
        span = [f"{values[f'{name}/{end}']:.3g}" for end in ("low", "high") if f"{name}/{end}" in values]
        shown.append(" ".join([name, f"{values[f'{name}/share']:.0%}", " to ".join(span)]).strip())
    return ", ".join(shown) or "clean"
