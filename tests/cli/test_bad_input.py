"""Each mistake gets one clear message: what, where, what to do; exit code 2; nothing half-written, nothing lost."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.files import write_atomically

Configure = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused, and returns its message."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr().err
        assert caught.value.code == 2, said
        assert said.count("error:") == 1
        assert "Traceback" not in said
        return said

    return run


def _hr(path: Path) -> Path:
    return path.parent / "hr"


def _left_behind(path: Path) -> list[Path]:
    return [p for p in (path.parent / "cache").rglob("*") if p.is_file() and p.suffix == ".bin"]


def test_the_seeds_command_says_how_to_make_the_data(tmp_path: Path) -> None:
    command = "options/train/ParagonSR2/dataset/2xParagonSR2_Nano_CC0_complexity05_ULTRA_FIDELITY.yml"
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), str(ROOT / command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "datasets/cc0/cc0_c5_hr" in done.stderr
    assert "datasets.train.dataroot_gt=" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_opt_names_the_configuration_too(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "-opt", str(tiny_config()), "train.total_iter=2"])
    assert caught.value.code == 0
    assert "finished after iteration 2" in capsys.readouterr().out


def test_missing_folder(tiny_config: Configure, refused: Callable[..., str]) -> None:
    said = refused("train", tiny_config(), "datasets.train.dataroot_gt=nowhere")
    assert "nowhere" in said
    assert "datasets.train.dataroot_gt=" in said


def test_unpaired_names(tiny_config: Configure, refused: Callable[..., str], photographs: Callable[..., Path]) -> None:
    path = tiny_config()
    lr = photographs("lr", 6, height=32, width=36)
    (lr / "photo_03.png").rename(lr / "other.png")
    said = refused("train", path, "datasets.train.type=pairedimagedataset", f"datasets.train.dataroot_lq={lr}")
    assert "photo_03" in said
    assert "other" in said


def test_lr_that_is_not_hr_over_scale(
    tiny_config: Configure, refused: Callable[..., str], photographs: Callable[..., Path]
) -> None:
    path = tiny_config()
    lr = photographs("lr", 6, height=32, width=36)
    Image.fromarray(np.zeros((31, 36, 3), np.uint8)).save(lr / "photo_02.png")
    said = refused("train", path, "datasets.train.type=pairedimagedataset", f"datasets.train.dataroot_lq={lr}")
    assert "photo_02" in said
    assert "photo_01" not in said


@pytest.mark.parametrize("size", ["half", "nothing"])
def test_corrupt_image_in_the_middle_of_a_set(tiny_config: Configure, refused: Callable[..., str], size: str) -> None:
    path = tiny_config()
    for name in ("photo_02.png", "photo_04.png"):
        image = _hr(path) / name
        os.truncate(image, image.stat().st_size // 2 if size == "half" else 0)
    said = refused("train", path)
    assert "photo_02.png" in said
    assert "photo_04.png" in said, "all bad files at once"
    assert "photo_03.png" not in said
    assert _left_behind(path) == []


def test_check_names_corrupt_files_and_exits_2(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_config()
    os.truncate(_hr(path) / "photo_02.png", 40)
    with pytest.raises(SystemExit) as caught:
        main(["check", str(path), "--no-measure"])
    assert caught.value.code == 2
    assert "photo_02.png" in capsys.readouterr().err


def test_check_of_a_sound_configuration(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", str(tiny_config())])
    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert "6 images" in out
    assert "ready to train" in out
    assert "GiB at the peak" in out
    assert re.search(r"divergence_guard +may change rollback, lr_factor/divergence, give_up", out)


def test_check_fits_a_budget_of_seconds(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", str(tiny_config()), "train.budget=10min"])
    found = re.search(r"(\d+) iterations take about 0:(09:5\d|10:00)", capsys.readouterr().out)
    assert found
    assert int(found[1]) > 12


def test_patch_larger_than_the_images(tiny_config: Configure, refused: Callable[..., str]) -> None:
    said = refused("train", tiny_config(), "datasets.train.lq_size=40")
    assert "photo_00" in said
    assert "lq_size" in said


def test_gt_size_that_the_scale_does_not_divide(tiny_config: Configure, refused: Callable[..., str]) -> None:
    path = tiny_config()
    said = refused("train", path, "datasets.train.lq_size=null", "datasets.train.gt_size=33")
    assert "gt_size 33 is not a multiple of the scale 2" in said


def test_weights_of_another_arch(tiny_config: Configure, refused: Callable[..., str], tmp_path: Path) -> None:
    other = load_config(tiny_config()).config.network.build(scale=4).state_dict()
    save_file(other, tmp_path / "x4.safetensors")
    said = refused("train", tiny_config(), f"path.pretrain_network_g={tmp_path / 'x4.safetensors'}")
    assert "x4.safetensors" in said
    assert "strict_load_g" in said


def test_weights_that_are_no_weights(tiny_config: Configure, refused: Callable[..., str]) -> None:
    path = tiny_config()
    said = refused("train", path, f"path.pretrain_network_g={_hr(path) / 'photo_00.png'}")
    assert "photo_00.png" in said


def test_no_write_permission(tiny_config: Configure, refused: Callable[..., str], tmp_path: Path) -> None:
    blocked = tmp_path / "a_file"
    blocked.write_text("in the way")
    said = refused("train", tiny_config(), f"path.experiments_root={blocked}")
    assert str(blocked) in said
    assert "path.experiments_root" in said


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    wanted = tmp_path / "absent" / "values.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(wanted, b"{}")
    assert caught.value.filename == str(wanted), "and not the file on its way there"


def test_a_disk_that_fills_while_training(
    tiny_config: Configure, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_config()

    def full(place: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    with monkeypatch.context() as patch:
        patch.setattr("paragonsr.training.checkpoint.files.write_atomically", full)
        said = refused("train", path)
    folder = path.parent / "experiments" / "tiny"
    assert said == f"error: {folder / 'training_states' / '6.state'}: No space left on device\n"
    assert json.loads((folder / "run.json").read_text())["state"] == "crashed"
    with pytest.raises(SystemExit) as caught:
        main(["train", str(path)])
    assert caught.value.code == 0, "with room again, the same command trains"


def test_truncated_resume_state(tiny_config: Configure, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "cut.state").write_bytes(b"\x20\x00\x00\x00\x00\x00\x00\x00{")
    said = refused("train", tiny_config(), f"path.resume_state={tmp_path / 'cut.state'}")
    assert "truncated or damaged" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("scale: 5", "scale: 5 is not one of 1, 2, 3, 4 or 8"),
        ("scal: 2", "did you mean 'scale'?"),
        ("scale: [", "invalid YAML"),
    ],
)
def test_a_mistake_in_the_file(tiny_config: Configure, refused: Callable[..., str], line: str, said: str) -> None:
    path = tiny_config()
    path.write_text(path.read_text().replace("scale: 2", line, 1))
    assert said in refused("train", path)
    assert not (path.parent / "experiments").exists()


def test_ctrl_c_before_training_ends_with_one_line(
    tiny_config: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("paragonsr.training.run.open_data", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["train", str(tiny_config())])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted; saved states are kept, run the same command to continue\n"


def test_debug_shows_where(tiny_config: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", str(tiny_config()), "scale=5", "--debug"])
    assert "Traceback" in capsys.readouterr().err
