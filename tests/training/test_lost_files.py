"""Resume of a run whose files were lost, truncated or damaged."""

from collections.abc import Callable
from pathlib import Path

import pytest

from paragonsr.archs.weights import read_weights
from paragonsr.config.load import load_config
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]


@pytest.fixture
def half(tiny_config: Configure) -> tuple[Path, TrainResult]:
    """A run of twelve iterations, six of which are done, and its configuration."""
    path = tiny_config({"logger.save_checkpoint_freq": 6})
    return path, train(load_config(path, ["train.total_iter=6"]).config)


def _resumed(path: Path) -> tuple[TrainResult, str]:
    result = train(load_config(path).config)
    return result, (result.folder / "train.log").read_text(encoding="utf-8").partition("resuming after")[0]


@pytest.mark.parametrize("name", ["observations.bin", "validations.jsonl", "tb"])
@pytest.mark.parametrize("left", [0, 10])
def test_a_record_that_is_shorter_than_its_checkpoint_is_named(
    half: tuple[Path, TrainResult], name: str, left: int
) -> None:
    path, before = half
    (file,) = (before.folder / "tb").glob("events.*") if name == "tb" else [before.folder / name]
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:left])
    result, said = _resumed(path)
    assert f"{file.relative_to(before.folder)}: only {left} of the {size} bytes recorded up to this" in said
    assert result.iteration == 12


def test_a_whole_record_is_not_named(half: tuple[Path, TrainResult]) -> None:
    assert "bytes recorded" not in _resumed(half[0])[1]


@pytest.mark.parametrize("damage", ["missing", "truncated", "one bit", "another run's"])
def test_best_weights_that_are_lost_do_not_stop_a_resume(half: tuple[Path, TrainResult], damage: str) -> None:
    path, before = half
    best = before.folder / "models" / "best.safetensors"
    data = bytearray(best.read_bytes())
    if damage == "missing":
        best.unlink()
    elif damage == "truncated":
        best.write_bytes(data[: len(data) // 2])
    elif damage == "one bit":
        data[-3] ^= 4
        best.write_bytes(data)
    else:
        best.write_bytes(b"no weights")
    result, said = _resumed(path)
    assert "the search for the best weights starts over" in said
    assert result.best is not None
    assert result.best["iteration"] == 12
    read_weights(result.weights)
    assert result.weights == best
