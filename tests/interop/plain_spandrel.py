"""Loads weights with spandrel alone and upscales images, as chaiNNer and others do; run as a process of its own.

python plain_spandrel.py WEIGHTS IMAGES.npz OUT.npz
"""

import sys

import numpy as np
import torch

# torchvision's CUDA wheels lack these beside a CPU build of torch; spandrel needs torchvision, but not these. A wheel
# that fits registers them itself, and a second registration ends the process.
try:
    import torchvision  # noqa: F401
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import spandrel

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
