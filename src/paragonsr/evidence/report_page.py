"""HTML page of one run, whether running, crashed or finished."""

import io
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from paragonsr.automation.protocol import Decay
from paragonsr.config import Config
from paragonsr.data.contact_sheet import sheet_of_set
from paragonsr.errors import UserError
from paragonsr.evidence.crops import crops
from paragonsr.evidence.curves import Shaded
from paragonsr.evidence.plots import Mark, shaded_curves, step_curves
from paragonsr.evidence.runs import Run
from paragonsr.evidence.verdict import direction, run_verdict
from paragonsr.html.page import Page
from paragonsr.training.checkpoint.run_folder import flat
from paragonsr.training.reporting.loggers import shown
from paragonsr.training.reporting.pictures import sheet
from paragonsr.training.reporting.record import read_forecasts
from paragonsr.training.reporting.through_time import kept_crops


def report_page(run: Run) -> str:
    """Return the HTML."""
    size = run.description["parameters"]
    lead = f"{run.state} at iteration {run.iteration} of {run.total}; {run.arch}, {size} parameters"
    page = Page(run.name, lead)
    if run.state == "crashed":
        page.text(f"The run crashed: {run.description['cause']}")
    if run.state == "killed":
        page.text("The process ended without a message: it was killed, or the machine went down.")
    if run.state in ("crashed", "killed", "interrupted"):
        page.text(f"Run the same command to continue:  {run.description['environment']['command']}")
    entries = [entry | {"from": _value(entry["from"]), "to": _value(entry["to"])} for entry in run.journal]
    marks = [
        Mark(
            e["iteration"], f"{e['automation']}: {e['setting']} {e['from']} to {e['to']} ({e['outcome']})", e["reason"]
        )
        for e in entries
    ]
    if said := run_verdict(run):
        page.text(said)
    _crops(page, run)
    _through_time(page, run)
    _validation(page, run, marks)
    if run.iteration:
        _training(page, run, marks)
    page.heading("Decisions")
    if entries:
        header = ("iteration", "automation", "setting", "from", "to", "outcome", "reason")
        page.table(header, [[e[key] for key in header] for e in entries])
    else:
        page.text("No automation has changed a setting.")
    _degradation(page, run)
    _configuration(page, run)
    return page.html()


def _value(value: Any) -> str:
    """Human-readable form of a setting in the journal."""
    return shown(Decay(**value) if isinstance(value, dict) else value)


def _validation(page: Page, run: Run, marks: list[Mark]) -> None:
    page.heading("Validation")
    if not run.validations:
        page.text("Nothing was validated yet.")
        return
    last = run.validations[-1]
    plots, rows = [], []
    for set_name, metrics in last.metrics.items():
        for metric, figure in metrics.items():
            x, y = run.curve(metric, set_name)
            curve = {metric: Shaded(x, y)}
            title = f"{set_name}: {metric}{direction(figure.better)}"
            plots.append(shaded_curves(title, "iteration", metric, curve, marks=marks))
            top = int(np.argmax(y) if figure.better == "higher" else np.argmin(y))
            rows.append((set_name, metric, f"{y[-1]:.4f}", f"{y[top]:.4f}", x[top], figure.protocol))
    expected = read_forecasts(run.folder)
    if expected:
        at = np.array([iteration for iteration, _ in expected])
        final, low, high = (np.array([getattr(f, name) for _, f in expected]) for name in ("final", "low", "high"))
        plots.append(
            shaded_curves(
                "forecast of the final value", "iteration", "value", {"expected": Shaded(at, final, low, high)}
            )
        )
        last_one = expected[-1][1]
        page.text(
            f"After iteration {at[-1]} the forecast of the final value was {last_one.final:.3f}, "
            f"with an 80% interval from {last_one.low:.3f} to {last_one.high:.3f}."
        )
    page.table(("set", "metric", "last", "best", "at iteration", "protocol"), rows)
    page.charts(plots)


