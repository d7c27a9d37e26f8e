"""Conversion of observations to scalars with tags."""

import numpy as np

from paragonsr.automation.protocol import Measurements, Observation, Steps, Validation


def scalars(observation: Observation) -> dict[str, float]:
    """Tag -> value: means over a window of steps, metrics of a validation, or unchanged measurements."""
    if isinstance(observation, Steps):
        return _of_steps(observation)
    if isinstance(observation, Validation):
        return _of_validation(observation)
    return _of_measurements(observation)


def _of_measurements(observation: Measurements) -> dict[str, float]:
    kind = observation.kind.replace(" ", "_")
    return {f"measurements/{kind}/{name}".replace(" ", "_"): value for name, value in observation.values.items()}


def _of_validation(observation: Validation) -> dict[str, float]:
    values: dict[str, float] = {}
    for number, (name, metrics) in enumerate(observation.metrics.items()):
        for metric, measured in metrics.items():
            values[f"metrics/{name}/{metric}"] = measured.value
            if number == 0:
                values[f"val/{metric}"] = measured.value
    return values


def _of_steps(window: Steps) -> dict[str, float]:
    steps = window.values
    values = {"lr": float(steps["lr"][-1]), "grad_norm": _mean(steps["grad_norm"])} | _of_performance(window)
    for name, column in steps.items():
        kind, _, label = name.partition("/")
        if kind == "loss" and not np.isnan(column).all():
            values[f"losses/{label}"] = _mean(column)
        elif kind == "loss_weight":
            values[name] = float(column[-1])
        elif kind == "learner" and not np.isnan(column).all():
            values[name] = _mean(column)
    return values | _shares(window)


def _of_performance(window: Steps) -> dict[str, float]:
    steps = window.values
    seconds = float(steps["seconds"].sum())
    return {
        "perf/it_s": len(steps["seconds"]) / seconds,
        "perf/samples_s": float(steps["batch_size"].sum()) / seconds,
        "perf/data_wait": float(steps["data_wait"].sum()) / seconds,
        "perf/peak_memory_gb": float(steps["peak_memory"].max()) / 2**30,
        "perf/batch_size": float(steps["batch_size"][-1]),
        "perf/micro_batch": float(steps["micro_batch"][-1]),
    }


def _shares(window: Steps) -> dict[str, float]:
    """Share of each loss in the gradient at the SR images: weight times gradient norm, over the sum."""
    weights = {n.removeprefix("loss_weight/"): c for n, c in window.values.items() if n.startswith("loss_weight/")}
    norms = {label: _mean(column * window.values[f"loss_grad/{label}"]) for label, column in weights.items()}
    known = {label: norm for label, norm in norms.items() if np.isfinite(norm)}
    total = sum(known.values())
    return {f"loss_share/{label}": norm / total for label, norm in known.items()} if total > 0 else {}


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
