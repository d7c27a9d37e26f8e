"""Results from runs' records (values, curves, tables, the page), with records written here."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from paragonsr.automation.protocol import MetricValue, Steps, Validation
from paragonsr.errors import UserError
from paragonsr.evidence.arms import Arm, differing_keys, make_arms
from paragonsr.evidence.compare_page import compare_page
from paragonsr.evidence.curves import aligned, difference_curve, in_seconds, mean_curve
from paragonsr.evidence.progress import remaining
from paragonsr.evidence.results import Results, as_json, results
from paragonsr.evidence.runner import PlannedRun, finished_runs, planned_runs
from paragonsr.evidence.runs import Run
from paragonsr.evidence.statistics import paired_difference
from paragonsr.evidence.tables import lines
from paragonsr.evidence.verdict import comparison_verdicts
from paragonsr.run_description import FORMAT
from paragonsr.training.reporting.record import MetricsRecord

Configure = Callable[..., Path]
EVERY = 10
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def write_run(planned: PlannedRun, psnr: Sequence[float], seconds: float = 0.5, data: str = "abc") -> Run:
    """The record of a finished run that was validated every 10 iterations."""
    run, total = planned.run, EVERY * len(psnr)
    run.folder.mkdir(parents=True)
    recorder = MetricsRecord(run.folder, ["iteration", "seconds", "batch_size", "peak_memory", "lr"])
    values = {"iteration": np.arange(1.0, total + 1), "seconds": np.full(total, seconds), "lr": np.ones(total)}
    recorder.observe(Steps(total, values | {"batch_size": np.full(total, 4.0), "peak_memory": np.full(total, 2.0**20)}))
    for i, value in enumerate(psnr, 1):
        recorder.observe(Validation(EVERY * i, {"val": {"psnr": MetricValue(value, "higher", "psnr_y", 0)}}, 1.0))
    recorder.close()
    description = {
        "state": "completed",
        "format": FORMAT,
        "metric": "psnr",
        "parameters": 1,
        "environment": {},
        "config": planned.arm.config.model_dump(),
        "data": {"train": "t", "val": data},
    }
    (run.folder / "run.json").write_text(json.dumps(description))
    return run


@pytest.fixture
def two(tiny_config: Configure, tmp_path: Path) -> tuple[list[Arm], list[PlannedRun]]:
    """Two arms, "lr=1e-3" and "lr=1e-4", with three seeds."""
    arms = make_arms([tiny_config()], vary=["train.optim_g.lr=1e-3,1e-4"])
    return arms, list(planned_runs(arms, range(3), tmp_path / "out"))


def _found(arms: list[Arm], of: list[PlannedRun], seeds: int = 3) -> Results:
    return results(arms, of, differing_keys(arms), seeds)


def test_a_run_that_stopped_early_keeps_its_last_figure(two: tuple[list[Arm], list[PlannedRun]]) -> None:
    arms, todo = two
    for planned in todo:
        first = planned.arm is arms[0]
        write_run(planned, [30, 31, 32] if first else [30, 33, 34][: 2 + planned.seed % 2], 0.5 if first else 1.0)
    found = _found(arms, todo)
    one, other = found.outcomes
    assert (one.finals, other.finals) == ((32, 32, 32), (33, 34, 33))
    assert other.difference == paired_difference([33, 34, 33], [32, 32, 32])
    assert other.iterations_to_first == pytest.approx((50 / 3,) * 3)
    assert other.seconds_to_first == pytest.approx((50 / 3,) * 3)
    assert one.iterations_to_first == (30, 30, 30)
    assert one.seconds_to_first == (15, 15, 15)
    assert [cost.iterations for cost in found.costs] == [30, pytest.approx(70 / 3)]
    assert [cost.samples_per_second for cost in found.costs] == [8, 4]
    assert [cost.peak_memory for cost in found.costs] == [2**20, 2**20]
    runs = {arm.name: [planned.run for planned in todo if planned.arm is arm] for arm in arms}
    mean = mean_curve(runs["lr=1e-4"], "psnr", "val")
    assert mean.x.tolist() == [10, 20, 30]
    assert mean.y == pytest.approx([30, 33, (33 + 34 + 33) / 3])
    assert in_seconds(mean, runs["lr=1e-4"]).x == pytest.approx([10, 20, 70 / 3])
    difference = difference_curve(runs["lr=1e-4"], runs["lr=1e-3"], "psnr", "val")
    assert difference.y == pytest.approx([0, 2, 4 / 3])
    assert difference.low is not None
    assert difference.low[-1] == pytest.approx(paired_difference([33, 34, 33], [32, 32, 32]).low)
    (todo[0].folder / "plan.json").write_text(json.dumps({"arms": dict.fromkeys(runs)}))
    assert finished_runs(todo[0].folder) == runs
    assert "never" not in "\n".join(lines(found))


def test_a_metric_that_decides_may_be_better_when_lower(two: tuple[list[Arm], list[PlannedRun]]) -> None:
    """The second arm has less PSNR and a better FLIP, which decides: tables, intervals and the page say so."""
    arms, todo = two
    for planned in todo:
        first = planned.arm is arms[0]
        noise = 0.001 * planned.seed * (1 if first else -1)
        write_run(planned, [30.0, 31.0] if first else [29.0, 30.0])
        flips = [0.30, 0.20 + noise] if first else [0.25, 0.10 + noise]
        _add_metric(planned.run, "flip", flips, "lower", "flip/ldr")
    found = _found(arms, todo)
    assert found.deciding == (("val", "flip"),)
    (said,) = comparison_verdicts(found)
    assert said.startswith("lr=1e-4 is better than lr=1e-3 by 0.1020, [-0.10")
    ours = next(o for o in found.outcomes if (o.arm, o.metric) == ("lr=1e-4", "flip"))
    reached = [10 + 10 * (0.05 - 0.001 * seed) / (0.15 + 0.001 * seed) for seed in range(3)]
    assert ours.iterations_to_first == pytest.approx(reached)
    text = "\n".join(lines(found))
    assert "val: flip, lower is better  (flip/ldr)" in text
    assert "val: psnr  (psnr_y)" in text
    page = compare_page(found, arms, todo)
    assert "val: flip, lower is better" in page
    assert "val: psnr, lower" not in page
    assert json.loads(as_json(found, []))["deciding"] == [["val", "flip"]]


def _add_metric(run: Run, metric: str, values: Sequence[float], better: str, protocol: str) -> None:
    """Add a deciding metric to the record of a run."""
    file = run.folder / "validations.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record, value in zip(records, values, strict=True):
        psnr = record["metrics"]["val"]["psnr"]
        record["metrics"]["val"][metric] = psnr | {"value": value, "better": better, "protocol": protocol}
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    described = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(described | {"metric": metric}))


def test_curves_of_other_points_meet_between_them() -> None:
    x, y = aligned([(np.array([10, 30]), np.array([1.0, 3.0])), (np.array([20, 30, 40]), np.array([5.0, 5.0, 6.0]))])
    assert x.tolist() == [20, 30, 40]
    assert y.tolist() == [[2, 3, 3], [5, 5, 6]]


def test_a_figure_that_is_not_finite_is_told_and_is_null(two: tuple[list[Arm], list[PlannedRun]]) -> None:
    arms, todo = two
    for planned in todo:
        write_run(planned, [30, 31] if planned.arm is arms[0] else [30, math.nan if planned.seed == 1 else 29])
    found = _found(arms, todo)
    assert found.outcomes[1].difference is None
    assert "not finite" in "\n".join(lines(found))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    outcomes = json.loads(as_json(found, []), parse_constant=refuse)["outcomes"]
    assert outcomes[1]["finals"] == [29, None, 29]
    assert outcomes[1]["iterations_to_first"] == [None, None, None]
    assert "not finite" in compare_page(found, arms, todo)


def test_images_that_changed_between_two_runs_are_refused(two: tuple[list[Arm], list[PlannedRun]]) -> None:
    arms, todo = two
    for planned in todo:
        write_run(planned, [30, 31], data="other" if planned.seed == 2 else "abc")
    with pytest.raises(UserError, match=r"the images of datasets.val are not those that lr=1e-[34]_seed"):
        _found(arms, todo)


def test_different_validation_sets_are_held_to_each_other_where_they_were_allowed(
    tiny_config: Configure, tmp_path: Path
) -> None:
    arms = make_arms([tiny_config()], vary=["datasets.val.dataroot_gt=a,b"])
    todo = list(planned_runs(arms, range(1), tmp_path / "out"))
    for planned in todo:
        write_run(planned, [30, 31], data=planned.arm.name)
    assert _found(arms, todo, 1).outcomes[1].difference == paired_difference([31], [31])


def test_what_is_left_takes_as_long_as_what_was_done(two: tuple[list[Arm], list[PlannedRun]]) -> None:
    _, todo = two
    first, second = todo[:2]
    # The second arm has no finished run yet: the time per iteration is that of the first. Two and three runs are left.
    assert remaining(todo, {first.name: 10.0}) == 5 * 10
    assert remaining(todo, {first.name: 10.0, second.name: 40.0}) == 2 * 10 + 2 * 40


@pytest.fixture
def eight(tiny_config: Configure, tmp_path: Path) -> str:
    """The page of ten arms with realistic names, with two of three seeds so far."""
    more = [f"arm {i} <of> a name that is rather long: train.optim_g.lr={i}e-5" for i in range(1, 10)]
    arms = make_arms([tiny_config()], more=more)
    todo = list(planned_runs(arms, range(3), tmp_path / "out"))
    random = np.random.default_rng(0)
    for planned in todo:
        level = 30 + 0.1 * arms.index(planned.arm) + random.normal(0, 0.02)
        write_run(planned, list(level + np.log(np.arange(1, 21)) + random.normal(0, 0.01, 20)))
    return compare_page(_found(arms, todo, 5), arms, todo)


def test_the_page_of_many_arms(eight: str) -> None:
    assert "10 arms, 3 seeds of 5 so far each" in eight
    assert eight.count("arm 9 &lt;of&gt; a name") >= 4, "differences, legend, values, cost"
    assert len(eight) < 5e6
    buttons = re.findall(r'<button aria-pressed="true"><i style="border-top: 3px (\w+) (#\w+)">', eight)
    assert len(set(buttons)) == 10, "no two arms are drawn alike"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_the_page_of_many_arms_in_a_browser(eight: str, tmp_path: Path) -> None:
    """On a phone, nothing is wider than the window, everything is drawn, a click hides an arm; no errors."""
    assert CHROMIUM is not None
    click = """
    <script>addEventListener("load", () => setTimeout(() => {
      document.querySelectorAll(".legend button")[3].click();
      const named = [...Bokeh.documents[0].all_models].filter(m => m.name?.startsWith("arm 3"));
      console.log("hidden " + named.length + " " + named.every(m => !m.visible));
      console.log("fits " + (document.documentElement.scrollWidth <= innerWidth));
    }, 4000))</script>"""
    page = tmp_path / "compare.html"
    page.write_text(eight.replace("</body>", click + "</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--no-first-run", "--virtual-time-budget=9000"]
    command += ["--window-size=500,900", "--enable-logging=stderr", f"--screenshot={tmp_path / 'shot.png'}"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    said = re.findall(r'CONSOLE.*?"(.*?)"', done.stderr)
    assert [line for line in said if "[bokeh" not in line] == ["hidden 9 true", "fits true"]
