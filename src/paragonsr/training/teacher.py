"""Distillation: a teacher network's output on the training images is packed once, before the first step."""

import hashlib
import json
from functools import partial

from paragonsr.config import Config
from paragonsr.data.decoding import Progress
from paragonsr.data.packed import PackedDataset, store_root
from paragonsr.data.teacher import Upscale, open_targets
from paragonsr.errors import UserError
from paragonsr.inference.model import load
from paragonsr.models import located
from paragonsr.training.engine.device_context import DeviceContext


def attach_teacher(config: Config, packed: PackedDataset, device_context: DeviceContext, progress: Progress) -> None:
    """Add the configured teacher's output to the training set; does nothing without a teacher.

    Raises:
        UserError: the weights cannot be read, or are for another scale.
    """
    if config.path.pretrain_network_g_teacher is None:
        return
    targets = open_targets(
        store_root(config.train_set),
        packed,
        _digest(config),
        config.train.teacher_share,
        partial(_load, config, device_context),
        progress,
    )
    packed.learn_from(targets)


def _load(config: Config, device_context: DeviceContext) -> Upscale:
    """Load the teacher onto the device; returns its upscaling function.

    Raises:
        UserError: as in `attach_teacher`.
    """
    path, options = config.path.pretrain_network_g_teacher, config.network_g_teacher
    assert path is not None
    given = {} if options is None else {"arch": options.tag(), **options.given()}
    teacher = load(path, device=device_context.device, ensemble=config.train.teacher_ensemble, **given)
    if teacher.scale != config.scale:
        raise UserError(
            f"this teacher has scale {teacher.scale}, not {config.scale}",
            where=path,
            fix="Give the weights of a network for the same scale.",
        )
    return teacher.upscale


def _digest(config: Config) -> str:
    """Hash of everything but the LR images that the teacher's output depends on."""
    assert config.path.pretrain_network_g_teacher is not None
    path = located(config.path.pretrain_network_g_teacher)
    if not path.is_file():
        raise UserError(
            "this weights file does not exist", where=str(path), fix="Check path.pretrain_network_g_teacher."
        )
    options = config.network_g_teacher
    rest = [config.train.teacher_ensemble, None if options is None else [options.tag(), options.given()]]
    return hashlib.sha256(path.read_bytes() + json.dumps(rest).encode()).hexdigest()
