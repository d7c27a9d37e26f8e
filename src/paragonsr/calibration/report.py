"""What a calibration found: text, YAML, and an HTML page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from paragonsr.calibration.calibrate import Calibration, Compared
from paragonsr.calibration.kinds import Kind, Span, kinds
from paragonsr.degradation.base import Degradation, Image
from paragonsr.html.page import Page


def found(calibration: Calibration) -> Iterator[str]:
    """A sentence for each kind that was found, or that the images are clean."""
    if calibration.is_clean:
        yield "clean: no degradation other than the bicubic resize was found"
    for kind in kinds(calibration.scale):
        span = calibration.spans[kind.name]
        if span.share:
            yield f"{kind.name}: {_described(kind, span)}"


def _described(kind: Kind, span: Span) -> str:
    words = [f"{span.share:.0%} of the images"]
    if kind.parameter:
        unit = f" {kind.unit}" if kind.unit else ""
        words.append(f"{kind.parameter} {span.low:.{kind.digits}f} to {span.high:.{kind.digits}f}{unit}")
    return ", ".join([*words, *(f"{flag} {share:.0%}" for flag, share in span.flags.items() if share)])


def lines(calibration: Calibration) -> Iterator[str]:
    """The whole result as text."""
    formats = ", ".join(f"{count} {name}" for name, count in sorted(calibration.formats.items()))
    yield f"{calibration.like}: {calibration.images} images ({formats}), {calibration.crops} crops"
    yield from (f"  {line}" for line in found(calibration))
    if calibration.jpeg_headers:
        yield "  (quality and subsampling of the last JPEG are from the headers of the files)"
    yield f"{'trait':24}{'measured: 10%, 50%, 90%':>28}{'fitted':>28}{'difference':>12}"
    for trait in calibration.traits:
        yield f"{trait.name:24}{_numbers(trait.measured):>28}{_numbers(trait.fitted):>28}{trait.distance:12.2f}"
    yield (
        f"energy distance of all traits: {calibration.distance:.3f} (bicubic resize {calibration.bicubic:.3f}, "
        f"two halves of the folder {calibration.floor:.3f})"
    )
    yield unexplained(calibration)


def unexplained(calibration: Calibration) -> str:
    """Sentence that names the traits which the fitted pipeline does not reproduce."""
    names = [trait.name for trait in calibration.unexplained]
    other = {name for name in calibration.formats if name in ("WEBP", "AVIF", "HEIF")}
    lossy = (
        f"; the compression of {', '.join(sorted(other))} files is not among the steps that are fitted" if other else ""
    )
    return (f"not explained: {', '.join(names)}" if names else "every trait is explained") + lossy


def as_yaml(calibration: Calibration) -> str:
    """Content of a file for `paragonsr data degrade --config`, whose `degradation` also fits into a training
    configuration."""
    head = [
        f"# Fitted to {calibration.images} images of {calibration.like}",
        *(f"# {line}" for line in found(calibration)),
    ]
    head.append(f"# {unexplained(calibration)}")
    content = {
        "scale": calibration.scale,
        "degradation": {"type": "pipeline", "fitted_to": calibration.like, "steps": calibration.steps},
    }
    return "\n".join(head) + "\n" + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120)


def page(calibration: Calibration, crops: list[Image], hr: list[Image]) -> str:
    """HTML page: what was found, measured against fitted, and pictures of both.

    Args:
        calibration: the result.
        crops: of the folder.
        hr: crops of the HR images.
    """
    made = Page(
        f"Calibration: {Path(calibration.like).name}",
        f"{calibration.images} images, scale {calibration.scale}: " + "; ".join(found(calibration)),
    )
    made.text(
        f"Energy distance of all traits between the folder and the fitted pipeline: {calibration.distance:.3f}. "
        f"Two halves of the folder: {calibration.floor:.3f}. The bicubic resize alone: {calibration.bicubic:.3f}."
    )
    made.text(unexplained(calibration).capitalize() + ".")
    made.heading("Measured against fitted", "Bars from the 10% to the 90% quantile, with the median.")
    made.picture(_bars(calibration.traits), "Blue: measured in the folder. Orange: fitted.")
    made.table(
        ("trait", "meaning", "unit", "measured", "fitted", "difference"),
        [
            (t.name, t.about, t.unit, _numbers(t.measured), _numbers(t.fitted), f"{t.distance:.2f}")
            for t in calibration.traits
        ],
    )
    degradation = calibration.options().build(scale=calibration.scale, seed=calibration.seed)
    assert isinstance(degradation, Degradation)
    made.heading("Pictures")
    made.gallery("From the folder", ((crop, "") for crop in crops[:12]))
    made.gallery(
        "Made by the fitted pipeline", ((degradation.degrade(image, n), "") for n, image in enumerate(hr[:12]))
    )
    made.heading("Configuration")
    made.text(as_yaml(calibration))
    return made.html()


_ROW, _LABEL, _WIDTH = 26, 190, 720


def _bars(traits: list[Compared]) -> bytes:
    import io

    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    sheet = Pillow.new("RGB", (_LABEL + _WIDTH + 16, _ROW * len(traits) + 8), (250, 250, 250))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, trait in enumerate(traits):
        top = 4 + row * _ROW
        pen.text((6, top + 4), trait.name, (200, 50, 40) if trait.distance > 0.4 else (40, 40, 46), font)
        ends = np.array([trait.measured, trait.fitted])
        low, wide = float(ends.min()), max(float(np.ptp(ends)), 1e-6)
        for number, (values, colour) in enumerate(zip(ends, ((47, 143, 216), (224, 123, 26)), strict=True)):
            x = [_LABEL + 8 + float(value - low) / wide * (_WIDTH - 16) for value in values]
            y = top + 4 + 9 * number
            pen.rectangle((x[0], y, max(x[2], x[0] + 1), y + 6), colour)
            pen.rectangle((x[1] - 1.5, y - 1, x[1] + 1.5, y + 7), (20, 20, 24))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _numbers(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
