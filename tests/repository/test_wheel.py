"""What is installed from a wheel, outside of any clone, has all it needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel holds."""
    made = tmp_path_factory.mktemp("wheel")
    build = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(made)]
    source = made / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name.startswith(("src/", "pyproject.toml", "README.md", "LICENSE")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", *build, str(source)], check=True)
    (wheel,) = made.glob("paragonsr-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(made / "installed")
    return made / "installed"


def _run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "PARAGONSR_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "paragonsr", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_package_is_the_one_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = [sys.executable, "-c", "import paragonsr; print(paragonsr.__file__)"]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    told = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.startswith(str(installed))


def test_the_demo_trains_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = _run(installed, tmp_path, "demo", "train.total_iter=4")
    assert done.returncode == 0, done.stderr
    assert "finished after iteration 4" in done.stdout
    assert (tmp_path / "experiments/demo_2xParagonSR2_Nano/models/best.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--version",), "paragonsr "), (("-h",), "Usage"), (("models",), "nano"), (("schema",), '"oneOf"')],
)
def test_commands_find_what_they_need(arguments: tuple[str, ...], said: str, installed: Path, tmp_path: Path) -> None:
    done = _run(installed, tmp_path, *arguments)
    assert (done.returncode, said in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_it_prints_the_completion_of_a_shell(shell: str, installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed), "_PARAGONSR_COMPLETE": f"source_{shell}"}
    program = "import sys; sys.argv[0] = 'paragonsr'; from paragonsr.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "paragonsr" in done.stdout
    assert "_PARAGONSR_COMPLETE" in done.stdout
