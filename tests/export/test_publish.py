"""A published folder: complete, accepted by OpenModelDB's rules, and without a word about this machine."""

import getpass
import hashlib
import json
import re
import socket
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import paragonsr
from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.errors import UserError
from paragonsr.export.openmodeldb import architecture, canonical, model_id
from paragonsr.export.publish import push, without_places
from paragonsr.training.run import train

pytest.importorskip("onnxruntime")

SAID = ["--repo", "me/2x-Mine", "--licence", "MIT", "--data", "my photographs, CC0 1.0"]
FILES = {
    "2x-Mine.json",
    "2x-Mine.safetensors",
    "2x-Mine-spandrel.safetensors",
    "2x-Mine_fp32_op18.onnx",
    "README.md",
    "SHA256SUMS",
    "config.yml",
    *(f"{kind}_{number}.png" for kind in ("before", "after") for number in (1, 2)),
}

# --- OpenModelDB's rules: src/lib/model-props.ts, validate-model.ts and schema-util.ts of August 2026 -----------------
ID = {
    "model": r"\d+x-[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*",
    "user": r"[a-z0-9]+(?:-[a-z0-9]+)*",
    "arch": r"[a-z0-9]+(?:-[a-z0-9]+|[+])*",
    "tag": r"(?:[a-z0-9]+:)?[a-z0-9]+(?:-[a-z0-9]+|[+])*",
}
ARCHITECTURES = (
    "atd cain cain-yuv compact craft cugan dat dctlsa ditn drct edsr esrgan esrgan+ grl hat hma ludvae mosr omnisr "
    "rcan real-cugan realplksr realplksr-dysample rgt rife sofvsr span spsr sr-res-net srformer swift-srgan swinir "
    "tscunet"
).split()
TAGS = "anime cartoon compression-removal deblur denoise faces general-upscaler jpeg photo pretrained research".split()


def whole(least: int, most: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def text(pattern: str = ".*") -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def list_of(item: Callable[[Any], bool], least: int = 1) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(item, value))


def one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: value in values


def is_resource(value: Any) -> bool:
    rules = {
        "type": one_of("pth", "onnx", "safetensors"),
        "size": whole(1),
        "sha256": text("[0-9a-fA-F]{64}"),
        "urls": list_of(lambda url: text()(url) and not url.startswith("https://cdn.discordapp.com/")),
        "platform": one_of("pytorch", "onnx", "ncnn"),
    }
    return all(rule(value.get(key)) for key, rule in rules.items())


REQUIRED: dict[str, Callable[[Any], bool]] = {
    "name": text(),
    "author": lambda value: text(ID["user"])(value) or list_of(text(ID["user"]))(value),
    "tags": list_of(lambda tag: text(ID["tag"])(tag) and tag in TAGS),
    "description": lambda value: text()(value) and value == value.strip(),
    "date": text(r"\d{4}-\d{2}-\d{2}"),
    "architecture": lambda value: text(ID["arch"])(value) and value in ARCHITECTURES,
    "scale": whole(1, 16),
    "inputChannels": whole(1, 4),
    "outputChannels": whole(1, 4),
    "resources": list_of(is_resource),
    "images": list_of(lambda image: isinstance(image, dict), least=0),
}
OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "license": text(),
    "size": list_of(text(".+")),
    "dataset": text(),
    "trainingOTF": lambda value: isinstance(value, bool),
    "pretrainedModelG": text(ID["model"]),
    **{
        key: whole(1)
        for key in ("datasetSize", "trainingIterations", "trainingEpochs", "trainingBatchSize", "trainingHRSize")
    },
}


def broken_rules(name: str, described: dict[str, Any]) -> list[str]:
    broken = [key for key, rule in REQUIRED.items() if not rule(described.get(key))]
    broken += [key for key, rule in OPTIONAL.items() if described.get(key) is not None and not rule(described[key])]
    broken += [key for key in described if key not in REQUIRED | OPTIONAL]
    if not re.fullmatch(ID["model"], name) or not name.startswith(f"{described['scale']}x-"):
        broken.append("id")
    if "thumbnail" in described or any("thumbnail" in image for image in described["images"]):
        broken.append("thumbnail")
    return broken


# ----------------------------------------------------------------------------------------------------------------------


