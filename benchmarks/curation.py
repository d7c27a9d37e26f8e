"""Memory of scoring 100 000 tiles, and cost per row of a table of a million: the values of docs/curation.md.

    python benchmarks/curation.py [--tiles 100000] [--side 128] [--rows 1000000] [--json FILE]

Tiles are generated in the worker processes, so that no disk is needed; everything else is the same as in
`paragonsr data score`.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from paragonsr.curation.cluster import Crew, cores, in_parallel
from paragonsr.curation.duplicates import find_duplicates
from paragonsr.curation.options import SelectOptions
from paragonsr.curation.scores.registry import SCORES
from paragonsr.curation.scoring import Counter, chunks, measured, record
from paragonsr.curation.selection import select
from paragonsr.curation.splitting import hold_out
from paragonsr.curation.table import Row, Table


def generated(side: int, names: Sequence[str]) -> list[Row]:
    """Rows of tiles of noise and shading, made from their names."""
    rows = []
    for name in names:
        random = np.random.default_rng(int(name[1:7]))
        shade = np.linspace(0, random.uniform(0, 200), side)[:, None, None] + random.normal(0, 20, (side, side, 3))
        rows.append(measured(name, (1, 1), np.clip(shade, 0, 255).astype(np.uint8), {}))
    return rows


def name_of(number: int) -> str:
    """Name of a tile; nine tiles per photograph."""
    return f"p{number // 9:06d}.jpg__1_{512 * (number % 9)}_0.png"


def memory(tiles: int, side: int, folder: Path) -> dict[str, Any]:
    """Score generated tiles; print and return the memory of this process and of its workers at every tenth."""
    this = psutil.Process()
    seen: list[dict[str, float]] = []

    def tell(done: int, total: int) -> None:
        if done * 10 // total > told[-1]:
            told.append(done * 10 // total)
            workers = [
                child.memory_info().rss for child in this.children() if "spawn_main" in " ".join(child.cmdline())
            ]
            mib = {"this": this.memory_info().rss >> 20, "largest_worker": max(workers, default=0) >> 20}
            seen.append({"tiles": done, "seconds": round(time.perf_counter() - begin, 1), **mib})
            print(
                f"{done:>8} tiles  {seen[-1]['seconds']:6.0f} s  "
                f"this process {mib['this']} MiB  largest worker {mib['largest_worker']} MiB",
                flush=True,
            )

    told, begin = [0], time.perf_counter()
    with Crew() as crew, Table(folder / "memory.sqlite", create=True) as table:
        table.require(list(SCORES))
        names = chunks(map(name_of, range(tiles)), 32)
        results = in_parallel(crew, partial(generated, side), names, lambda name, why: [Row(name, 1, 1, error=why)])
        record(table, results, list(SCORES), Counter(tiles, tell))
        assert table.count() == tiles
    print(f"peak of this process {_peak() >> 20} MiB")
    return {"side": side, "workers": cores(), "mib": seen, "peak_mib_of_this": _peak() >> 20}


def rows(count: int, folder: Path) -> None:
    """Fill a table with random rows and time operations on it."""
    random = np.random.default_rng(0)

    def made() -> Iterator[list[Row]]:
        for first in range(0, count, 512):
            values = random.random((512, len(SCORES)))
            hashes = random.integers(0, 2**64, 512, np.uint64)
            yield [
                Row(name_of(n), 1, 1, 512, 512, int(h), f"{n:032x}", dict(zip(SCORES, v, strict=True)))
                for n, h, v in zip(range(first, min(first + 512, count)), hashes, values.tolist(), strict=False)
            ]

    path = folder / "rows.sqlite"
    with Table(path, create=True) as table:
        table.require(list(SCORES))
        _timed("write", count, lambda: record(table, made(), list(SCORES), Counter(count, lambda done, total: None)))
        known = chunks(map(name_of, range(count)), 256)
        _timed("look up", count, lambda: [len(table.done(some, list(SCORES))) for some in known])
        for title in ("select, making the index", "select again"):
            options = SelectOptions(where="complexity >= 0.8 and blockiness < 0.9")
            _timed(title, count, lambda o=options: select(table, folder, o, folder / "out.jsonl"))  # type: ignore[misc]
        _timed("near-duplicates", count, lambda: find_duplicates(table))
        _timed("hold out", count, lambda: hold_out(table, 100, 0))
        table.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"table {path.stat().st_size / count:.0f} bytes per row; peak of this process {_peak() >> 20} MiB")


def _timed(title: str, count: int, work: Callable[[], object]) -> None:
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    print(f"{title:<26} {seconds:7.1f} s  {1e6 * seconds / count:7.2f} µs a row", flush=True)


def _peak() -> int:
    if os.name == "nt":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="file for the values of memory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if given.tiles:
            values = memory(given.tiles, given.side, Path(place))
            if given.json is not None:
                given.json.write_text(json.dumps(values, indent=2) + "\n")
        if given.rows:
            rows(given.rows, Path(place))
