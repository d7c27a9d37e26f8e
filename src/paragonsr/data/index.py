"""Index of a packed store: names, sizes and digests of its images, as arrays in one file.

    names, ends    all names, see `Texts`
    lr_shapes      height and width of each LR image, int32, N x 2
    digests        hash of the decoded HR and LR image, uint8, N x 16
    hr_digests, ...    what `paragonsr check` reports, see `Findings`

The header has the scale, whether there are LR images, and the fingerprint of all digests.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.data import findings
from paragonsr.data.arrays import Texts, read_arrays, write_arrays
from paragonsr.data.findings import DIGEST_BYTES, Findings, Look
from paragonsr.files import sync
from paragonsr.resize import Image

FORMAT = 3
"""Version of the layout of a store and of everything that determines the samples in it."""
NAME = "index.npz"
"""Name of the file in the folder of a store."""
ARRAYS = ("names", "ends", "lr_shapes", "digests", *findings.ARRAYS)
"""Names of the arrays."""


@dataclass(frozen=True)
class StoreIndex:
    """What a store holds, without the samples."""

    scale: int
    holds_lq: bool
    """False if LR images are made during training."""
    names: Texts
    lr_shapes: NDArray[np.int32]
    """N x 2: height and width of each LR image."""
    digests: NDArray[np.uint8]
    """N x 16: hash of each decoded HR and LR image."""
    content: str
    """Hash of the decoded images and their order."""
    findings: Findings

    @classmethod
    def of(
        cls,
        scale: int,
        holds_lq: bool,
        names: Iterable[str],
        lr_shapes: NDArray[np.int32],
        digests: Sequence[str],
        looks: Sequence[Look],
    ) -> "StoreIndex":
        """Index of images that were packed; the digests are hexadecimal."""
        as_bytes = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, DIGEST_BYTES)
        return cls(scale, holds_lq, Texts.of(names), lr_shapes, as_bytes, fingerprint(as_bytes), Findings.of(looks))

    @classmethod
    def read(cls, folder: Path) -> "StoreIndex":
        """Read the index of a store.

        Raises:
            OSError, ValueError: there is none, or it is damaged.
        """
        header, found = read_arrays(folder / NAME, ARRAYS)
        names = Texts(found["names"], found["ends"])
        if found["lr_shapes"].shape != (len(names), 2) or found["digests"].shape != (len(names), DIGEST_BYTES):
            raise ValueError(f"{folder} has an index of arrays that differ in length")
        findings = Findings.from_arrays(found, len(names))
        shapes, digests = found["lr_shapes"], found["digests"]
        try:
            return cls(header["scale"], header["holds_lr"], names, shapes, digests, header["content"], findings)
        except KeyError as error:
            raise ValueError(f"{folder} has an index without {error}") from error

    def write(self, folder: Path) -> None:
        """Write the index into the folder of a store, and wait until it is on the disk."""
        header = {"format": FORMAT, "scale": self.scale, "holds_lr": self.holds_lq, "content": self.content}
        arrays: dict[str, NDArray[Any]] = {"names": self.names.content, "ends": self.names.ends}
        with open(folder / NAME, "wb") as file:
            arrays |= {"lr_shapes": self.lr_shapes, "digests": self.digests}
            write_arrays(file, header, arrays | self.findings.arrays())
            sync(file)


def offsets(shapes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Byte offset of each image of N x 2 (height, width), and of the end of the last one: N + 1 values."""
    ends = np.zeros(len(shapes) + 1, np.int64)
    np.multiply(shapes[:, 0], shapes[:, 1], out=ends[1:], dtype=np.int64)
    ends *= 3
    return np.cumsum(ends, out=ends)


def digest(hr: Image, lr: Image | None) -> str:
    """Hash of the decoded images of a pair, hexadecimal."""
    images = [hr] if lr is None else [hr, lr]
    content = hashlib.blake2b(repr(tuple(image.shape for image in images)).encode(), digest_size=DIGEST_BYTES)
    for image in images:
        content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()


def fingerprint(digests: NDArray[np.uint8], *more: str) -> str:
    """Hash of N x 16 digests, and of further texts."""
    return fingerprint_of(digests.tobytes().hex(), *more)


def fingerprint_of(*texts: str) -> str:
    """Hash of texts, one after the other."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:32]
