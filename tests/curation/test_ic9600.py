"""The network of IC9600 with random weights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from paragonsr.curation.scores.icnet import ICNet
from paragonsr.curation.scores.optional import open_scorer
from paragonsr.errors import UserError


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random tensors named as in the published file, including those of the map's head."""
    torch.manual_seed(0)
    tensors = dict(ICNet().state_dict())
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        if name.startswith("head") and name.endswith("weight"):
            tensor.mul_(8)
    return tensors | {"to_map.to_map.0.weight": torch.zeros(1, 512, 1, 1), "to_map_f.bn.bias": torch.zeros(512)}


@pytest.fixture(scope="module")
def weights(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ic9600") / "ck.pth"
    torch.save(state, path)
    return path


def image(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_tensors_are_named_and_shaped_as_published() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in ICNet().state_dict().items()}
    published = {
        "b1_1.0.weight": (64, 3, 7, 7),
        "b1_1.1.running_var": (64,),
        "b1_1.4.0.conv1.weight": (64, 64, 3, 3),
        "b1_1_slam.linear.0.weight": (512, 1024),
        "b1_1_slam.linear.2.weight": (1, 512),
        "b1_2.0.downsample.0.weight": (128, 64, 1, 1),
        "b1_2.0.downsample.1.bias": (128,),
        "b2_3.1.conv2.weight": (256, 256, 3, 3),
        "b2_3_slam.linear.0.weight": (512, 256),
        "b2_4.0.conv1.weight": (512, 256, 3, 3),
        "b2_4_slam.linear.0.weight": (512, 64),
        "up1.conv.weight": (256, 128, 1, 1),
        "up2.conv.bias": (256,),
        "to_score_f.conv.weight": (512, 512, 3, 3),
        "to_score_f.bn.weight": (512,),
        "to_score_f_slam.linear.0.bias": (512,),
        "head.0.weight": (512, 512),
        "head.2.weight": (1, 512),
    }
    assert {name: shapes.get(name) for name in published} == published
    assert not [name for name in shapes if name.startswith(("b1_1.4.0.downsample", "b2_1.4.1.downsample"))]
    # Two trunks of ResNet-18, without their classifiers and without the last two layers of one.
    assert sum(name.endswith("conv1.weight") for name in shapes) == 8 + 4


def test_shape_and_range(state: dict[str, Tensor]) -> None:
    network = ICNet().eval()
    network.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("to_map")})
    with torch.inference_mode():
        scores = network(torch.randn(2, 3, 512, 512))
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores < 1)).all()


def test_scores_are_repeatable_and_differ(weights: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    scorer = open_scorer("ic9600", weights)
    first, other = scorer(image(1, 512, 512)), scorer(np.full((300, 401, 3), 90, np.uint8))
    assert 0 < first < 1
    assert first != other, "the score must depend on the image"
    save_file(state, tmp_path / "ck.safetensors")
    assert open_scorer("ic9600", tmp_path / "ck.safetensors")(image(1, 512, 512)) == first


def test_weights_are_asked_for() -> None:
    with pytest.raises(UserError, match="needs its weights") as caught:
        open_scorer("ic9600", None)
    assert "ic9600=ck.pth" in caught.value.fix


def test_others_take_none(weights: Path) -> None:
    with pytest.raises(UserError, match="does not accept a weights file"):
        open_scorer("nima", weights)


def test_weights_of_something_else(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pth"
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    greeting = tmp_path / "greeting.pth"
    greeting.write_text("hi\n")  # the pickle reader interprets it as instructions
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    other = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3)}, other)
    listed = tmp_path / "list.pth"
    torch.save([1, 2], listed)
    for path in (absent, text, greeting, empty, other, listed):
        with pytest.raises(UserError) as caught:
            open_scorer("ic9600", path)
        assert caught.value.where == str(path)


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="are not readable weights"):
        open_scorer("ic9600", tmp_path / "trap.pth")
    assert not (tmp_path / "executed").exists()


def test_torch_is_imported_only_by_those_who_need_it() -> None:
    scores = "from paragonsr.curation.scores import hashing, optional, registry"
    code = f"import sys; {scores}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
