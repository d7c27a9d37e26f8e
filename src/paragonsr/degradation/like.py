"""A degradation that is fitted to a folder of bad images before training starts."""

from typing import TYPE_CHECKING, Literal, NoReturn

from pydantic import Field

from paragonsr.degradation.options import DegradationOptions
from paragonsr.errors import UserError
from paragonsr.options import PathText

if TYPE_CHECKING:
    from paragonsr.degradation.base import AnyDegradation


class LikeOptions(DegradationOptions):
    """Fits a pipeline to a folder of bad images: `degradation: {like: FOLDER}`.

    When training starts, it becomes the `pipeline` whose degraded HR images have the traits of the folder's images.
    The journal says what was found. A resumed run keeps its pipeline.
    """

    type: Literal["like"] = "like"
    target = "paragonsr.degradation.like:refuse"
    like: PathText
    """Folder of at least 8 bad images. They need no HR images, and should not show what training images show."""
    seed: int = Field(0, ge=0)
    """Seed of the simulations that the fit is based on."""


def refuse(options: LikeOptions, *, scale: int, seed: int) -> "AnyDegradation":
    """Nothing can be built before the fit."""
    _refused(options.like)


def _refused(folder: str) -> NoReturn:
    raise UserError(
        f"the degradation like {folder} is fitted when training starts",
        where="degradation",
        fix=f"Run paragonsr data calibrate {folder} first, and use the degradation of the file that it writes.",
    )
