"""The two random stages of Real-ESRGAN, by the keys of Real-ESRGAN and traiNNer-redux."""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from paragonsr.degradation.blur import BlurOptions, Shape
from paragonsr.degradation.choice import BranchOptions, OneOfOptions
from paragonsr.degradation.image_codecs import JPEGOptions
from paragonsr.degradation.noise import GaussianNoiseOptions, PoissonNoiseOptions
from paragonsr.degradation.options import DegradationOptions, Range, StepOptions, odd_sizes, positive, within
from paragonsr.degradation.pipeline import Pipeline
from paragonsr.degradation.resize import FilterName, ResizeOptions, ToLROptions
from paragonsr.degradation.sharpen import SharpenOptions, ThickLinesOptions
from paragonsr.options import MismatchError

KernelName = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
Mode = Literal["bilinear", "bicubic", "nearest-exact", "lanczos", "area"]
Probability = Annotated[float, Field(ge=0, le=1)]
Three = Annotated[list[Probability], Field(min_length=3, max_length=3)]
OddRange = Annotated[Range, AfterValidator(odd_sizes)]
PositiveRange = Annotated[Range, AfterValidator(positive)]

_KERNELS: list[KernelName] = list(get_args(KernelName))
_KERNEL_PROB = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
_MODES: list[Mode] = ["area", "bilinear", "bicubic"]


