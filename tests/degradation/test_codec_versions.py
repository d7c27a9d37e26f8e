"""run.json knows the codecs, and a resume under others says so."""

import json
from collections.abc import Callable
from pathlib import Path

from paragonsr.config import load_config
from paragonsr.degradation.codec_versions import changed_codecs, codec_versions
from paragonsr.training.run import train

Configure = Callable[..., Path]


def test_versions_are_numbers() -> None:
    found = codec_versions()
    assert {"libjpeg", "libwebp", "libvips"} <= found.keys()
    assert all(version[0].isdecimal() for version in found.values())
    assert changed_codecs(found) == ""


def test_what_has_changed_is_named() -> None:
    before = codec_versions() | {"libwebp": "0.1", "libold": "3"}
    said = changed_codecs(before)
    assert f"libold 3 -> missing, libwebp 0.1 -> {codec_versions()['libwebp']}" in said


def test_a_run_remembers_them(tiny_config: Configure) -> None:
    path = tiny_config({"datasets.train.degradation": {"type": "realesrgan"}, "train.total_iter": 2})
    folder = train(load_config(path).config).folder
    description = json.loads((folder / "run.json").read_text())
    assert description["codecs"] == codec_versions()
    description["codecs"]["libjpeg"] = "1.0"
    (folder / "run.json").write_text(json.dumps(description))
    train(load_config(path, ["train.total_iter=4"]).config)
    assert "libjpeg 1.0 -> " in (folder / "train.log").read_text()
    assert json.loads((folder / "run.json").read_text())["codecs"]["libjpeg"] == "1.0", "what it began with"


def test_without_a_degradation_there_are_none(tiny_config: Configure) -> None:
    folder = train(load_config(tiny_config({"train.total_iter": 1})).config).folder
    assert "codecs" not in json.loads((folder / "run.json").read_text())
