"""Checks of image folders before curation."""

from pathlib import Path

from paragonsr.data.image_file import ENDINGS
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError

__all__ = ["count_images", "image_files", "require_apart", "require_images"]


def count_images(root: Path) -> int:
    """Count the images under a folder.

    Raises:
        UserError: as in `image_files`, or there are no images.
    """
    require_images(root)
    return sum(1 for _ in image_files(root))


def require_images(root: Path) -> None:
    """Check that there is at least one image under a folder, before anything is written.

    Raises:
        UserError: as in `image_files`, or there are no images.
    """
    if next(image_files(root), None) is None:
        raise UserError(f"contains no images ({' '.join(sorted(ENDINGS))})", where=str(root))


def require_apart(source: Path, target: Path) -> None:
    """Check that output is not written among the input images, where it would be read as further input.

    Raises:
        UserError: the folders are equal, or one contains the other.
    """
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UserError(
            f"is the same as {source}, inside it, or contains it; the output would be read as further input",
            where=str(target),
            fix="Choose a separate folder.",
        )
