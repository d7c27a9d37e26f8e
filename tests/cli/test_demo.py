"""The demo as run by `make train`, shortened."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paragonsr.cli import main

ROOT = Path(__file__).parents[2]


def test_the_demo_trains_on_what_is_installed_and_says_where_its_fruits_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARAGONSR_CACHE", str(tmp_path / "cache"))
    command = [
        "demo",
        "--config",
        str(ROOT / "src/paragonsr/recipes/demo.yml"),
        "--images",
        "images",
        "train.total_iter=60",
    ]
    for said in ("finished after iteration 60", "finished after iteration 60"):  # the second call finds everything done
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert said in out
    run = Path("experiments/demo_2xParagonSR2_Nano")
    fruits = (run / "models" / "best.safetensors", run / "visualization" / "comparison.png")
    for fruit in fruits:
        assert str(fruit) in out
        assert fruit.is_file()
    assert f"tensorboard --logdir {run / 'tb'}" in out
    with Image.open(fruits[1]) as picture:
        pixels = np.asarray(picture)
    assert pixels.std() > 20
    assert sorted(p.name for p in Path("images/val").iterdir()) == ["astronaut.png", "coffee.png"]
