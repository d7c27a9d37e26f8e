"""PSNR against parameters, computation and speed: table and plot of docs/benchmark.md.

python -m benchmarks.frontier BENCH [NAME=WEIGHTS ...]    # measures again, writes docs/evidence/benchmark.json
python -m benchmarks.frontier                             # only writes the page again

BENCH holds Set5/HR, Set14/HR and B100/HR. The bundled x2 models are always measured; WEIGHTS are further ones, called
NAME in the table. PSNR is PSNR-Y by the protocol of docs/use.md. MACs are for an SR image of 1280 x 720, as in
papers. Speed is measured in turns, as CPU time of one thread on an SR image of 1024 x 1024.
"""

import json
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paragonsr import models
from paragonsr.archs.complexity import count_macs
from paragonsr.inference.benchmark import benchmark
from paragonsr.inference.model import load

DOCS = Path(__file__).parents[1] / "docs"
SETS = ("Set5", "Set14", "B100")
SIDE = 512
TURNS = 5
WIDTH, HEIGHT, MARGIN = 820, 520, 56

Row = dict[str, Any]


def measured(bench: Path, weights: Mapping[str, str]) -> list[Row]:
    """A row for each model: parameters, GMACs, PSNR-Y and RGB PSNR by set in dB, MP/s of output."""
    networks = {name: load(file, device="cpu") for name, file in weights.items()}
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(TURNS + 1):
        for name, network in networks.items():
            begun = time.process_time()
            network.upscale(image)
            if turn:  # the first warms up
                seconds[name].append(time.process_time() - begun)
    rows = []
    for name, network in networks.items():
        psnr = {}
        for given in SETS:
            psnr[given] = round(benchmark(network, bench / given / "HR").mean().network["psnr_y"], 3)
        module = network.network
        rows.append(
            {
                "name": name,
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
                "gmacs_720p": round(count_macs(module, 720 // network.scale, 1280 // network.scale) / 1e9, 2),
                "psnr_y": psnr,
                "megapixels_per_second": round((SIDE * network.scale) ** 2 / 1e6 / statistics.median(seconds[name]), 2),
            }
        )
        print(rows[-1])
    return sorted(rows, key=lambda row: row["parameters"])


def page(ours: Sequence[Row], literature: Sequence[Row]) -> str:
    """docs/benchmark.md."""
    lines = [
        "| network | parameters | GMACs | Set5 | Set14 | B100 | MP/s | source |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in sorted([*ours, *literature], key=lambda row: row["parameters"]):
        own = "source" not in row
        name = f"**{row['name']}**" if own else row["name"] + (" (Y)" if row["colour"] == "Y" else "")
        psnr = " | ".join(f"{row['psnr_y'][given]:.2f}" for given in SETS)
        speed = f"{row['megapixels_per_second']:.2f}" if own else ""
        source = "measured here" if own else row["source"]
        lines.append(f"| {name} | {row['parameters']:,} | {row['gmacs_720p']:g} | {psnr} | {speed} | {source} |")
    return (DOCS / "benchmark.md").read_text(encoding="utf-8").partition("<!-- made by benchmarks.frontier -->")[0] + (
        "<!-- made by benchmarks.frontier -->\n\n![PSNR-Y on Set14 against parameters](benchmark.svg)\n\n"
        + "\n".join(lines)
        + "\n"
    )


def plot(ours: Sequence[Row], literature: Sequence[Row], given: str = "Set14") -> str:
    """SVG: PSNR-Y of a set against parameters on a logarithmic axis; ours filled, literature hollow."""
    rows = [*literature, *ours]
    sizes = [math.log10(row["parameters"]) for row in rows]
    values = [row["psnr_y"][given] for row in rows]
    low, high = min(sizes) - 0.1, max(sizes) + 0.25
    bottom, top = math.floor(min(values) * 2) / 2, math.ceil(max(values) * 2) / 2

    def x(size: float) -> float:
        return MARGIN + (size - low) / (high - low) * (WIDTH - MARGIN - 12)

    def y(value: float) -> float:
        return HEIGHT - MARGIN + 8 - (value - bottom) / (top - bottom) * (HEIGHT - MARGIN - 12)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in np.arange(bottom, top + 0.01, 0.5):
        parts.append(f'<path d="M{MARGIN} {y(tick):.1f}H{WIDTH - 12}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
    for number, label in ((10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M")):
        at = x(math.log10(number))
        parts.append(f'<path d="M{at:.1f} 8V{HEIGHT - MARGIN + 8}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - MARGIN + 26}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">parameters</text>')
    parts.append(f'<text x="12" y="{HEIGHT / 2}" transform="rotate(-90 12 {HEIGHT / 2})" text-anchor="middle">')
    parts.append(f"PSNR-Y on {given} x2, dB</text>")
    points = [(x(math.log10(row["parameters"])), y(row["psnr_y"][given]), row) for row in [*ours, *literature]]
    taken = [(at - 6, level - 6, at + 6, level + 6) for at, level, _ in points]
    for at, level, row in points:  # ours get their labels first
        own = "source" not in row
        colour = "#0b62c4" if own else "#777"
        parts.append(
            f'<circle cx="{at:.1f}" cy="{level:.1f}" r="{5 if own else 4}" stroke="{colour}" '
            f'fill="{colour if own else "white"}"/>'
        )
        long = (7.2 if own else 6.4) * len(row["name"])
        beside, before, above = at + 7, at - 9 - long, at - long / 2
        places = [(beside + 2, level - 7), (beside, level - 20), (beside, level + 6), (before, level - 7)]
        for left, top in [*places, (above, level - 36), (above, level - 52), (beside, level + 24)]:
            box = (left, top, left + long, top + 13)
            free = all(box[2] < a or box[0] > c or box[3] < b or box[1] > d for a, b, c, d in taken)
            if free and left > MARGIN and box[2] < WIDTH - 4:
                taken.append(box)
                weight = ' font-weight="bold"' if own else ""
                parts.append(f'<text x="{left:.1f}" y="{top + 11:.1f}" fill="{colour}"{weight}>{row["name"]}</text>')
                break
    return "\n".join([*parts, "</svg>\n"])


def main(arguments: Sequence[str]) -> None:
    """Measure, if there are arguments, and write the page and the plot."""
    stored = DOCS / "evidence" / "benchmark.json"
    if arguments:
        torch.set_num_threads(1)
        weights = {f"ParagonSR2 {name}": name for name in models.names() if models.card(name)["scale"] == 2}
        weights |= dict(argument.partition("=")[::2] for argument in arguments[1:])
        rows = measured(Path(arguments[0]), weights)
        stored.write_text("[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")
    ours = json.loads(stored.read_text(encoding="utf-8"))
    literature = json.loads((DOCS / "evidence" / "literature.json").read_text(encoding="utf-8"))
    (DOCS / "benchmark.md").write_text(page(ours, literature), encoding="utf-8")
    (DOCS / "benchmark.svg").write_text(plot(ours, literature), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
