"""SIGINT and SIGTERM: finish the step, then stop."""

import signal
from types import FrameType, TracebackType

from paragonsr.training.engine.device_context import DeviceContext


class Interruption:
    """While open, the first SIGINT or SIGTERM is remembered instead of ending the process; a second SIGINT ends it.

    Args:
        hardware: with several processes they agree at each hand-over, so that all stop after the same step.
    """

    def __init__(self, device_context: DeviceContext) -> None:
        self._hardware = device_context
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
            if value is not None and number == signal.SIGTERM and self._hardware.world > 1:
                continue  # torchrun ends all when one is lost: this one is ending, and has still to say why
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signalled = True

    def requested(self, *, at_flush: bool) -> bool:
        """Whether training should stop after this step."""
        if self._hardware.world == 1:
            return self._signalled
        return at_flush and self._hardware.any_process(self._signalled)
