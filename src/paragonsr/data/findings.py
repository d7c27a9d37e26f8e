"""What the decoding of a set shows beside its samples: kept with its packed store, so that `check` decodes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.arrays import Texts
from paragonsr.data.image_file import orientation
from paragonsr.data.mismatch import mismatch
from paragonsr.data.pairing import Pair
from paragonsr.resize import Image

DIGEST_BYTES = 16
"""Length of an image's digest."""
ARRAYS = ("hr_digests", "oriented", "mismatched", "reasons", "reason_ends")
"""Names of the arrays in which findings are kept."""


@dataclass(frozen=True)
class Look:
    """Information about a decoded pair."""

    digest: bytes
    """Hash of the HR image alone."""
    oriented: bool
    """Whether the HR file has an EXIF orientation, which is applied."""
    mismatch: str | None
    """Why the pair does not show the same picture."""


@dataclass(frozen=True)
class Findings:
    """Information about the images of a set, by their positions."""

    hr_digests: NDArray[np.uint8]
    """Hash of each decoded HR image alone, whatever its LR image is: N x 16."""
    oriented: list[int]
    mismatches: dict[int, str]

    @classmethod
    def of(cls, looks: Sequence[Look]) -> "Findings":
        """Findings of the images of a set, in order."""
        return cls(
            np.frombuffer(b"".join(look.digest for look in looks), np.uint8).reshape(-1, DIGEST_BYTES),
            [i for i, look in enumerate(looks) if look.oriented],
            {i: look.mismatch for i, look in enumerate(looks) if look.mismatch},
        )

    @classmethod
    def from_arrays(cls, found: dict[str, NDArray[Any]], count: int) -> "Findings":
        """Read what `arrays` returned.

        Args:
            found: the arrays.
            count: number of images.

        Raises:
            ValueError: the arrays do not fit together.
        """
        reasons = Texts(found["reasons"], found["reason_ends"])
        oriented, mismatched = found["oriented"].tolist(), found["mismatched"].tolist()
        if len(found["hr_digests"]) != count or any(i not in range(count) for i in oriented + mismatched):
            raise ValueError("the findings are of another set")
        return cls(found["hr_digests"], oriented, dict(zip(mismatched, reasons, strict=True)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays of the names ARRAYS."""
        reasons = Texts.of(self.mismatches.values())
        lists = {"oriented": self.oriented, "mismatched": list(self.mismatches)}
        return {
            "hr_digests": self.hr_digests,
            **{name: np.array(positions, np.int64) for name, positions in lists.items()},
            "reasons": reasons.content,
            "reason_ends": reasons.ends,
        }


def look_at(pair: Pair, hr: Image, hr_digest: str, lq: Image | None, scale: int) -> Look:
    """Look at a decoded pair; it is compared with its LR image only if that comes from a file.

    Args:
        pair: its files.
        hr: HR image.
        hr_digest: its hash alone, hexadecimal.
        lq: LR image, which may be missing if it is not from a file.
        scale: HR side / LR side.
    """
    wrong = mismatch(hr, lq, scale) if pair.lq is not None and lq is not None else None
    return Look(bytes.fromhex(hr_digest), orientation(pair.hr) != 1, wrong)
