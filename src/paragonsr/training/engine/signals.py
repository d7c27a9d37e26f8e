"""Handling of SIGINT and SIGTERM: finish the step, then stop."""

import signal
from types import FrameType, TracebackType

from paragonsr.training.engine.device_context import DeviceContext


class Interruption:
    """Context in which the first SIGINT or SIGTERM only requests a stop; a second SIGINT ends the process.

    Args:
        device_context: device and processes; several processes agree at each flush, so that all stop at the same step.
    """

    def __init__(self, device_context: DeviceContext) -> None:
        self._device_context = device_context
        self._signalled = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            if value is not None and number == signal.SIGTERM and self._device_context.world > 1:
                continue  # torchrun ends all processes when one is lost; this one must still report why it ends
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signalled = True

    def requested(self, *, at_flush: bool) -> bool:
        """Whether training should stop after this step."""
        if self._device_context.world == 1:
            return self._signalled
        return at_flush and self._device_context.any_process(self._signalled)
