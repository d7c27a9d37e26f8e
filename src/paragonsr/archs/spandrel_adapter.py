"""Adapter for every super-resolution network that spandrel knows, so that it is trained and used like ours.

spandrel builds networks from weights alone: it derives the constructor arguments from the tensors. Here the constructor
is called with the user's arguments, and spandrel then loads the resulting tensors. That gives what only its descriptor
knows (scale, channels, supported sizes) and proves that programs using spandrel can load the trained network; if they
would compute something else, a warning says so at once.
"""

import functools
import importlib
import inspect
import logging
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from paragonsr.archs.recognise import State, few, shapes
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.errors import UserError

SCALE_ARGUMENTS = ("upscale", "scale", "upscaling_factor", "upscale_factor", "up_scale")
"""Names of the scale in constructors."""
CHANNEL_ARGUMENTS = ("num_in_ch", "num_out_ch")
"""Arguments for which some constructors have no default; 3 (RGB) is used."""
PROBE = 32
"""Side of the image on which our network and spandrel's are compared, in LR pixels."""

log = logging.getLogger(__name__)
_torchvision: list[torch.library.Library] = []


def import_spandrel() -> Any:
    """Import spandrel.

    It imports torchvision, whose wheels are built for CUDA and lack two operators when used with a CPU build of torch.
    spandrel's networks do not need them, so in that case their schemas are declared to make the import succeed.

    Raises:
        UserError: spandrel is not installed.
    """
    missing = [package for package in ("spandrel", "torchvision") if find_spec(package) is None]
    if missing:
        raise UserError(f"this needs {' and '.join(missing)}", fix="pip install 'paragonsr[spandrel]'")
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _torchvision.append(library)  # its declarations end when it is deleted
    spandrel = importlib.import_module("spandrel")
    if find_spec("spandrel_extra_arches") is not None:  # networks with restrictive licences: SRFormer, ...
        importlib.import_module("spandrel_extra_arches").install(ignore_duplicates=True)
    return spandrel


@functools.cache
def networks() -> dict[str, tuple[type[nn.Module], Any]]:
    """Every network class that spandrel can build, with its architecture, by name.

    Raises:
        UserError: spandrel is not installed.
    """
    found: dict[str, tuple[type[nn.Module], Any]] = {}
    for support in import_spandrel().MAIN_REGISTRY:
        module = inspect.getmodule(type(support.architecture))
        for name in getattr(module, "__all__", ()):
            kind = getattr(module, name)
            # Each of spandrel's network classes records its constructor arguments.
            if inspect.isclass(kind) and issubclass(kind, nn.Module) and hasattr(kind, "hyperparameters"):
                found[name] = kind, support.architecture
    return found


class SpandrelNetwork(nn.Module):
    """Network from spandrel that works like ours: any image size, and the tensor names of its own project.

    As in spandrel, images are padded by reflection to a size that the network supports, and the result is cropped.

    Args:
        options: name of the network, and its arguments.
        scale: HR side / LR side.

    Attributes:
        options, scale: as given.
        receptive_field: None, because it is not known.
        grid: the origin of a tile, in LR pixels, must be a multiple of this.

    Raises:
        UserError: spandrel has no such network, the network has no such argument, or it is not for RGB at this scale.
    """

    def __init__(self, options: SpandrelOptions, scale: int) -> None:
        super().__init__()
        name, kind, architecture = _find(options.network)
        self.options, self.scale = options, scale
        spelling = OTHER_ARGUMENTS.get(name, {})
        given = {spelling.get(key, key): value for key, value in options.arguments.items()}
        self.network = _construct(name, kind, given, scale)
        descriptor = _described(name, architecture, self.network)
        facts = (descriptor.scale, descriptor.input_channels, descriptor.output_channels)
        if facts != (scale, 3, 3):
            raise UserError(
                f"{name} with these arguments has scale {facts[0]}, from {facts[1]} channels to {facts[2]}; "
                f"wanted is scale {scale} in RGB",
                where="network_g",
                fix=f"It takes {', '.join(_parameters(kind))}.",
            )
        size = descriptor.size_requirements
        self.minimum, self.grid, self.square = size.minimum, size.multiple_of, size.square
        self.receptive_field: int | None = None
        self.register_state_dict_post_hook(_outward)
        self.register_load_state_dict_pre_hook(_inward)
        self._compare(name, descriptor.model)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, scale H, scale W), not clamped."""
        if torch.is_inference_mode_enabled():
            # Some networks (SPAN) replace parameters during inference, which could then not be trained any more.
            with torch.inference_mode(False), torch.no_grad():
                return self._forward(x.clone())
        return self._forward(x)

    def freeze(self) -> None:
        """Precompute what some networks recompute at every inference (SPAN merges its convolutions), for export."""
        self.eval()(torch.zeros(1, 3, PROBE, PROBE))
        for module in self.network.modules():
            if hasattr(module, "update_params"):
                setattr(module, "update_params", _keep)  # noqa: B010 - a method, which no type of torch allows

    def _forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.minimum or self.grid > 1 or self.square:
            x = x.index_select(-2, self._places(height, width, x)).index_select(-1, self._places(width, height, x))
        upscaled: Tensor = self.network(x)
        return upscaled[..., : height * self.scale, : width * self.scale]

    def _places(self, size: int, other: int, like: Tensor) -> Tensor:
        """Source pixel of each position on the padded axis: reflected once, then the last one repeated."""
        size_wanted = torch.sym_max(size, other) if self.square else size
        wanted = torch.sym_max(size_wanted, self.minimum)
        place = torch.arange((wanted + self.grid - 1) // self.grid * self.grid, device=like.device)
        return torch.where(place < size, place, (2 * (size - 1) - place).clamp(min=0))

    @torch.no_grad()
    def _compare(self, name: str, theirs: nn.Module) -> None:
        """Warn if spandrel, given only the weights, builds a network that computes something else."""
        training = self.training
        image = torch.rand(1, 3, PROBE, PROBE, generator=torch.Generator().manual_seed(0))
        try:
            ours = self.eval()(image)
        except Exception as error:  # as with the constructor
            raise _unfit(name, error) from error
        if ours.shape[-2:] != (PROBE * self.scale, PROBE * self.scale):
            raise UserError(
                f"{name} is not a network from one image to one image of {self.scale} times its size", where="network_g"
            )
        own = self.network
        self.network = theirs.eval()
        same = torch.equal(ours, self(image))
        self.network = own
        self.train(training)
        if not same:
            log.warning(
                "%s: programs that use spandrel cannot derive all of these arguments from the weights, and will "
                "compute something else with them",
                name,
            )


def detect(where: str, state: State) -> tuple[dict[str, Any], State]:
    """Let spandrel detect the network: `network`, `arguments` and `scale`, and the tensors under spandrel's names.

    Raises:
        UserError: spandrel recognises no network, or is not installed.
    """
    unknown = UserError(
        f"unknown network: these are not weights of a published network ({few(shapes(state))})",
        where=where,
        fix="Name the network: arch, scale, and the options it was trained with.",
    )
    if find_spec("spandrel") is None:
        unknown.fix = f"{unknown.fix}; for networks of other projects: pip install 'paragonsr[spandrel]'"
        raise unknown
    spandrel = import_spandrel()
    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(dict(state))
    except Exception as error:  # a detector that misjudges the tensors may raise anything
        raise unknown from error
    model = descriptor.model
    name = next((name for name, (kind, _) in networks().items() if kind is type(model)), None)
    if name is None:
        raise unknown
    default = _parameters(type(model))
    arguments = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in model.hyperparameters.items()
        if key not in SCALE_ARGUMENTS and key in default and value != default[key].default
    }
    return {"network": name, "arguments": arguments, "scale": descriptor.scale}, model.state_dict()


OTHER_NAMES = {"rrdbnet": "ESRGAN", "rrdb": "ESRGAN", "srvggnetcompact": "Compact", "srvggnet": "Compact"}
"""Names of BasicSR and Real-ESRGAN, in lower case -> spandrel's."""
IN_EXTRA = ("srformer",)
"""Networks of the package spandrel_extra_arches, in lower case, that configurations name."""

