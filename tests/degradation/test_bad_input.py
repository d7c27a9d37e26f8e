"""Each mistake in a degradation gets one clear message with its line, and exit code 2."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragonsr.cli import main

Configure = Callable[..., Path]
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown step": ({"type": "blurr"}, "steps.0: unknown type 'blurr'; did you mean 'blur'?"),
    "no type": ({"sigma": [1, 2]}, "steps.0: needs a `type`"),
    "unknown key": ({"type": "jpeg", "qualty": [1, 2]}, "steps.0.qualty: unknown key; did you mean 'quality'?"),
    "minimum above maximum": (
        {"type": "blur", "sigma": [3, 1]},
        "steps.0.sigma: the minimum 3 is larger than the maximum 1",
    ),
    "negative sigma": ({"type": "blur", "sigma": [-1, 1]}, "steps.0.sigma: should be above 0, not -1 to 1"),
    "negative noise": ({"type": "gaussian_noise", "sigma": -3}, "steps.0.sigma: should be between 0 and 255, not -3"),
    "probability": ({"type": "blur", "prob": 1.5}, "steps.0.prob: should be less than or equal to 1, not 1.5"),
    "quality": ({"type": "jpeg", "quality": [50, 101]}, "steps.0.quality: should be between 1 and 100, not 50 to 101"),
    "three numbers": ({"type": "jpeg", "quality": [1, 2, 3]}, "steps.0.quality: should have at most 2 items"),
    "even kernel": ({"type": "blur", "size": [4, 8]}, "steps.0.size: should be two odd whole numbers from 3 to 99"),
    "no weight": ({"type": "blur", "kernels": {"iso": 0}}, "steps.0.kernels: needs at least one weight above 0"),
    "inside a branch": (
        {"type": "one_of", "branches": [{"steps": [{"type": "jpeg", "quality": 0}]}]},
        "steps.0.branches.0.steps.0.quality: should be between 1 and 100, not 0 to 0",
    ),
}


def _refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert caught.value.code == 2, said
    assert said.count("error:") == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line(
    mistake: str, tiny_config: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    step, expected = MISTAKES[mistake]
    path = tiny_config({"datasets.train.degradation": {"type": "pipeline", "steps": [step]}})
    said = _refused(capsys, "check", path)
    assert f"datasets.train.degradation.{expected}" in said
    assert f"{path}:" in said


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize("phase", ["train", "val"])
def test_a_codec_that_is_not_installed_is_named(
    command: str,
    phase: str,
    tiny_config: Configure,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without_av(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_av)
    steps = [{"type": "one_of", "branches": [{"steps": [{"type": "h264"}]}]}]
    path = tiny_config({f"datasets.{phase}.degradation": {"type": "pipeline", "steps": steps}})
    said = _refused(capsys, command, path)
    assert "video codecs need the package av" in said
    assert "pip install 'paragonsr[video]'" in said
    if phase == "train" or command == "check":
        assert not list((path.parent / "cache").rglob("*.bin")), "nothing was packed"


@pytest.mark.parametrize(("kind", "feature"), [("avif", "avif"), ("webp", "webp")])
def test_a_pillow_without_a_codec(
    kind: str,
    feature: str,
    tiny_config: Configure,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: name != feature)
    path = tiny_config({"datasets.train.degradation": {"type": "pipeline", "steps": [{"type": kind}]}})
    assert "this installation of Pillow cannot write" in _refused(capsys, "check", path)


def test_a_libvips_without_hevc(
    tiny_config: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyvips

    def lacking(*_: Any, **__: Any) -> Any:
        raise pyvips.Error("Unsupported compression")

    monkeypatch.setattr("paragonsr.degradation.image_codecs._heif", lacking)
    path = tiny_config({"datasets.train.degradation": {"type": "pipeline", "steps": [{"type": "heif"}]}})
    assert "this installation of libvips cannot write HEIF" in _refused(capsys, "check", path)
