"""Problems that users of other trainers and upscalers reported in public, each with two similar ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from paragonsr import resize
from paragonsr.archs.classic_options import NanoOptions
from paragonsr.archs.weights import load_network, read_weights, save_metadata, save_weights
from paragonsr.cli import main
from paragonsr.config.load import load_config
from paragonsr.data.images import read_image, write_png
from paragonsr.errors import UserError

Configure = Callable[..., Path]


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out + said.err


def _nano(folder: Path, name: str = "nano.safetensors") -> Path:
    options = NanoOptions()
    path = folder / name
    save_weights(path, options.build(scale=2).state_dict(), save_metadata(options, 2))
    return path


# --- the command line of other trainers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        ["--auto_resume"],
        ["--launcher", "none", "--local_rank", "0"],
        ["--force_yml", "logger:print_freq=1", "train:total_iter=3"],
    ],
)
def test_flags_of_other_trainers_are_taken(flags: list[str], tiny_config: Configure) -> None:
    path = tiny_config({"train.total_iter": 4 if "--force_yml" in flags else 3})
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "train.py"), *flags, "-opt", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "after iteration 3" in done.stdout


# --- check says what train will say -----------------------------------------------------------------------------------


def test_check_opens_the_weights_to_start_from(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(3)}, other)
    broken = _nano(tmp_path, "broken.safetensors")
    broken.write_bytes(broken.read_bytes()[:-9])
    for path, said in (("nowhere.pth", "does not exist"), (other, "tensors are not those"), (broken, "not a whole")):
        code, text = _run(capsys, "check", tiny_config({"path.pretrain_network_g": str(path)}), "--no-measure")
        assert (code, said in text) == (2, True), text
    code, text = _run(capsys, "check", tiny_config({"path.pretrain_network_g": str(_nano(tmp_path))}), "--no-measure")
    assert code == 0, text


def test_check_opens_the_state_to_resume_from(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "100.state"
    torch.save({"iter": 100}, state)
    kept = state.read_bytes()
    for command in ("check", "train"):
        code, text = _run(capsys, command, tiny_config({"path.resume_state": str(state)}))
        assert (code, "by another trainer" in text, "delete" in text) == (2, True, False), text
    assert state.read_bytes() == kept


@pytest.mark.parametrize("side", [9, 13])
def test_an_image_that_a_metric_cannot_measure_is_named_before_training(
    side: int, tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_config({"val.metrics": {"psnr": {"type": "psnr_y"}, "ssim": {"type": "ssim_y"}}})
    write_png(tmp_path / "val" / "small.png", np.zeros((side, side, 3), np.uint8))
    for command in ("check", "train"):
        code, text = _run(capsys, command, path)
        assert (code, "small.png" in text, "SSIM needs 11 x 11 pixels" in text) == (2, True, True), text
    assert not list((tmp_path / "experiments").rglob("*.state"))
    (tmp_path / "val" / "small.png").unlink()
    write_png(tmp_path / "val" / "small.png", np.zeros((16, 16, 3), np.uint8))
    code, text = _run(capsys, "check", path, "--no-measure")
    assert code == 0, text


def test_validation_images_that_are_trained_on_are_counted(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_config()
    shutil.copy(tmp_path / "hr" / "photo_00.png", tmp_path / "val" / "another_name.png")
    code, text = _run(capsys, "check", path, "--no-measure")
    assert code == 0
    assert "1 of 3 images of datasets.val are also training images (another_name.png)" in text
    code, text = _run(capsys, "train", path)
    assert code == 0
    assert "1 of 3 images of datasets.val are also training images" in text


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda image: np.rot90(image, 2), "turned by 180 degrees, it matches"),
        (lambda image: image[:, ::-1], "mirrored, it matches"),
        (lambda image: np.full_like(image, 30), "do not show the same picture"),
        (lambda image: np.clip(image.astype(int) + 9, 0, 255).astype(np.uint8), None),
    ],
)
def test_pairs_of_two_pictures_are_named(
    spoil: Callable[[np.ndarray], np.ndarray],
    said: str | None,
    tiny_config: Configure,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = {"type": "pairedimagedataset", "dataroot_lq": str(tmp_path / "lr")}
    path = tiny_config({f"datasets.train.{key}": value for key, value in data.items()})
    for file in sorted((tmp_path / "hr").iterdir()):
        lq = resize.downscale(read_image(file), 2)
        write_png(tmp_path / "lr" / file.name, spoil(lq) if file.stem == "photo_03" else lq)
    code, text = _run(capsys, "check", path, "--no-measure")
    assert code == (2 if said else 0), text
    assert ("photo_03" in text) == bool(said)
    assert (said or "ready to train") in text


def test_exif_is_applied_on_both_sides_and_said(
    tiny_config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"type": "pairedimagedataset", "dataroot_lq": str(tmp_path / "lr")}
    path = tiny_config({f"datasets.train.{key}": value for key, value in data.items()})
    for file in sorted((tmp_path / "hr").iterdir()):
        image = read_image(file)
        write_png(tmp_path / "lr" / file.name, resize.downscale(image, 2))
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(np.rot90(image, 2)).save(file, exif=exif)
    code, text = _run(capsys, "check", path, "--no-measure")
    assert code == 0, text
    assert "6 HR images have an EXIF orientation, which is applied" in text


# --- keys that change what is trained ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"datasets.train.meta_info_file": "list.txt"}, "a list of images is not read"),
        ({"datasets.val.meta_info": "list.txt"}, "a list of images is not read"),
        ({"datasets.train.color": "y"}, "networks here take RGB"),
        ({"datasets.train.mean": [0.5, 0.5, 0.5]}, "colours in [0, 1]"),
        ({"train.use_moa": True}, "mix images"),
        ({"train.ema_switch_iter": 500}, "never replaces"),
        ({"input_pixel_format": "L"}, "networks here take RGB"),
    ],
)
def test_a_key_that_changes_what_is_trained_is_refused(
    change: dict[str, Any], said: str, tiny_config: Configure
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(tiny_config(change))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"datasets.train.color": "rgb"},
        {"datasets.train.mean": [0, 0, 0], "datasets.train.std": [1, 1, 1]},
        {"train.use_moa": False, "train.ema_switch_iter": 0},
        {"datasets.train.meta_info": None, "input_pixel_format": "RGB"},
    ],
)
def test_its_neutral_value_is_taken_in_silence(change: dict[str, Any], tiny_config: Configure) -> None:
    assert load_config(tiny_config(change)).warnings == ()


def test_all_problems_come_at_once_also_with_a_refused_section(tiny_config: Configure) -> None:
    changes = {"network_d": {"type": "metagan2"}, "datasets.train.color": "y", "train.total_itr": 5}
    with pytest.raises(UserError) as caught:
        load_config(tiny_config(changes))
    for part in ("network_d", "datasets.train.color", "did you mean 'total_iter'?"):
        assert part in str(caught.value)


def test_the_chosen_set_of_weights_is_loaded(tmp_path: Path) -> None:
    state = NanoOptions.published().build(scale=2).state_dict()
    both = {"params": state, "params_ema": {k: torch.zeros_like(v) for k, v in state.items()}, "iter": 5}
    torch.save(both, tmp_path / "two.pth")
    for key, zero in (("params", False), ("params_ema", True), (None, True)):
        tensors, _ = read_weights(tmp_path / "two.pth", key)
        assert all(bool((tensor == 0).all()) for tensor in tensors.values()) == zero
    with pytest.raises(UserError, match="it has no 'netG'") as caught:
        read_weights(tmp_path / "two.pth", "netG")
    assert "params, params_ema" in caught.value.fix


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "netG.", "module._orig_mod."])
@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".ckpt"])
def test_every_command_reads_the_same_weights(prefix: str, ending: str, tiny_config: Configure, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network = NanoOptions.published().build(scale=2)
    state = {f"{prefix}{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    path = tmp_path / f"w{ending}"
    if ending == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3, "global_step": 40}, path)
    loaded = load_network(path).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_damage_and_divergence_are_noticed(tmp_path: Path) -> None:
    path = _nano(tmp_path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for position in np.linspace(start, len(whole) - 1, 25).astype(int):
        for bit in (0, 6):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"damaged|not finite"):
                read_weights(path)
    options = NanoOptions()
    state = options.build(scale=2).state_dict()
    name = next(iter(state))
    state[name][0] = float("nan")
    save_weights(path, state, save_metadata(options, 2))
    with pytest.raises(UserError, match="not finite") as caught:
        read_weights(path)
    assert name in str(caught.value)


# --- what is written in YAML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["5000.0", "!!float 5000", "5e3", "!!float 5e3", "5_000"])
def test_a_whole_number_is_a_count_however_it_is_written(text: str, tiny_config: Configure) -> None:
    path = tiny_config()
    path.write_text(path.read_text().replace("val_freq: 6", f"val_freq: {text}"))
    assert load_config(path).config.val.val_freq == 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("? [a, b]\n: 3", "a key must be a word"),
        ("? {a: b}\n: 3", "a key must be a word"),
        ("train: [1, 2]", "train"),
        ("name: " + "9" * 5000, "is not an int"),
        ("a: &x 1\na: 2", "duplicate key"),
        ("datasets:\n  train: 7", "datasets.train"),
        ("[" * 3000, "YAML"),
    ],
)
def test_bad_yaml_is_the_users(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yml").write_text(text + "\n")
    code, printed = _run(capsys, "check", tmp_path / "c.yml")
    assert (code, said in printed, "bug in paragonsr" in printed) == (2, True, False), printed


def test_merge_keys_give_way_to_a_mappings_own(tiny_config: Configure) -> None:
    path = tiny_config()
    tree = yaml.safe_load(path.read_text())
    val = tree.pop("val")
    text = yaml.safe_dump(tree, sort_keys=False)
    path.write_text(f"{text}\nval:\n  <<: {{val_freq: 9, tile_size: 32}}\n  val_freq: {val['val_freq']}\n")
    config = load_config(path).config
    assert (config.val.val_freq, config.val.tile_size) == (6, 32)


@pytest.mark.parametrize(
    ("change", "right", "wrong"),
    [
        ({"network_g.type": "paragonsr2_ultimate"}, "unknown type", "did you mean"),
        ({"network_g.type": "paragonsr2_nan"}, "did you mean 'paragonsr2_nano'?", "bug"),
        ({"train.losses": [{"type": "contextualloss"}]}, "there are perceptualloss", "did you mean"),
        ({"network_g.type": "MMRealSR"}, "`network: MMRealSR`", "did you mean"),
        ({"network_g.type": "kbnet_s"}, "`network: KBNet_s`", "did you mean"),
        ({"network_g.type": "no_network_at_all"}, "unknown type", "type: spandrel"),
    ],
)
def test_a_hint_leads_somewhere(change: dict[str, Any], right: str, wrong: str, tiny_config: Configure) -> None:
    if find_spec("spandrel") is None:
        pytest.skip("needs the extra spandrel")
    with pytest.raises(UserError) as caught:
        load_config(tiny_config(change))
    assert right in str(caught.value)
    assert wrong not in str(caught.value)


def test_a_misspelt_key_of_the_command_line_is_blamed_on_it(tiny_config: Configure) -> None:
    with pytest.raises(UserError, match=r"^command line: trian: unknown key"):
        load_config(tiny_config(), ["trian.total_iter=5"])


def test_a_set_without_hr_images_is_refused_in_words(tiny_config: Configure) -> None:
    change = {"datasets.val": {"type": "pairedimagedataset", "dataroot_lq": "lr"}}
    with pytest.raises(UserError, match="only LR images"):
        load_config(tiny_config(change))


def test_tilde_is_the_home_folder_in_every_path(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    changes = {
        "datasets.train.dataroot_gt": "~/hr",
        "path.experiments_root": "~/runs",
        "path.pretrain_network_g": "~/w",
    }
    config = load_config(tiny_config(changes)).config
    assert config.train_set.dataroot_gt == str(tmp_path / "hr")
    assert (config.path.experiments_root, config.path.pretrain_network_g) == (
        str(tmp_path / "runs"),
        str(tmp_path / "w"),
    )


def test_check_answers_at_once_for_any_length(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _run(capsys, "check", tiny_config({"train.total_iter": 10**12}), "--no-measure")
    assert code == 0, text


# --- upscaling a folder -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_folder_is_walked_as_training_walks_it(
    tmp_path: Path, photographs: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photographs("up", 1, height=16, width=16)
    elsewhere = photographs("real", 1, height=16, width=16)
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    for name in ("._photo_00.png", "notes.txt", "more.TXT", "plain"):
        (folder / name).write_bytes(b"x")
    (folder / ".thumbs").mkdir()
    Image.new("RGB", (16, 16)).save(folder / ".thumbs" / "t.png")
    Image.new("RGB", (16, 16)).save(folder / "b.bmp")
    Image.new("RGB", (16, 16)).save(os.fsdecode(os.fsencode(folder) + b"/\x8e\xca.png"))
    Image.new("RGB", (16, 16)).save(folder / ("n" * 245 + ".png"))
    code, text = _run(capsys, "upscale", folder, tmp_path / "out", "--model", _nano(tmp_path))
    assert code == 0, text
    made = {os.fsencode(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert made == {b"photo_00.png", b"link/photo_00.png", b"b.png", b"\x8e\xca.png", b"n" * 245 + b".png"}
    assert "skipped, not images: 1 without an extension, 2 .txt" in text
