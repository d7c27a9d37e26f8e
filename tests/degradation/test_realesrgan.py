"""The two stages of Real-ESRGAN as steps."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from paragonsr.degradation.blur import BlurOptions
from paragonsr.degradation.choice import OneOfOptions
from paragonsr.degradation.image_codecs import JPEGOptions
from paragonsr.degradation.realesrgan import RealESRGANOptions
from paragonsr.degradation.resize import ResizeOptions


def test_the_defaults_are_those_of_real_esrgan() -> None:
    steps = RealESRGANOptions().steps()
    assert [step.type for step in steps] == [
        *("blur", "resize", "one_of", "jpeg"),
        *("blur", "resize", "one_of", "one_of"),
    ]
    blur, resize, noise, jpeg, second, relative, _, last = steps
    assert isinstance(blur, BlurOptions)
    assert blur.kernels["sinc"] == 0.1
    assert blur.kernels["iso"] == pytest.approx(0.9 * 0.45)
    assert (blur.prob, blur.size, blur.sigma) == (1.0, [7, 21], [0.2, 3.0])
    assert isinstance(resize, ResizeOptions)
    assert (resize.factor, resize.relative_to) == ([0.15, 1.5], "image")
    assert isinstance(noise, OneOfOptions)
    assert [branch.steps[0].type for branch in noise.branches] == ["gaussian_noise", "poisson_noise"]
    assert isinstance(jpeg, JPEGOptions)
    assert jpeg.quality == [30, 95]
    assert second.prob == 0.8
    assert isinstance(relative, ResizeOptions)
    assert (relative.factor, relative.relative_to) == ([0.3, 1.2], "lr")
    assert isinstance(last, OneOfOptions)
    orders = [[step.type for step in branch.steps] for branch in last.branches]
    assert orders == [["to_lr", "blur", "jpeg"], ["jpeg", "to_lr", "blur"]]
    assert last.branches[0].steps[1].prob == 0.8


def test_the_keys_of_redux_change_the_steps() -> None:
    options = RealESRGANOptions(
        lq_usm=True,
        thicklines_prob=0.5,
        blur_prob=0,
        blur_prob2=0.25,
        blur_kernel_size2=12,
        kernel_list2=["iso"],
        kernel_prob2=[0.3],
        sinc_prob2=0,
        resize_mode_list=["nearest-exact", "lanczos"],
        resize_mode_prob=[0.25, 0.75],
        jpeg_prob=0,
        gaussian_noise_prob=1.0,
    )
    sharpen, lines, resize, noise, blur, *_ = options.steps()
    assert (sharpen.type, lines.type, lines.prob) == ("sharpen", "thick_lines", 0.5)
    assert isinstance(resize, ResizeOptions)
    assert resize.filters == {"nearest": 0.25, "lanczos": 0.75}
    assert isinstance(noise, OneOfOptions)
    assert [branch.weight for branch in noise.branches] == [1.0, 0.0]
    assert isinstance(blur, BlurOptions)
    assert blur.prob == 0.25
    assert blur.kernels == {"sinc": 0, "iso": 1.0}
    assert blur.size == [7, 11]


def test_it_is_the_same_as_its_steps() -> None:
    from paragonsr.degradation.pipeline import PipelineOptions

    hr = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    short = RealESRGANOptions()
    long = PipelineOptions.model_validate({"type": "pipeline", "steps": [s.model_dump() for s in short.steps()]})
    one, other = (options.build(scale=4, seed=1) for options in (short, long))
    for sample in range(5):
        np.testing.assert_array_equal(one.degrade(hr, sample), other.degrade(hr, sample))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kernel_prob": [0.5, 0.5]}, "has 2 numbers for 6 names"),
        ({"resize_prob": [0, 0, 0]}, "needs at least one number above 0"),
        ({"kernel_range": [4, 8]}, "should be two odd whole numbers"),
        ({"jpeg_range": [0, 95]}, "should be between 1 and 100"),
        ({"final_sinc_prob": 1.5}, "less than or equal to 1"),
    ],
)
def test_impossible_values_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RealESRGANOptions.model_validate({"type": "realesrgan"} | given)