class RealESRGANOptions(DegradationOptions):
    """Two random stages of blur, resize, noise and JPEG, and a final sinc filter (Wang et al. 2107.10833).

    Stands for a pipeline of blur, resize, gaussian_noise or poisson_noise, and jpeg; the same again with sizes relative
    to the LR image; then to_lr and a sinc blur, before or after the last jpeg. Keys are those of traiNNer-redux, and
    defaults those of Real-ESRGAN. Filters are antialiased, as in traiNNer-redux; in Real-ESRGAN only area is.
    """

    type: Literal["realesrgan"] = "realesrgan"
    target = "paragonsr.degradation.realesrgan:build"

    lq_usm: bool = False
    """Sharpen the image before everything else."""
    lq_usm_radius_range: Annotated[Range, within(1, 99)] = Field([1, 25])
    """Side of the sharpening kernel in pixels; its sigma is 0.3 (side - 1) / 2 + 0.5."""
    thicklines_prob: Probability = 0.0
    """Probability of thick_lines."""

    blur_prob: Probability = 1.0
    """Probability of a blur in the first stage."""
    blur_kernel_size: int = Field(21, ge=3)
    """Largest side of a kernel of the first stage in pixels, if kernel_range does not say it."""
    kernel_list: list[KernelName] = Field(_KERNELS)
    """Shapes of kernels in the first stage."""
    kernel_prob: list[Probability] = Field(_KERNEL_PROB)
    """Relative frequency of each of them."""
    kernel_range: OddRange | None = None
    """Sides of kernels in pixels, odd; default: 7 to blur_kernel_size."""
    sinc_prob: Probability = 0.1
    """Probability of a sinc filter instead."""
    blur_sigma: PositiveRange = Field([0.2, 3.0])
    """Standard deviations in pixels."""
    betag_range: PositiveRange = Field([0.5, 4.0])
    """Exponents of generalized kernels."""
    betap_range: PositiveRange = Field([1.0, 2.0])
    """Exponents of plateau kernels."""
    resize_prob: Three = Field([0.2, 0.7, 0.1])
    """Probabilities of up, down and keep in the first stage."""
    resize_range: PositiveRange = Field([0.15, 1.5])
    """Factors, relative to the image."""
    resize_mode_list: list[Mode] = Field(_MODES)
    """Filters of the first stage."""
    resize_mode_prob: list[Probability] | None = None
    """Relative frequency of each of them; default: equal."""
    gaussian_noise_prob: Probability = 0.5
    """Probability of Gaussian noise in the first stage; otherwise it is Poisson noise."""
    noise_range: Annotated[Range, within(0, 255)] = Field([1.0, 30.0])
    """Standard deviations of Gaussian noise in levels."""
    poisson_scale_range: Annotated[Range, within(0, 16)] = Field([0.05, 3.0])
    """Scales of Poisson noise."""
    gray_noise_prob: Probability = 0.4
    """Probability of grey noise."""
    jpeg_prob: Probability = 1.0
    """Probability of JPEG in the first stage."""
    jpeg_range: Annotated[Range, within(1, 100)] = Field([30, 95])
    """Qualities."""

    blur_prob2: Probability = 0.8
    """Probability of a blur in the second stage."""
    blur_kernel_size2: int = Field(21, ge=3)
    """Largest side of a kernel of the second stage in pixels, if kernel_range2 does not say it."""
    kernel_list2: list[KernelName] = Field(_KERNELS)
    """Shapes of kernels in the second stage."""
    kernel_prob2: list[Probability] = Field(_KERNEL_PROB)
    """Relative frequency of each of them."""
    kernel_range2: OddRange | None = None
    """Sides of kernels in pixels, odd; default: 7 to blur_kernel_size2."""
    sinc_prob2: Probability = 0.1
    """Probability of a sinc filter instead."""
    blur_sigma2: PositiveRange = Field([0.2, 1.5])
    """Standard deviations in pixels."""
    betag_range2: PositiveRange = Field([0.5, 4.0])
    """Exponents of generalized kernels."""
    betap_range2: PositiveRange = Field([1.0, 2.0])
    """Exponents of plateau kernels."""
    resize_prob2: Three = Field([0.3, 0.4, 0.3])
    """Probabilities of up, down and keep in the second stage."""
    resize_range2: PositiveRange = Field([0.3, 1.2])
    """Factors, relative to the LR image."""
    resize_mode_list2: list[Mode] = Field(_MODES)
    """Filters of the second stage."""
    resize_mode_prob2: list[Probability] | None = None
    """Relative frequency of each of them; default: equal."""
    gaussian_noise_prob2: Probability = 0.5
    """Probability of Gaussian noise in the second stage; otherwise it is Poisson noise."""
    noise_range2: Annotated[Range, within(0, 255)] = Field([1.0, 25.0])
    """Standard deviations of Gaussian noise in levels."""
    poisson_scale_range2: Annotated[Range, within(0, 16)] = Field([0.05, 2.5])
    """Scales of Poisson noise."""
    gray_noise_prob2: Probability = 0.4
    """Probability of grey noise."""
    jpeg_prob2: Probability = 1.0
    """Probability of JPEG in the second stage."""
    jpeg_range2: Annotated[Range, within(1, 100)] = Field([30, 95])
    """Qualities."""

    resize_mode_list3: list[Mode] = Field(_MODES)
    """Filters of the last resize, to the size of the LR image."""
    resize_mode_prob3: list[Probability] | None = None
    """Relative frequency of each of them; default: equal."""
    final_sinc_prob: Probability = 0.8
    """Probability of the final sinc filter."""
    final_kernel_range: OddRange = Field([7, 21])
    """Sides of its kernel in pixels, odd."""

    @model_validator(mode="after")
    def _expands(self) -> "RealESRGANOptions":
        self.steps()
        return self

    def steps(self) -> list[StepOptions]:
        """Steps of the pipeline that these options stand for.

        Raises:
            ValueError: two lists that belong together have different lengths, or all frequencies are 0.
        """
        sharpen = SharpenOptions(
            prob=float(self.lq_usm),
            amount=[0.5, 0.5],
            sigma=[0.15 * (side - 1) + 0.5 for side in self.lq_usm_radius_range],
            threshold=[10.0, 10.0],
        )
        first_blur = BlurOptions(
            prob=self.blur_prob,
            kernels=_shapes(self.kernel_list, self.kernel_prob, self.sinc_prob, "kernel_prob"),
            size=self.kernel_range or _sizes(self.blur_kernel_size),
            sigma=self.blur_sigma,
            beta_generalized=self.betag_range,
            beta_plateau=self.betap_range,
        )
        first_resize = ResizeOptions(
            direction=_directions(self.resize_prob, "resize_prob"),
            factor=self.resize_range,
            filters=_filters(self.resize_mode_list, self.resize_mode_prob, "resize_mode_prob"),
        )
        first_noise = _noise(self.gaussian_noise_prob, self.noise_range, self.poisson_scale_range, self.gray_noise_prob)
        first_jpeg = JPEGOptions(prob=self.jpeg_prob, quality=self.jpeg_range)
        second_blur = BlurOptions(
            prob=self.blur_prob2,
            kernels=_shapes(self.kernel_list2, self.kernel_prob2, self.sinc_prob2, "kernel_prob2"),
            size=self.kernel_range2 or _sizes(self.blur_kernel_size2),
            sigma=self.blur_sigma2,
            beta_generalized=self.betag_range2,
            beta_plateau=self.betap_range2,
        )
        second_resize = ResizeOptions(
            direction=_directions(self.resize_prob2, "resize_prob2"),
            factor=self.resize_range2,
            filters=_filters(self.resize_mode_list2, self.resize_mode_prob2, "resize_mode_prob2"),
            relative_to="lr",
        )
        second_noise = _noise(
            self.gaussian_noise_prob2, self.noise_range2, self.poisson_scale_range2, self.gray_noise_prob2
        )
        to_lr = ToLROptions(filters=_filters(self.resize_mode_list3, self.resize_mode_prob3, "resize_mode_prob3"))
        sinc = BlurOptions(
            prob=self.final_sinc_prob, kernels={"sinc": 1.0}, size=self.final_kernel_range, cutoff=[1 / 3, 1.0]
        )
        second_jpeg = JPEGOptions(prob=self.jpeg_prob2, quality=self.jpeg_range2)
        last = OneOfOptions(
            branches=[
                BranchOptions(steps=[to_lr, sinc, second_jpeg]),
                BranchOptions(steps=[second_jpeg, to_lr, sinc]),
            ]
        )
        lines = ThickLinesOptions(prob=self.thicklines_prob)
        first = [sharpen, lines, first_blur, first_resize, first_noise, first_jpeg]
        return [step for step in [*first, second_blur, second_resize, second_noise, last] if step.prob]


