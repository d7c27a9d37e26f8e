"""What curation asks of a folder of images before it reads them."""

from pathlib import Path

from paragonsr.data.image_file import ENDINGS
from paragonsr.data.walk import image_files
from paragonsr.errors import UserError

__all__ = ["count_images", "image_files", "require_apart", "require_images"]


def count_images(root: Path) -> int:
    """How many images there are under a folder.

    Raises:
        UserError: as `image_files`, or there is none.
    """
    require_images(root)
    return sum(1 for _ in image_files(root))


def require_images(root: Path) -> None:
    """See that there is an image under a folder, before anything is written.

    Raises:
        UserError: as `image_files`, or there is none.
    """
    if next(image_files(root), None) is None:
        raise UserError(f"holds no image ({' '.join(sorted(ENDINGS))})", where=str(root))


def require_apart(source: Path, target: Path) -> None:
    """See that what is made of a folder's images does not come to lie among them, where it would be taken for more.

    Raises:
        UserError: one folder is the other, or contains it.
    """
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UserError(
            f"is {source}, or lies in it or around it; the output would be read as further input",
            where=str(target),
            fix="Choose a folder of its own.",
        )