def command(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["publish", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def run(module_config: Callable[..., Path]) -> Path:
    return train(load_config(module_config(name="2x_Mine")).config).folder


@pytest.fixture(scope="module")
def published(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "out"
    assert command(run, out, *SAID) == 0
    return out


def test_everything_is_there(published: Path) -> None:
    assert {file.name for file in published.iterdir()} == FILES
    sums = dict(line.split("  ")[::-1] for line in (published / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == FILES - {"SHA256SUMS"}
    for name, checksum in sums.items():
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == checksum


def test_openmodeldb_accepts_its_entry(published: Path) -> None:
    content = (published / "2x-Mine.json").read_text(encoding="utf-8")
    described = json.loads(content)
    assert broken_rules("2x-Mine", described) == []
    assert content == json.dumps(described, indent=4, ensure_ascii=False)
    assert (described["architecture"], described["name"], described["author"]) == ("compact", "Mine", "me")
    assert described["size"] == ["50nf", "15nc"]
    assert described["dataset"] == "my photographs, CC0 1.0"
    assert (described["trainingBatchSize"], described["trainingHRSize"]) == (4, 32)
    for resource in described["resources"]:
        (url,) = resource["urls"]
        assert url.startswith("https://huggingface.co/me/2x-Mine/resolve/main/")
        file = published / url.rpartition("/")[2]
        assert resource["size"] == file.stat().st_size
        assert resource["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("author", ""),
        ("author", "Philip Hofmann"),
        ("tags", []),
        ("architecture", "paragonsr2_nano"),
        ("size", [""]),
        ("pretrainedModelG", "/home/me/w.pth"),
        ("trainingBatchSize", 4.5),
        ("resources", []),
        ("date", "1.9.2026"),
        ("description", " spaces "),
        ("hr", 1),
    ],
)
def test_the_rules_refuse_what_they_should(published: Path, key: str, value: Any) -> None:
    described = json.loads((published / "2x-Mine.json").read_text(encoding="utf-8"))
    assert broken_rules("2x-Mine", described | {key: value}) == [key]


def test_nothing_names_this_machine(published: Path, run: Path) -> None:
    private = {str(run.parent.parent), str(Path.home()), str(Path(__file__).parents[2]), "site-packages", sys.prefix}
    private |= {name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 3}
    for file in published.iterdir():
        content = file.read_bytes()
        assert not [word for word in private if re.search(rb"(?<!\w)" + re.escape(word.encode()), content)], file.name


def test_the_card(published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    assert header["license"] == "mit"
    assert header["pipeline_tag"] == "image-to-image"
    assert "psnr_y/crop=2/bt601-studio/uint8/mean-of-images" in text
    for name in FILES - {"2x-Mine.json", "SHA256SUMS", "README.md", "config.yml"}:
        assert name in text
    assert "my photographs, CC0 1.0" in text


def test_weights_graph_and_pictures_belong_together(published: Path) -> None:
    before, after = (np.asarray(Image.open(published / f"{kind}_1.png")) for kind in ("before", "after"))
    for name in ("2x-Mine.safetensors", "2x-Mine-spandrel.safetensors", "2x-Mine_fp32_op18.onnx"):
        found = paragonsr.load(published / name, device="cpu").upscale(before)
        assert np.abs(found.astype(int) - after).max() <= 1, name


def test_the_configuration_is_that_of_the_run(published: Path) -> None:
    config = yaml.safe_load((published / "config.yml").read_text(encoding="utf-8"))
    assert config["datasets"]["train"]["dataroot_gt"] == "hr"
    assert config["path"]["experiments_root"] == "experiments"
    assert config["train"]["total_iter"] == 12


def test_nothing_half_made(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(run, tmp_path / "out", *SAID, "--validation", tmp_path / "nowhere") == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    assert command(run, tmp_path / "full", *SAID) == 2
    assert command(tmp_path, tmp_path / "out", *SAID) == 2
    assert command(run, tmp_path / "out", *SAID[2:], "--repo", "me") == 2
    assert command(run, tmp_path / "out", *SAID, "--tags", ",") == 2
    errors = capsys.readouterr().err
    assert "is not an empty folder" in errors
    assert "not the folder of a run" in errors
    assert "'me' is not a repository" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_upload(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Api:
        def create_repo(self, name: str, exist_ok: bool) -> None:
            calls.append(("create", name))

        def upload_folder(self, folder_path: str, repo_id: str) -> None:
            calls.append(("upload", folder_path, repo_id))
            if repo_id == "me/refused":
                raise RuntimeError("401")

    module = types.ModuleType("huggingface_hub")
    module.HfApi = Api  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name="huggingface_hub")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    assert push(published, "me/2x-Mine") == "https://huggingface.co/me/2x-Mine"
    assert calls == [("create", "me/2x-Mine"), ("upload", str(published), "me/2x-Mine")]
    with pytest.raises(UserError, match="did not take it: 401"):
        push(published, "me/refused")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Mine", "2x-Mine"), ("my_net.v2", "2x-my-net-v2"), ("Mine 2x", "2x-Mine"), ("x2-Mine", "2x-Mine")],
)
def test_ids(name: str, expected: str) -> None:
    assert model_id(name, 2) == expected
    assert re.fullmatch(ID["model"], expected)
    assert re.fullmatch(ID["user"], canonical(f"{name} & Co."))


def test_a_name_without_letters_is_answered() -> None:
    with pytest.raises(UserError, match="is not a name"):
        model_id("__", 2)


@pytest.mark.parametrize(
    ("network", "arguments", "expected"),
    [
        ("Compact", {"num_feat": 42, "num_conv": 15}, ("compact", ["42nf", "15nc"])),
        ("UpCunet2x", {}, ("real-cugan", [])),
        ("SwinIR", {}, ("swinir", [])),
        ("SPAN", {"feature_channels": 48}, ("span", ["48nf"])),
    ],
)
def test_architectures(network: str, arguments: dict[str, Any], expected: tuple[str, list[str]]) -> None:
    found = architecture({"arch": "spandrel", "options": {"network": network, "arguments": arguments}})
    assert found == expected
    assert found[0] in ARCHITECTURES


def test_places_are_left_out() -> None:
    given = {"a": "/home/me/hr", "b": ["~/x/y", "C:\\Users\\me\\z"], "c": {"d": "l1loss", "e": 3}}
    assert without_places(given) == {"a": "hr", "b": ["y", "z"], "c": {"d": "l1loss", "e": 3}}
