"""Texts as two arrays, and files of arrays."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragonsr.data.arrays import Texts, read_arrays, write_arrays


@given(st.lists(st.text(st.characters())), st.data())
def test_texts_are_those_they_were_made_from(texts: list[str], data: st.DataObject) -> None:
    packed = Texts.of(texts)
    assert (list(packed), len(packed)) == (texts, len(texts))
    chosen = data.draw(st.slices(len(texts)))
    assert packed[chosen] == tuple(texts[chosen])
    for index in range(-len(texts), len(texts)):
        assert packed[index] == texts[index]
    for outside in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            packed[outside]


def test_a_file_name_that_is_not_text() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    assert Texts.of([name])[0] == name


@pytest.mark.parametrize("ends", [[3, 2, 5], [-1, 5], [2, 6], [2, 4]])
def test_damaged_ends(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="damaged"):
        Texts(np.frombuffer(b"abcde", np.uint8), np.array(ends, np.int64))


def test_a_file_of_arrays(tmp_path: Path) -> None:
    file = tmp_path / "some.npz"
    with file.open("wb") as out:
        write_arrays(out, {"a": 1}, {"x": np.arange(5), "y": np.empty((0, 2))})
    header, found = read_arrays(file, ("x",))
    assert (header, list(found), found["x"].tolist()) == ({"a": 1}, ["x"], [0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"some\.npz is damaged"):
        read_arrays(file, ("z",))
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz", ())
    content = file.read_bytes()
    for length in (0, 50, len(content) - 10):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"damaged|pickle"):
            read_arrays(file, ("x",))
    alone = io.BytesIO()
    np.save(alone, np.arange(3))
    file.write_bytes(alone.getvalue())
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(file, ("x",))
