"""ONNX files as networks: any size, one size only, half precision, and files that are not networks."""

from pathlib import Path

import numpy as np
import pytest

import paragonsr
from paragonsr.errors import UserError
from paragonsr.inference.folder import plan, upscale_files
from paragonsr.inference.picture import Picture
from paragonsr.serve.models import Models

onnx = pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")


def _graph(path: Path, shape: list[object], factors: list[float], half: bool = False) -> Path:
    """A network that repeats pixels: `factors` times along each axis."""
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    helper = onnx.helper
    scales = helper.make_tensor("scales", onnx.TensorProto.FLOAT, [4], factors)
    node = helper.make_node(
        "Resize", ["x", "", "scales"], ["y"], mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "repeat",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, [None, None, None, None])],
        [scales],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def _image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "half"),
    [(["n", 3, "h", "w"], False), (["n", 3, "h", "w"], True), ([1, 3, None, None], False), ([1, 3, 96, 80], False)],
)
def test_every_size_goes_through_every_kind_of_file(tmp_path: Path, shape: list[object], half: bool) -> None:
    upscaler = paragonsr.load(_graph(tmp_path / "m.onnx", shape, [1, 1, 3, 3], half))
    assert upscaler.scale == 3
    for height, width in ((1, 1), (96, 80), (37, 53), (130, 90)):
        image = _image(height, width)
        np.testing.assert_array_equal(upscaler.upscale(image), image.repeat(3, 0).repeat(3, 1))
    batch = np.stack([_image(9, 7), _image(9, 7)[::-1]])
    np.testing.assert_array_equal(upscaler.upscale_batch(batch), batch.repeat(3, 1).repeat(3, 2))


def test_files_are_upscaled_and_served_by_it(tmp_path: Path) -> None:
    model = _graph(tmp_path / "m.onnx", ["n", 3, "h", "w"], [1, 1, 2, 2])
    assert "m.onnx" in Models(tmp_path).names()
    image = _image(40, 30)
    assert (Models(tmp_path).get("m.onnx").upscale(image) == image.repeat(2, 0).repeat(2, 1)).all()
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "in.png")
    upscale_files(paragonsr.load(model), plan(tmp_path / "in.png", tmp_path / "out.png"))
    assert (Picture.open(tmp_path / "out.png").pixels == image.repeat(2, 0).repeat(2, 1)).all()


def test_what_is_no_upscaler_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("unknown model")
    wide = _graph(tmp_path / "wide.onnx", ["n", 3, "h", "w"], [1, 1, 2, 3])
    tiny = _graph(tmp_path / "tiny.onnx", [1, 3, 32, 32], [1, 1, 2, 2])
    grey = _graph(tmp_path / "grey.onnx", ["n", 1, "h", "w"], [1, 1, 2, 2])
    good = _graph(tmp_path / "good.onnx", ["n", 3, "h", "w"], [1, 1, 2, 2])
    broken = onnx.load(good)
    broken.metadata_props.add(key="paragonsr", value="{")
    onnx.save(broken, tmp_path / "broken.onnx")
    for path, options, said in (
        (tmp_path / "text.onnx", {}, "is not an ONNX model"),
        (tmp_path / "none.onnx", {}, "does not exist"),
        (tmp_path / "broken.onnx", {}, "paragonsr metadata that cannot be read"),
        (wide, {}, "not an integer scale"),
        (grey, {}, "is not an upscaler"),
        (good, {"scale": 4}, "has scale 2, not 4"),
        (good, {"arch": "paragonsr2_nano"}, "whole network"),
        (good, {"precision": "bf16"}, "its own precision"),
    ):
        with pytest.raises(UserError, match=said):
            paragonsr.load(path, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="too small for tiles"):
        paragonsr.load(tiny).upscale(_image(8, 8))
