"""The steps of CONTRIBUTING.md, followed literally."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from paragonsr.config.load import load_config
from paragonsr.training.reporting.record import read_steps
from paragonsr.training.run import train

Configure = Callable[..., Path]
GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def _blocks(title: str) -> tuple[str, str, dict[str, Any]]:
    """File name, Python code and YAML of a section of the guide."""
    section = GUIDE.split(f"### {title}\n")[1].split("\n### ")[0]
    (code,) = re.findall(r"```python\n# (\S+)\n(.*?)```", section, re.DOTALL)
    (keys,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    return code[0], code[1], yaml.safe_load(keys)


def _merged(tree: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        tree[key] = _merged(tree.get(key, {}), value) if isinstance(value, dict) else value
    return tree


@pytest.mark.parametrize("title", ["A loss", "An automation", "A logger"])
def test_the_steps_work_as_they_are_written(title: str, tiny_config: Configure, monkeypatch: Any) -> None:
    path = tiny_config()
    monkeypatch.chdir(path.parent)
    name, code, keys = _blocks(title)
    Path(name).write_text(code, encoding="utf-8")
    tree = _merged(yaml.safe_load(path.read_text()), {"plugins": [name]} | keys)
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    result = train(load_config(path).config)
    steps = read_steps(result.folder)
    assert len(steps["lr"]) == 12
    if title == "A loss":
        assert steps["loss/cube"][0] > 0
    elif title == "An automation":
        assert "past its middle" in (result.folder / "journal.jsonl").read_text()
        assert steps["lr"][-1] == pytest.approx(0.5 * steps["lr"][0])
    else:
        assert "12,val/psnr," in (result.folder / "scalars.csv").read_text()
