"""The loggers with the real packages, offline: what a run writes, and that a resumed run continues."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paragonsr.automation.journal import Entry
from paragonsr.automation.protocol import Decay, Decision, Measurements, MetricValue, Steps, Validation
from paragonsr.config.load import load_config
from paragonsr.errors import UserError
from paragonsr.loggers.options import LoggedRun, SinkOptions
from paragonsr.loggers.scalars import scalars
from paragonsr.training.run import TrainResult, train

Configure = Callable[..., Path]


def _train(path: Path, *overrides: str) -> TrainResult:
    return train(load_config(path, overrides).config)


def _twice(tiny_config: Configure, sink: dict[str, Any]) -> TrainResult:
    """A run that is stopped after 6 of 12 iterations and resumed."""
    path = tiny_config({"logger.loggers": [sink], "logger.use_tb_logger": False})
    _train(path, "train.total_iter=6")
    return _train(path)


def _window() -> Steps:
    columns = {
        "lr": np.array([1e-3, 5e-4]),
        "grad_norm": np.array([1.0, np.nan]),
        "loss/l1": np.array([0.2, 0.4]),
        "loss_grad/l1": np.array([2.0, 2.0]),
        "loss_weight/l1": np.array([1.0, 1.0]),
        "loss/critic": np.array([np.nan, np.nan]),
        "loss_grad/critic": np.array([6.0, 6.0]),
        "loss_weight/critic": np.array([1.0, 1.0]),
        "learner/critic/real": np.array([0.25, 0.75]),
        "seconds": np.array([0.5, 1.5]),
        "batch_size": np.array([4.0, 4.0]),
        "data_wait": np.array([0.1, 0.1]),
        "peak_memory": np.array([2.0**30, 2.0**29]),
        "micro_batch": np.array([4.0, 2.0]),
    }
    return Steps(2, columns)


def test_a_window_of_steps_is_shown_by_its_means() -> None:
    found = scalars(_window())
    assert found == {
        "lr": 5e-4,
        "grad_norm": 1.0,
        "perf/it_s": 1.0,
        "perf/samples_s": 4.0,
        "perf/data_wait": pytest.approx(0.1),
        "perf/peak_memory_gb": 1.0,
        "perf/batch_size": 4.0,
        "perf/micro_batch": 2.0,
        "losses/l1": pytest.approx(0.3),
        "loss_weight/l1": 1.0,
        "loss_weight/critic": 1.0,
        "learner/critic/real": 0.5,
        "loss_share/l1": 0.25,
        "loss_share/critic": 0.75,
    }


def test_a_validation_is_shown_by_set_and_the_first_set_as_val() -> None:
    sets = {name: {"psnr": MetricValue(value, "higher", "psnr_y")} for name, value in (("Set5", 30.0), ("B100", 28.0))}
    assert scalars(Validation(7, sets)) == {"metrics/Set5/psnr": 30.0, "val/psnr": 30.0, "metrics/B100/psnr": 28.0}
    assert scalars(Measurements(0, "learning rates", {"0.1": 2.0})) == {"measurements/learning_rates/0.1": 2.0}


def test_tensorboard_shows_pictures_and_can_leave_shares_out(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kind = SinkOptions.choose("tensorboard")
    assert kind is not None
    logger = kind.model_validate({"type": "tensorboard", "loss_shares": False}).build(
        LoggedRun("a", tmp_path, {}, resumed=False)
    )
    logger.observe(_window())
    logger.picture("photo", np.zeros((8, 9, 3), np.uint8), 2)
    logger.decision(Entry(2, Decision("x", "lr_factor/x", Decay(2, 9, "linear", 0.1), "because"), 1.0, "applied"))
    logger.close()
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    tags = events.Tags()
    assert tags["images"] == ["val/photo"]
    assert "losses/l1" in tags["scalars"]
    assert not any(tag.startswith("loss_share/") for tag in tags["scalars"])
    assert events.Scalars("automation/lr_factor/x")[0].value == pytest.approx(0.1)


def test_wandb_offline(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    result = _twice(tiny_config, {"type": "wandb", "mode": "offline"})
    known = (result.folder / "wandb.id").read_text()
    sessions = sorted((result.folder / "wandb").glob("offline-run-*"))
    assert [session.name.rsplit("-", 1)[1] for session in sessions] == [known, known], "one run in two sessions"
    written = b"".join(file.read_bytes() for session in sessions for file in session.glob("*.wandb"))
    for tag in (b"val/psnr", b"losses/l1", b"perf/it_s", b"loss_share/mse"):
        assert tag in written, tag
    assert list(sessions[0].glob("files/media/images/val/*.png")), "validation pictures"


def test_trackio(tiny_config: Configure, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    path = tiny_config({"logger.loggers": [{"type": "trackio", "project": "p"}], "logger.use_tb_logger": False})
    # The package reads the location of its files at import, so each session needs its own process.
    for more in (["train.total_iter=6"], []):
        command = [sys.executable, "-m", "paragonsr", "train", str(path), *more]
        environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")}
        subprocess.run(command, env=environment, check=True, capture_output=True)
    with sqlite3.connect(tmp_path / "trackio" / "p.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
    known = (path.parent / "experiments" / "tiny" / "trackio.id").read_text()
    assert {name for name, _, _ in rows} == {f"tiny-{known}"}, "one run in two sessions"
    assert sorted(step for _, step, written in rows if b"val/psnr" in written) == [6, 12]
    assert list((tmp_path / "trackio" / "media").rglob("*.png")), "validation pictures"


def test_mlflow_in_a_folder(tiny_config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    result = _twice(tiny_config, {"type": "mlflow"})
    from mlflow import MlflowClient

    client = MlflowClient((result.folder / "mlruns").absolute().as_uri())
    known = (result.folder / "mlflow.id").read_text()
    run = client.get_run(known)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny")
    history = client.get_metric_history(known, "val/psnr")
    assert [point.step for point in history] == [6, 12]
    assert [file.path for file in client.list_artifacts(known, "val")]
    assert client.list_artifacts(known, "config.json") is not None


@pytest.mark.parametrize("package", ["wandb", "trackio", "mlflow"])
def test_a_package_that_is_missing_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    kind = SinkOptions.choose(package)
    assert kind is not None
    with pytest.raises(UserError) as caught:
        kind.model_validate({"type": package}).build(LoggedRun("a", tmp_path, {}, resumed=False))
    assert package in str(caught.value)
    assert "paragonsr[loggers]" in str(caught.value)
