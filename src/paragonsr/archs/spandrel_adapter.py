"""Any super-resolution network that spandrel knows, trained and used like ours.

spandrel builds networks from weights alone: it reads the arguments of a constructor off the tensors. Here the
constructor is called with the user's arguments, and spandrel is then shown the tensors of the result. That tells what
only its descriptor knows - scale, channels, sizes that the network takes - and proves that programs which use spandrel
will load what is trained; where they would compute something else, it is said at once.
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
"""What constructors call the scale."""
CHANNEL_ARGUMENTS = ("num_in_ch", "num_out_ch")
"""Arguments that some constructors have no default for; here it is 3, RGB."""
PROBE = 32
"""Side of the image on which our network and spandrel's are compared, LR pixels."""

log = logging.getLogger(__name__)
_torchvision: list[torch.library.Library] = []


def import_spandrel() -> Any:
    """The package spandrel.

    It imports torchvision, whose wheels are built for CUDA and miss two operators beside a torch for CPUs. Nothing that
    spandrel's networks compute needs them, so then their schemas are declared, for the import to succeed.

    Raises:
        UserError: it is not installed.
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
        _torchvision.append(library)  # what it declares ends with it
    spandrel = importlib.import_module("spandrel")
    if find_spec("spandrel_extra_arches") is not None:  # networks whose licences restrict their use: SRFormer, ...
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
            # Each of spandrel's network classes keeps the arguments that it was called with.
            if inspect.isclass(kind) and issubclass(kind, nn.Module) and hasattr(kind, "hyperparameters"):
                found[name] = kind, support.architecture
    return found


class SpandrelNetwork(nn.Module):
    """A network of spandrel's with the manners of ours: any image size, and tensors called as its project calls them.

    Images are extended by reflection to the sizes that the network takes, as spandrel does, and the result is cut.

    Args:
        options: which network, and its arguments.
        scale: HR side / LR side.

    Attributes:
        options, scale: as given.
        receptive_field: None, for it is not known.
        grid: LR pixels that the origin of a tile must be a multiple of.

    Raises:
        UserError: spandrel has no such network, it takes no such argument, or it is not one for RGB at this scale.
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
            # Some networks rewrite parameters when they infer (SPAN), and such parameters could not be trained again.
            with torch.inference_mode(False), torch.no_grad():
                return self._forward(x.clone())
        return self._forward(x)

    def freeze(self) -> None:
        """Compute once what some networks rewrite at every inference (SPAN merges its convolutions): for a graph."""
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
        """Which pixel of an axis stands at each place of the extended axis: reflected once, then the last repeated."""
        size_wanted = torch.sym_max(size, other) if self.square else size
        wanted = torch.sym_max(size_wanted, self.minimum)
        place = torch.arange((wanted + self.grid - 1) // self.grid * self.grid, device=like.device)
        return torch.where(place < size, place, (2 * (size - 1) - place).clamp(min=0))

    @torch.no_grad()
    def _compare(self, name: str, theirs: nn.Module) -> None:
        """Say so where spandrel, given the weights alone, builds a network that computes something else."""
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
                "%s: programs that use spandrel cannot tell all of these arguments from the weights, and compute "
                "something else with them",
                name,
            )


def detect(where: str, state: State) -> tuple[dict[str, Any], State]:
    """The network that spandrel finds in tensors: `network`, `arguments` and `scale`, and the tensors by its names.

    Raises:
        UserError: it finds none, or is not installed.
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
    except Exception as error:  # a detector that was wrong about the tensors fails in a way of its own
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


OTHER_ARGUMENTS = {
    "ESRGAN": {"num_in_ch": "in_nc", "num_out_ch": "out_nc", "num_feat": "num_filters", "num_block": "num_blocks"}
}
"""Network -> arguments of BasicSR's constructor -> spandrel's."""


def known_as(name: str) -> str | None:
    """The name by which spandrel has a network; None if it has none."""
    wanted = OTHER_NAMES.get(name.lower(), name).lower()
    return next((known for known in networks() if known.lower() == wanted), None)


def _find(wanted: str) -> tuple[str, type[nn.Module], Any]:
    name = known_as(wanted)
    if name is not None:
        return name, *networks()[name]
    raise UserError(
        f"unknown network for spandrel: {wanted}",
        where="network_g.network",
        fix=f"Choose one of {', '.join(networks())}.",
    )


def _parameters(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """The arguments of a constructor, without self."""
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
    except Exception as error:  # what a constructor of another project raises on wrong values is open
        raise _unfit(name, error) from error


def _unfit(name: str, error: Exception) -> UserError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"{name} does not work with these arguments: {said}",
        where="network_g.arguments",
        fix=f"Its constructor takes: {', '.join(_parameters(networks()[name][0]))}.",
    )


def _described(name: str, architecture: Any, network: nn.Module) -> Any:
    """What spandrel says about a network when it is shown its tensors."""
    try:
        return architecture.load({key: tensor.detach().clone() for key, tensor in network.state_dict().items()})
    except Exception as error:
        raise UserError(
            f"spandrel cannot load a {name} with these arguments, nor could a program that uses it: {error}",
            where="network_g.arguments",
            fix="Remove the arguments that differ from the defaults.",
        ) from error


def _keep() -> None:
    """In the place of a method that would rewrite parameters."""


def _outward(module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """Leave the name of the wrapper out of the names of the tensors."""
    for key in [key for key in state if key.startswith(f"{prefix}network.")]:
        state[prefix + key.removeprefix(f"{prefix}network.")] = state.pop(key)


def _inward(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}network." + key.removeprefix(prefix)] = state.pop(key)