def _training(page: Page, run: Run, marks: list[Mark]) -> None:
    page.heading("Training")
    took = timedelta(seconds=round(float(run.seconds[-1])))
    page.text(
        f"{took} of training. Pale: as measured; strong: smoothed. "
        "Dashed lines are decisions; hover over a triangle at the bottom to see the reason."
    )
    steps, at = run.steps, run.steps["iteration"]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.diff(at, prepend=0) / steps["seconds"]
        wait = steps["data_wait"] / steps["seconds"]
    page.charts(
        [
            *(step_curves(f"loss {n}", n, at, {n: v}, marks, log=True) for n, v in _named(steps, "loss/").items()),
            step_curves("learning rate", "lr", at, {"lr": steps["lr"]}, marks, noisy=False, format="%.1e"),
            step_curves("share of each loss in the gradient", "share", at, run.shares, marks),
            step_curves("gradient norm before clipping", "norm", at, {"norm": steps["grad_norm"]}, marks, log=True),
            step_curves("batch size", "samples", at, {"batch": steps["batch_size"]}, marks, noisy=False),
            step_curves("speed", "iterations / s", at, {"it/s": rate}, marks),
            step_curves("share of the time spent waiting for data", "share", at, {"wait": wait}, marks),
            step_curves("peak memory", "MiB", at, {"peak": steps["peak_memory"] / 2**20}, marks, noisy=False),
        ]
    )


def _crops(page: Page, run: Run) -> None:
    page.heading("Pictures")
    try:
        pictures = crops(Config.model_validate(run.config), run.folder / "models")
    except UserError as error:
        page.text(f"The validation images cannot be read: {error.what}.")
        return
    if pictures is None:
        page.text("There are no weights of a validation yet, or no validation image is as large as a tile.")
        return
    gains, losses, count = pictures
    page.picture(gains, f"Tiles with the largest gain over bicubic, from {count} images of the first validation set.")
    page.picture(losses, "Tiles with the smallest gain or the largest loss.")


def _through_time(page: Page, run: Run) -> None:
    kept = kept_crops(run.folder, most=4)
    if kept:
        titles, panels = zip(*kept, strict=True)
        drawn = sheet([(list(panels), [""] * len(panels))], list(titles))
        page.picture(_png(drawn), "One crop while training went on.")


def _degradation(page: Page, run: Run) -> None:
    config = Config.model_validate(run.config)
    try:
        sheet = sheet_of_set(config.datasets["train"], config.scale, "train", config.manual_seed)
    except UserError as error:
        page.text(f"The degradation cannot be shown: {error.what}.")
        return
    if sheet is not None:
        page.heading("Degradation")
        page.picture(_png(sheet), "What it makes of the first training image, with the parameters of each sample.")


def _png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return content.getvalue()


def _configuration(page: Page, run: Run) -> None:
    page.heading("Configuration and environment")
    leaves, defaults = flat(run.config), _defaults(run)
    changed = {key: value for key, value in leaves.items() if key not in defaults or defaults[key] != value}
    page.text("Keys that differ from the default:")
    page.table(("key", "value", "default"), [(k, v, defaults.get(k, "required")) for k, v in changed.items()])
    page.folded("the whole configuration", ("key", "value"), list(leaves.items()))
    page.folded("environment and data", ("what", "value"), list(_facts(run).items()))


def _facts(run: Run) -> dict[str, Any]:
    facts: dict[str, Any] = dict(run.description["environment"])
    return facts | {f"data {phase}": print_ for phase, print_ in run.description["data"].items()}


def _defaults(run: Run) -> dict[str, Any]:
    """Default of every key of this configuration that has one."""
    found: dict[str, Any] = {}

    def walk(model: BaseModel, prefix: str) -> None:
        for name, field in type(model).model_fields.items():
            key, value = f"{prefix}{name}", getattr(model, name)
            if isinstance(value, BaseModel):
                walk(value, f"{key}.")
            elif isinstance(value, Mapping) and any(isinstance(v, BaseModel) for v in value.values()):
                for part, inner in value.items():
                    walk(inner, f"{key}.{part}.")
            elif isinstance(value, list) and any(isinstance(v, BaseModel) for v in value):
                for part, inner in enumerate(value):
                    walk(inner, f"{key}.{part}.")
            elif not field.is_required():
                found[key] = field.get_default(call_default_factory=True, validated_data=dict(model))

    walk(Config.model_validate(run.config), "")
    return found


def _named(steps: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Columns with that prefix that have any values, by name without the prefix."""
    return {
        name.removeprefix(prefix): values
        for name, values in steps.items()
        if name.startswith(prefix) and np.isfinite(values).any()
    }
