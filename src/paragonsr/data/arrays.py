"""Files of named arrays, and a sequence of texts that is two arrays: a million names are read as fast as two."""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

HEADER = "header"
"""Name of the array that holds the header, as JSON."""


class Texts(Sequence[str]):
    """Texts, read-only, as one array of all their UTF-8 bytes and one of the ends of each in it.

    Lone surrogates, as in file names that are not valid text, are kept.

    Args:
        content: the bytes of all texts, uint8.
        ends: end of each text in `content`, int64.

    Raises:
        ValueError: the ends do not lie in ascending order within the content.
    """

    def __init__(self, content: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        if len(ends) and (ends[-1] != len(content) or ends[0] < 0 or (np.diff(ends) < 0).any()):
            raise ValueError("the ends of the texts are damaged")
        self.content, self.ends = content, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Make the arrays from texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        index = range(len(self))[index]
        begin = self.ends[index - 1] if index else 0
        return self.content[begin : self.ends[index]].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


def write_arrays(file: BinaryIO, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a header (JSON) and arrays to an open file: an uncompressed .npz, with a checksum of each array."""
    named = {HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays}
    np.savez(file, allow_pickle=False, **named)


def read_arrays(path: Path, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the header and some arrays of a file; the others cost nothing.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: it is damaged, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return json.loads(found[HEADER].tobytes()), {name: found[name] for name in names}
    except (zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
