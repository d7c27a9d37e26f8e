"""Logger for TensorBoard event files."""

from pathlib import Path

from paragonsr.loggers.base import Image, ScalarLogger
from paragonsr.loggers.options import LoggedRun, TensorBoardOptions


class TensorBoardLogger(ScalarLogger):
    """Scalars, texts and pictures in `<run>/tb/`.

    Args:
        options: whether loss shares are written.
        run: the run whose folder is used.
    """

    def __init__(self, options: TensorBoardOptions, run: LoggedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._shares = options.loss_shares
        self._writer = SummaryWriter(str(Path(run.folder) / "tb"))

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        """Write scalars by their tags."""
        for tag, value in values.items():
            if self._shares or not tag.startswith("loss_share/"):
                self._writer.add_scalar(tag, value, iteration)

    def text(self, tag: str, text: str, iteration: int) -> None:
        """Write a text."""
        self._writer.add_text(tag, text, iteration)

    def picture(self, name: str, image: Image, iteration: int) -> None:
        """Write an SR image."""
        self._writer.add_image(f"val/{name}", image, iteration, dataformats="HWC")

    def flush(self) -> None:
        """Write everything so far to the event file."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