def build(options: RealESRGANOptions, *, scale: int, seed: int) -> Pipeline:
    """The pipeline that the options stand for."""
    return Pipeline([step.build() for step in options.steps()], scale, seed)


def _sizes(largest: int) -> list[float]:
    """Odd sides of kernels from 7 to the largest."""
    odd = float(largest - 1 + largest % 2)
    return [min(7.0, odd), odd]


def _shapes(names: Sequence[KernelName], weights: Sequence[float], sinc: float, key: str) -> dict[Shape, float]:
    total = _checked(names, weights, key)
    shapes: dict[Shape, float] = {"sinc": sinc}
    for name, weight in zip(names, weights, strict=True):
        shapes[name] = shapes.get(name, 0.0) + (1 - sinc) * weight / total
    return shapes


def _directions(weights: Sequence[float], key: str) -> dict[Literal["up", "down", "keep"], float]:
    up, down, keep = weights
    _checked(weights, weights, key)
    return {"up": up, "down": down, "keep": keep}


def _filters(names: Sequence[Mode], weights: Sequence[float] | None, key: str) -> dict[FilterName, float]:
    given = [1.0] * len(names) if weights is None else weights
    _checked(names, given, key)
    filters: dict[FilterName, float] = {}
    for name, weight in zip(names, given, strict=True):
        plain: FilterName = "nearest" if name == "nearest-exact" else name
        filters[plain] = filters.get(plain, 0.0) + weight
    return filters


def _checked(names: Sequence[object], weights: Sequence[float], key: str) -> float:
    """Sum of the weights."""
    if len(names) != len(weights):
        raise MismatchError(f"has {len(weights)} numbers for {len(names)} names", key)
    if not sum(weights):
        raise MismatchError("needs at least one number above 0", key)
    return sum(weights)


def _noise(gaussian: float, sigma: list[float], scale: list[float], gray: float) -> OneOfOptions:
    return OneOfOptions(
        branches=[
            BranchOptions(weight=gaussian, steps=[GaussianNoiseOptions(sigma=sigma, gray_prob=gray)]),
            BranchOptions(weight=1 - gaussian, steps=[PoissonNoiseOptions(scale=scale, gray_prob=gray)]),
        ]
    )
