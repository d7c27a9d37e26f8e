"""The forecast in real runs: where it is stored and shown, and for which metrics."""

from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from paragonsr.config import load_config
from paragonsr.training.reporting.record import read_forecasts, read_validations
from paragonsr.training.run import train

Configure = Callable[..., Path]
LONG = {
    "train.total_iter": 36,
    "val.val_freq": 3,
    "val.metrics": {"psnr": {"type": "psnr_y"}, "ssim": {"type": "ssim_y"}},
}


def test_from_a_third_on_each_validation_forecasts_the_end(tiny_config: Configure) -> None:
    folder = train(load_config(tiny_config(LONG)).config).folder
    made = dict(read_forecasts(folder))
    assert sorted(made) == list(range(18, 36, 3)), "six validations are the fewest; at the end there is nothing to say"
    assert all(expected.low < expected.final < expected.high for expected in made.values())
    events = EventAccumulator(str(folder / "tb"))
    events.Reload()
    shown = {tag for tag in events.Tags()["scalars"] if "forecast" in tag}
    assert {event.step for tag in shown for event in events.Scalars(tag)} == set(made)
    assert "end " in (folder / "train.log").read_text()


def test_a_resumed_run_forecasts_the_same(tiny_config: Configure) -> None:
    whole = train(load_config(tiny_config(LONG, name="whole")).config).folder
    path = tiny_config(LONG, name="parts")
    train(load_config(path, ["train.total_iter=36", "logger.save_checkpoint_freq=24"]).config)
    state = path.parent / "experiments" / "parts" / "training_states" / "24.state"
    parts = train(load_config(path, [f"path.resume_state={state}"]).config).folder
    assert dict(read_forecasts(parts)) == dict(read_forecasts(whole))


def test_what_is_no_psnr_is_not_forecast(tiny_config: Configure) -> None:
    changes = LONG | {
        "train.training_automations": {"enabled": True, "early_stopping": {"enabled": True, "metric": "val/ssim"}}
    }
    folder = train(load_config(tiny_config(changes)).config).folder
    assert len(read_validations(folder)) == 12
    assert read_forecasts(folder) == []
