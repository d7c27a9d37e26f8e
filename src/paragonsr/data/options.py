"""Options of `datasets.<phase>`: where the images are and how samples are cut from them."""

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from paragonsr.degradation.options import DegradationOptions
from paragonsr.options import PathText, Variant
from paragonsr.registry import Registry

if TYPE_CHECKING:
    import torch

    from paragonsr.data.decoding import Progress
    from paragonsr.data.packed import PackedDataset
    from paragonsr.data.sampling import Sampler

OF_HR = re.compile(r"[./\\]*|(hr|gt|original|images)(_?x?\d+x?)?|\d+", re.IGNORECASE)
"""Folder names that describe the kind of images (HR, x2, ...) rather than the set."""

Folders = PathText | Annotated[list[PathText], Field(min_length=1)]
"""One folder or several; several folders form one set, in the order given."""


class DatasetOptions(Variant):
    """Keys that all kinds of image set share."""

    registry: ClassVar[Registry[type["DatasetOptions"]]] = Registry("paragonsr.data")

    name: str = ""
    """Name of the set; by default the name of its HR folder, or of the parent if that folder is called `HR`."""
    dataroot_gt: Folders
    """Folder or folders of HR images, searched recursively. A manifest written by `paragonsr data select` (`.jsonl`)
    stands for the selected images of its folder."""
    lq_size: int | None = Field(None, ge=1)
    """Side of a training patch in LR pixels; set this or gt_size."""
    gt_size: int | None = Field(None, ge=1)
    """Side of a training patch in HR pixels, a multiple of the scale; set this or lq_size."""
    batch_size_per_gpu: int | None = Field(None, ge=1)
    """Samples that one process passes through the network at once; required for training."""
    accum_iter: int = Field(1, ge=1)
    """Micro-batches accumulated for one optimisation step."""
    use_hflip: bool = True
    """Flip half of the samples horizontally."""
    use_rot: bool = True
    """Flip half of the samples vertically, and rotate half of them by 90 degrees."""
    sample_weight: str | None = None
    """Score in every manifest of dataroot_gt, for example `complexity`, used as sampling weight: how often an image is
    shown is proportional to its score. By default, each epoch shows every image once."""
    num_worker_per_gpu: int = Field(2, ge=0)
    """Threads that prepare the next batches while the network trains; 0 prepares each batch when it is needed."""
    prefetch_factor: int = Field(2, ge=1)
    """Number of batches that each of these threads may prepare ahead."""
    store_root: PathText | None = None
    """Folder for the packed images; default $PARAGONSR_CACHE, else ~/.cache/paragonsr/packed."""

    def title(self, phase: str) -> str:
        """Name of the set where its values are shown."""
        first = self.dataroot_gt if isinstance(self.dataroot_gt, str) else self.dataroot_gt[0]
        named = [part for part in Path(first).with_suffix("").parts if not OF_HR.fullmatch(part)]
        return self.name or (named[-1] if named else phase)

    target = "paragonsr.data.packed:open_packed"
    sampler_target: ClassVar[str] = "paragonsr.data.sampling:Sampler"
    """Factory of the training sampler, called as callable(packed, options, scale, seed)."""

    def open(self, scale: int, phase: str, progress: "Progress | None" = None) -> "PackedDataset":
        """Open the images of the set, packing them first if needed; see paragonsr.data.packed.open_packed."""
        packed: PackedDataset = self.build(scale=scale, phase=phase, progress=progress)
        return packed

    def sampler(
        self, packed: "PackedDataset", scale: int, seed: int, device: "torch.device | None" = None
    ) -> "Sampler":
        """Build the sampler of training patches: a pure function of (seed, sample index), and of the kind of device.

        Args:
            packed: the images.
            scale: HR side / LR side.
            seed: together with the sample index, determines all randomness.
            device: the one that trains, which takes part in the degradation if the options say so; None is the CPU.

        Raises:
            UserError: the degradation cannot be computed on the device.
        """
        module, _, attribute = self.sampler_target.partition(":")
        sampler: Sampler = getattr(importlib.import_module(module), attribute)(packed, self, scale, seed)
        if device is not None and self.degrades_on_device:
            sampler.degrade_on(device)
        return sampler

    @model_validator(mode="before")
    @classmethod
    def _has_hr_images(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("dataroot_lq") and not given.get("dataroot_gt"):
            raise ValueError(
                "has only LR images, which are not enough to train or measure; add dataroot_gt, or remove this set "
                "and use paragonsr upscale"
            )
        return given

    @model_validator(mode="after")
    def _one_size(self) -> "DatasetOptions":
        if self.lq_size is not None and self.gt_size is not None:
            raise ValueError("lq_size and gt_size have the same meaning; keep one of them")
        return self

    @model_validator(mode="after")
    def _weights_stand_in_manifests(self) -> "DatasetOptions":
        if self.sample_weight is not None and not all(root.lower().endswith(".jsonl") for root in self.hr_roots):
            raise ValueError("sample_weight needs manifests (.jsonl) in dataroot_gt, which contain the scores")
        return self

    def degrades(self) -> DegradationOptions | None:
        """Degradation that makes LR images from HR images; None if they are files or made by the bicubic resize."""
        return None

    @property
    def degrades_on_device(self) -> bool:
        """Whether the device that trains takes part in the degradation of training patches."""
        return False

    @property
    def hr_roots(self) -> list[str]:
        """HR folders."""
        return _as_list(self.dataroot_gt)

    @property
    def lq_roots(self) -> list[str] | None:
        """LR folders, one per HR folder; None if LR images are made from HR images."""
        return None

    def lq_patch(self, scale: int) -> int | None:
        """Side of a training patch in LR pixels; None if not configured.

        Raises:
            ValueError: gt_size is not a multiple of the scale.
        """
        if self.gt_size is None:
            return self.lq_size
        if self.gt_size % scale:
            raise ValueError(
                f"gt_size {self.gt_size} is not a multiple of the scale {scale}; "
                f"the nearest below is {self.gt_size // scale * scale}"
            )
        return self.gt_size // scale


class SingleOptions(DatasetOptions):
    """HR images only; each LR image is made from the whole HR image by the MATLAB-exact bicubic resize, or by a
    `degradation`."""

    type: Literal["singleimagedataset"] = "singleimagedataset"
    aliases = ("singlegtdataset",)
    degradation: DegradationOptions | None = None
    """Makes the LR images instead: for each training patch during training, for each validation image once."""
    degradation_device: Literal["cpu", "training"] = "cpu"
    """Where blur, resize, and Gaussian and Poisson noise of training patches are computed: on the CPU, or on the device
    that trains. For a GPU that waits for data; codecs and other steps stay on the CPU. The noise is other noise."""

    @model_validator(mode="after")
    def _device_for_a_degradation(self) -> "SingleOptions":
        if self.degradation_device == "training" and self.degradation is None:
            raise ValueError("degradation_device is for a degradation, but there is none; add one, or remove the key")
        return self

    def degrades(self) -> DegradationOptions | None:
        """The configured degradation."""
        return self.degradation

    @property
    def degrades_on_device(self) -> bool:
        """Whether the device that trains takes part."""
        return self.degradation_device == "training"


class PairedOptions(DatasetOptions):
    """HR and LR images in two folders, matched by name; the size of an LR image is exactly HR // scale."""

    type: Literal["pairedimagedataset"] = "pairedimagedataset"
    dataroot_lq: Folders
    """Folder or folders of LR images, as many as HR folders. With a manifest, the folder may contain other images."""
    filename_tmpl: str = Field("{}", pattern=r"^[^{}/\\]*\{\}[^{}/\\]*$")
    """Name of an LR image without extension, where `{}` is that of the HR image: `{}x2` for DIV2K."""

    @model_validator(mode="after")
    def _as_many_folders(self) -> "PairedOptions":
        hr, lr = len(self.hr_roots), len(_as_list(self.dataroot_lq))
        if hr != lr:
            raise ValueError(f"dataroot_gt names {hr} folders and dataroot_lq {lr}; each HR folder needs its LR folder")
        return self

    @property
    def lq_roots(self) -> list[str] | None:
        return _as_list(self.dataroot_lq)


def _as_list(folders: Folders) -> list[str]:
    return [folders] if isinstance(folders, str) else folders


_PACKED = "images are packed once and memory-mapped"
_DEGRADED = "degradation while training was off"

IGNORED_KEYS: dict[str, str] = {
    "io_backend": _PACKED,
    "pin_memory": "batches for a GPU are always pinned",
    "prefetch_mode": "num_worker_per_gpu threads always read ahead",
    "num_prefetch_queue": "prefetch_factor says how far",
    "persistent_workers": "the threads live as long as the run",
    "dataset_enlarge_ratio": "sampling has no epochs to lengthen",
    "use_shuffle": "training always shuffles, validation never does",
    "clip_size": "there is no video",
    "phase": "the section's key says it",
    "scale": "it is set once, at the top",
    "gt_usm": "HR images are never sharpened",
} | dict.fromkeys(
    (
        *(f"{key}{stage}" for key in ("blur_kernel_size", "kernel_list", "kernel_prob") for stage in ("", "2")),
        *(f"{key}{stage}" for key in ("kernel_range", "sinc_prob", "blur_sigma") for stage in ("", "2")),
        *(f"{key}{stage}" for key in ("betag_range", "betap_range", "betag", "betap") for stage in ("", "2")),
        "final_sinc_prob",
        "final_kernel_range",
    ),
    _DEGRADED,
)
"""Keys of traiNNer-redux and BasicSR that are ignored, and why."""
