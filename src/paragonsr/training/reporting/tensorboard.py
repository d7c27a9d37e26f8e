"""TensorBoard: one writer, fed from observations and journal entries."""

from pathlib import Path

import numpy as np

from paragonsr.automation.forecast import Forecast
from paragonsr.automation.journal import Entry
from paragonsr.automation.protocol import Decay, Measurements, Observation, Steps


class TensorBoardLogger:
    """Scalars and texts of a run.

    Tags: losses/<label>, loss_weight/<label>, loss_share/<label>, lr, grad_norm, perf/*, val/<metric> (the deciding
    set), metrics/<set>/<metric>, automation/<setting>, forecast/*.

    Args:
        folder: where event files go; None writes none.
        shares: whether the losses' shares of the pull are written.
    """

    def __init__(self, folder: Path | None, *, shares: bool = True) -> None:
        self._shares = shares
        self._writer = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))

    def observe(self, observation: Observation) -> None:
        """Write an observation's means."""
        if self._writer is None:
            return
        if isinstance(observation, Measurements):
            for name, value in observation.values.items():
                self._writer.add_scalar(f"facts/{observation.kind}/{name}".replace(" ", "_"), value)
            return
        scalars = _steps(observation) if isinstance(observation, Steps) else {}
        if not isinstance(observation, Steps):
            for number, (name, metrics) in enumerate(observation.metrics.items()):
                for metric, figure in metrics.items():
                    scalars[f"metrics/{name}/{metric}"] = figure.value
                    if number == 0:
                        scalars[f"val/{metric}"] = figure.value
                        self._writer.add_text(f"protocol/{metric}", figure.protocol, observation.iteration)
        if not self._shares:
            scalars = {tag: value for tag, value in scalars.items() if not tag.startswith("loss_share/")}
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, observation.iteration)

    def forecast(self, iteration: int, expected: Forecast) -> None:
        """Write what is expected of the end."""
        if self._writer is not None:
            for name, value in vars(expected).items():
                if value is not None:
                    self._writer.add_scalar(f"forecast/{name}", value, iteration)

    def entry(self, entry: Entry) -> None:
        """Write a decision."""
        if self._writer is None:
            return
        decision = entry.decision
        value = decision.value.floor if isinstance(decision.value, Decay) else float(decision.value)
        self._writer.add_scalar(f"automation/{decision.setting}", value, entry.iteration)
        text = f"{decision.setting}: {entry.before} -> {decision.value} ({entry.outcome}): {decision.reason}"
        self._writer.add_text(f"automation/{decision.automation}", text, entry.iteration)

    def flush(self) -> None:
        """Bring everything written so far into the event file."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write out and close."""
        if self._writer is not None:
            self._writer.close()


def _steps(window: Steps) -> dict[str, float]:
    figures = window.values
    seconds = float(figures["seconds"].sum())
    scalars = {
        "lr": float(figures["lr"][-1]),
        "grad_norm": _mean(figures["grad_norm"]),
        "perf/it_s": len(figures["seconds"]) / seconds,
        "perf/samples_s": float(figures["batch_size"].sum()) / seconds,
        "perf/data_wait": float(figures["data_wait"].sum()) / seconds,
        "perf/peak_memory_gb": float(figures["peak_memory"].max()) / 2**30,
        "perf/batch_size": float(figures["batch_size"][-1]),
        "perf/micro_batch": float(figures["micro_batch"][-1]),
    }
    pulls = {}
    for name, values in figures.items():
        kind, _, label = name.partition("/")
        if kind == "loss" and not np.isnan(values).all():
            scalars[f"losses/{label}"] = _mean(values)
        elif kind == "loss_weight":
            scalars[name] = float(values[-1])
            pulls[label] = _mean(values * figures[f"loss_grad/{label}"])
    total = sum(gradient for gradient in pulls.values() if np.isfinite(gradient))
    if total > 0:
        scalars |= {
            f"loss_share/{label}": gradient / total for label, gradient in pulls.items() if np.isfinite(gradient)
        }
    return scalars


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