OTHER_ARGUMENTS = {
    "ESRGAN": {"num_in_ch": "in_nc", "num_out_ch": "out_nc", "num_feat": "num_filters", "num_block": "num_blocks"}
}
"""Network -> arguments of BasicSR's constructor -> spandrel's."""


def known_as(name: str) -> str | None:
    """Name of a network in spandrel; None if spandrel does not have it."""
    wanted = OTHER_NAMES.get(name.lower(), name).lower()
    return next((known for known in networks() if known.lower() == wanted), None)


def _find(wanted: str) -> tuple[str, type[nn.Module], Any]:
    name = known_as(wanted)
    if name is not None:
        return name, *networks()[name]
    if wanted.lower() in IN_EXTRA:
        raise UserError(
            f"{wanted} is in spandrel_extra_arches, networks with licences that forbid commercial use",
            where="network_g.network",
            fix="pip install spandrel_extra_arches",
        )
    raise UserError(
        f"unknown network for spandrel: {wanted}",
        where="network_g.network",
        fix=f"Choose one of {', '.join(networks())}.",
    )


def _parameters(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """Arguments of a constructor, without self."""
    return dict(list(inspect.signature(kind.__init__).parameters.items())[1:])


def _construct(name: str, kind: type[nn.Module], given: dict[str, Any], scale: int) -> nn.Module:
    known = _parameters(kind)
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    unknown = [key for key in given if key not in known and not free]
    if unknown:
        raise UserError(
            f"{name} has no argument {', '.join(unknown)}",
            where="network_g.arguments",
            fix=f"It takes {', '.join(known)}.",
        )
    arguments = {key: 3 for key in CHANNEL_ARGUMENTS if key in known}
    arguments |= {key: scale for key in SCALE_ARGUMENTS if key in known}
    try:
        return kind(**(arguments | given))
    except Exception as error:  # a constructor of another project may raise anything on invalid values
        raise _unfit(name, error) from error


def _unfit(name: str, error: Exception) -> UserError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"{name} does not work with these arguments: {said}",
        where="network_g.arguments",
        fix=f"Its constructor accepts: {', '.join(_parameters(networks()[name][0]))}.",
    )


def _described(name: str, architecture: Any, network: nn.Module) -> Any:
    """spandrel's descriptor of a network, from its tensors."""
    try:
        return architecture.load({key: tensor.detach().clone() for key, tensor in network.state_dict().items()})
    except Exception as error:
        raise UserError(
            f"spandrel, and programs that use it, cannot load a {name} with these arguments: {error}",
            where="network_g.arguments",
            fix="Remove the arguments that differ from the defaults.",
        ) from error


def _keep() -> None:
    """No-op that replaces a method which would change parameters."""


def _outward(module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """Remove the wrapper's prefix from the names of the tensors."""
    for key in [key for key in state if key.startswith(f"{prefix}network.")]:
        state[prefix + key.removeprefix(f"{prefix}network.")] = state.pop(key)


def _inward(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}network." + key.removeprefix(prefix)] = state.pop(key)
