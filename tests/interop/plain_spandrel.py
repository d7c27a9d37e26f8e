"""Loads weights with spandrel alone and upscales images, as chaiNNer and others do; run as a process of its own.

python plain_spandrel.py WEIGHTS IMAGES.npz OUT.npz
"""

import sys

import numpy as np
import torch

# torchvision's wheels lack these with a CPU build of torch; spandrel needs torchvision, but not these.
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import spandrel  # noqa: E402

weights, images, out = sys.argv[1:]
model = spandrel.ModelLoader(device="cpu").load_from_file(weights)
assert isinstance(model, spandrel.ImageModelDescriptor)
results = {}
for name, image in np.load(images).items():
    with torch.no_grad():
        results[name] = model(torch.from_numpy(image)).numpy()
assert not any(module.partition(".")[0] == "paragonsr" for module in sys.modules)
np.savez(out, **results)
print(model.architecture.id, model.scale, model.supports_half)
