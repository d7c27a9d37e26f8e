"""`degradation: {like: FOLDER}` and `paragonsr data calibrate`, as a user meets them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from tests.calibration.conftest import TO_LR, write_folders

from paragonsr.cli import main
from paragonsr.config import load_config
from paragonsr.data.manifest import write_manifest
from paragonsr.training.checkpoint.files import read_state
from paragonsr.training.replay import replay
from paragonsr.training.run import train

JPEG = [TO_LR, {"type": "jpeg", "quality": [30, 50]}]


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


@pytest.mark.usefixtures("few_simulations")
def test_a_run_is_fitted_journalled_resumed_to_the_bit_and_replayed(
    tiny_config: Callable[..., Path], tmp_path: Path
) -> None:
    bad, hr = write_folders(tmp_path / "given", JPEG, 8, 256)
    changes = {"datasets.train.degradation": {"like": str(bad)}, "datasets.train.dataroot_gt": str(hr)}
    straight = train(load_config(tiny_config(changes, name="straight"), []).config)
    path = tiny_config(changes, name="resumed")
    train(load_config(path, ["train.total_iter=6"]).config)
    (bad / "00.png").unlink()  # a resumed run keeps its pipeline
    resumed = train(load_config(path, []).config)
    one, other = (read_state(run.folder / "training_states" / "12.state")[0] for run in (straight, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    degradation = json.loads((resumed.folder / "run.json").read_text())["config"]["datasets"]["train"]["degradation"]
    assert degradation["fitted_to"] == str(bad)
    assert [step["type"] for step in degradation["steps"]][-1] == "jpeg"
    entries = [json.loads(line) for line in (resumed.folder / "journal.jsonl").read_text().splitlines()]
    (entry,) = [e for e in entries if "degradation_calibration" in json.dumps(e)]
    assert "fitted to 8 images" in json.dumps(entry)
    assert "jpeg" in json.dumps(entry)
    assert not list(replay(resumed.folder).differences())


@pytest.mark.usefixtures("few_simulations")
def test_the_command_writes_a_configuration_that_trains_and_a_page(
    tiny_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, hr = write_folders(tmp_path / "given", JPEG, 8, 256)
    write_manifest(tmp_path / "hr.jsonl", hr, ({"path": f.name, "bytes": f.stat().st_size} for f in hr.iterdir()), {})
    said = []
    for name, given in (("folder", hr), ("again", hr), ("manifest", tmp_path / "hr.jsonl")):
        out = tmp_path / f"{name}.yml"
        code, printed, error = _run(capsys, "data", "calibrate", bad, "--hr", given, "--out", out)
        assert (code, error) == (0, ""), error
        assert "JPEG quality" in printed
        assert "energy distance of all traits" in printed
        said.append(out.read_text())
        assert "Measured against fitted" in out.with_suffix(".html").read_text()
    assert said[0] == said[1] == said[2]
    degradation = yaml.safe_load(said[0])["degradation"]
    changes = {"datasets.train.degradation": degradation, "datasets.train.dataroot_gt": str(hr), "train.total_iter": 2}
    train(load_config(tiny_config(changes), []).config)


@pytest.mark.parametrize(
    ("command", "said"), [("check", "has 3 images, and a calibration needs at least 8"), ("train", "has 3 images")]
)
def test_too_few_bad_images_are_refused(
    command: str,
    said: str,
    tiny_config: Callable[..., Path],
    photographs: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = tiny_config({"datasets.train.degradation": {"like": str(photographs("bad", 3))}})
    code, _, error = _run(capsys, command, path)
    assert (code, said in error) == (2, True), error
    assert not (tmp_path / "experiments" / "tiny").exists()


def test_a_folder_that_is_not_there_and_images_that_are_too_small(
    tmp_path: Path, photographs: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = _run(capsys, "data", "calibrate", tmp_path / "nowhere")
    assert (code, "this folder does not exist" in error) == (2, True), error
    code, _, error = _run(capsys, "data", "calibrate", photographs("small", 9))
    assert (code, "has 0 images of at least 128 x 128 pixels" in error) == (2, True), error
    assert not (tmp_path / "small.yml").exists()
