"""The lines of the README, run as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _without_make() -> list[str]:
    """Lines of the block that installs with pip."""
    (block,) = (b for b in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "python -m venv" in b)
    return [line.partition(" #")[0].strip() for line in block.splitlines()]


def test_the_version_of_torch_is_the_tested_one() -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    named = re.findall(r"torch==(\S+)", README + (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert set(named) == {pinned[1]}


@pytest.mark.slow
def test_the_pip_lines_install_and_train_the_demo(tmp_path: Path) -> None:
    clone = tmp_path / "paragon"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((ROOT / name).read_bytes())
    lines = _without_make()
    assert [line.split()[0] for line in lines] == [
        "python",
        ".venv/bin/pip",
        ".venv/bin/pip",
        ".venv/bin/paragonsr",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHONPATH"))}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(line, shell=True, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "finished after iteration" in done.stdout
    assert list(clone.glob("experiments/*/models/best.safetensors"))
