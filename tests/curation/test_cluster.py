"""Scoring on a Dask cluster: a real scheduler, real workers, and one of them dies."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from paragonsr.curation.cluster import Crew, in_parallel
from paragonsr.curation.options import ScoreOptions
from paragonsr.curation.scoring import Scored, score
from paragonsr.curation.table import Table
from paragonsr.errors import UserError

pytest.importorskip("distributed", reason="needs paragonsr[cluster]")

Cluster = tuple[str, list[subprocess.Popen[str]]]


def _started(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",  # as on another machine
    )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Address of a scheduler, and its two worker processes."""
    scheduler = _started("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    workers: list[subprocess.Popen[str]] = []
    try:
        assert scheduler.stderr is not None
        address = next(
            found[0] for line in scheduler.stderr if (found := re.search(r"tcp://127\.0\.0\.1:\d+", line)) is not None
        )
        threading.Thread(target=scheduler.stderr.read, daemon=True).start()
        for _ in range(2):
            workers.append(_started("dask_worker", address, "--nthreads", "1", "--no-nanny"))
            assert workers[-1].stderr is not None
            threading.Thread(target=workers[-1].stderr.read, daemon=True).start()
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def _content(out: Path) -> list[tuple[object, ...]]:
    with Table(out) as table:
        names = ", ".join(f'"{name}"' for name in table.columns())
        return list(table.db.execute(f"SELECT {names} FROM tiles ORDER BY path"))


def test_a_worker_dies_and_no_row_is_lost(
    cluster: Cluster, photos: Callable[..., Path], tmp_path: Path, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, workers = cluster
    monkeypatch.chdir(tmp_path)
    folder = photos(80, height=256, width=256).relative_to(tmp_path)
    (folder / "photo_47.png").write_bytes(b"broken")
    killed_at: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done >= 20 and not killed_at:
            killed_at.append(done)
            workers[0].kill()
            workers[0].wait()

    with Crew(scheduler=address) as remote, Table(tmp_path / "dask.sqlite", create=True) as table:
        begin = time.monotonic()
        while remote.size < 2 and time.monotonic() < begin + 20:
            time.sleep(0.1)
        assert remote.size == 2
        with pytest.raises(UserError, match="2 workers cannot see"):
            remote.require_sight(tmp_path / "nowhere")
        scored = score(folder, table, ScoreOptions(batch=3), remote, kill_one)
    assert killed_at
    assert killed_at[0] < 80
    assert scored == Scored(tiles=80, new=80, errors=1, forgotten=0)
    assert workers[1].poll() is None
    with Table(tmp_path / "local.sqlite", create=True) as table:
        score(folder, table, ScoreOptions(), crew, lambda done, total: None)
    assert _content(tmp_path / "dask.sqlite") == _content(tmp_path / "local.sqlite")


class _Client:
    """A cluster with predefined answers."""

    def __init__(self, answer: Exception) -> None:
        self.answer = answer

    def run(self, asked: object, *arguments: object) -> dict[str, bool]:
        raise self.answer


def test_a_worker_without_this_package(tmp_path: Path, crew: Crew) -> None:
    crew.require_sight(tmp_path / "whatever")  # this is not a cluster
    crew._client, crew._scheduler = _Client(ModuleNotFoundError("No module named 'paragonsr'")), "tcp://there"
    with pytest.raises(UserError, match="lacks this package: No module named") as caught:
        crew.require_sight(tmp_path)
    assert caught.value.where == "tcp://there"


def test_a_scheduler_that_is_gone(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    def submitted(work: object, items: object) -> Future[list[str]]:
        future: Future[list[str]] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    monkeypatch.setattr(crew, "submit", submitted)
    with pytest.raises(UserError, match="the Dask scheduler no longer answers"):
        list(in_parallel(crew, lambda items: list(items), [["a"]], lambda item, why: []))


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    def silent(address: str, timeout: str) -> None:
        raise OSError(f"Timed out trying to connect to {address} after 10 s")

    monkeypatch.setattr(distributed, "Client", silent)
    with pytest.raises(UserError, match="no Dask scheduler"):
        Crew(scheduler="tcp://127.0.0.1:1")


def test_without_dask_the_pip_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError) as caught:
        Crew(scheduler="tcp://127.0.0.1:1")
    assert "pip install 'paragonsr[cluster]'" in str(caught.value)
