"""What a calibration may find: the steps of the fitted pipeline, in order, each with one parameter and its flags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paragonsr.degradation.options import StepOptions

MID_GREY = 128.0
"""Level at which Gaussian and Poisson noise are compared: Poisson noise of scale s has the deviation s sqrt(128)."""


@dataclass(frozen=True)
class Kind:
    """One step that may be part of the degradation."""

    name: str
    type: str
    """Type of the step."""
    parameter: str
    """Key of the step that is fitted."""
    low: float
    high: float
    """Limits between which it is looked for."""
    neutral: float
    """Value of the parameter that changes nothing; stands for images without this step."""
    flags: tuple[str, ...] = ()
    """Alternatives whose frequency is fitted as well."""
    unit: str = ""
    digits: int = 2
    doubt: float = 1.0
    """How much it must explain to be believed, relative to the others: more where another kind looks alike."""


@dataclass(frozen=True)
class Span:
    """Fitted distribution of one kind: the share of images that have it, and a uniform range."""

    share: float
    low: float
    high: float
    flags: Mapping[str, float] = field(default_factory=dict)
    """Frequency of each flag among the images that have it."""


Spans = Mapping[str, Span]
"""Name of a kind -> its distribution."""


def kinds(scale: int) -> tuple[Kind, ...]:
    """All kinds, in the order of their steps.

    Args:
        scale: HR side / LR side; blur is looked for up to two LR pixels.
    """
    return (
        Kind("blur", "blur", "sigma", 0.2 * scale, 2.0 * scale, 0.0, unit="HR pixels"),
        Kind("rescaling", "resize", "factor", 0.35, 0.9, 1.0, unit="of the LR size", doubt=6.0),
        Kind("sharpening", "sharpen", "amount", 0.2, 2.0, 0.0),
        Kind("noise", "one_of", "sigma", 0.5, 25.0, 0.0, ("gray", "poisson"), "levels at mid-grey"),
        Kind("banding", "quantise", "levels", 8, 64, 128, unit="levels", digits=0, doubt=3.0),
        Kind("chroma subsampling", "chroma", "", 0, 1, 0.0, doubt=3.0),
        Kind("jpeg", "jpeg", "quality", 10, 98, 100, ("444", "shifted"), digits=0),
    )


def step(kind: Kind, span: Span, scale: int) -> dict[str, Any]:
    """The step as it is written in YAML."""
    found: dict[str, Any] = {"type": kind.type}
    if span.share < 1:
        found["prob"] = round(span.share, 3)
    if kind.parameter:
        found[kind.parameter] = [round(span.low, kind.digits), round(span.high, kind.digits)]
    if kind.name == "noise":
        return _noise(span, kind.digits)
    if kind.type == "blur":
        side = float(min(2 * int(1.5 * span.high + 1.5) + 1, 99))
        found |= {"kernels": {"iso": 1.0}, "size": [max(side, 7.0)] * 2}
    elif kind.type == "resize":
        found |= {"direction": {"down": 1.0}, "relative_to": "lr"}
    elif kind.type == "sharpen":
        found["sigma"] = [1.0, 1.0]
    elif kind.type == "quantise":
        found["dither"] = {"none": 1.0}
    elif kind.type == "jpeg":
        full = round(span.flags.get("444", 0.0), 3)
        found["subsampling"] = {name: w for name, w in (("420", round(1 - full, 3)), ("444", full)) if w > 0}
        if span.flags.get("shifted", 0.0) > 0:
            found["shift_prob"] = round(span.flags["shifted"], 3)
    return found


def _noise(span: Span, digits: int) -> dict[str, Any]:
    """Gaussian noise, Poisson noise of the same strength at mid-grey, or one of them."""
    gray, poisson = round(span.flags.get("gray", 0.0), 3), round(span.flags.get("poisson", 0.0), 3)
    sigma = [round(span.low, digits), round(span.high, digits)]
    scale = [round(end / MID_GREY**0.5, digits + 2) for end in (span.low, span.high)]
    branches = [
        (1 - poisson, {"type": "gaussian_noise", "sigma": sigma, "gray_prob": gray}),
        (poisson, {"type": "poisson_noise", "scale": scale, "gray_prob": gray}),
    ]
    prob = {"prob": round(span.share, 3)} if span.share < 1 else {}
    present = [(weight, noise) for weight, noise in branches if weight > 0]
    if len(present) == 1:
        return present[0][1] | prob
    return {"type": "one_of"} | prob | {"branches": [{"weight": round(w, 3), "steps": [n]} for w, n in present]}


def pipeline(spans: Spans, scale: int) -> list[dict[str, Any]]:
    """The steps of all kinds that occur, with the resize to the LR image in its place."""
    steps: list[dict[str, Any]] = []
    for kind in kinds(scale):
        span = spans.get(kind.name)
        if kind.name == "sharpening":
            steps.append({"type": "to_lr", "filters": {"bicubic": 1.0}})
        if span is not None and span.share > 0:
            steps.append(step(kind, span, scale))
    return steps if len(steps) > 1 else []


def built(written: dict[str, Any]) -> StepOptions:
    """Options of a step from what is written."""
    variant = StepOptions.choose(written["type"])
    assert variant is not None
    return variant.model_validate(written)
