"""Exact conversion of a compact network into SRVGGNetCompact, which spandrel calls Compact.

Compact is a chain of 3x3 convolutions with PReLU and zero padding, all of one width, to whose sub-pixels it adds the
image enlarged by nearest neighbour. What ours has besides is expressed in additional channels of that chain:

- A PReLU of slope 1 is the identity, so a channel can carry or filter a value linearly through all layers.
- The skip from the stem to the last convolution: the stem's share of the detail is made at once, and carried.
- The skip upsampler: two passes, columns and rows, each with a line of pixels that moves by one pixel per layer in
  either direction, and sums of these lines weighted by the taps.
- Its border, which repeats the outermost pixel: convolving a constant with zero padding shows where the border is; a
  PReLU of slope 0 then keeps a value there and clears it elsewhere. What was kept is added to a line that has moved.
- The nearest neighbour image is subtracted.

The functions are equal for images in [0, 1], at every size and up to the border; in float32 the results differ by
rounding, 1e-7 to 1e-5.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paragonsr.archs.classic_options import ClassicOptions
from paragonsr.archs.paragonsr2 import CompactParagonSR2
from paragonsr.archs.recognise import State
from paragonsr.archs.skip_upsampler import Identity, PhaseUpsampler


def has_compact_form(network: CompactParagonSR2) -> bool:
    """Whether every part of a network has an exact form: not attention, content gain and the published upsampler."""
    parts = network.options.use_attention or network.options.use_content_aware
    return not parts and isinstance(network.base, PhaseUpsampler | Identity)


def to_compact(network: CompactParagonSR2) -> tuple[State, dict[str, int]]:
    """Tensors of the Compact network that computes the same, and its arguments `num_feat` and `num_conv`.

    Args:
        network: a network that `has_compact_form`.
    """
    options, base = network.options, network.base
    skip = base if isinstance(base, PhaseUpsampler) else None
    depth = max(2 * skip.radius + 3 if skip else 0, options.num_blocks + 2)
    chain = _Chain(depth)
    _add_detail(chain, network, options)
    if skip:
        _add_skip(chain, skip)
    return chain.state(), {"num_feat": chain.width, "num_conv": depth - 2}


def run_compact(tensors: State, scale: int, image: Tensor) -> Tensor:
    """Compute what SRVGGNetCompact computes with these tensors: N x 3 x h x w to N x 3 x scale h x scale w."""
    features, last = image, max(int(name.split(".")[1]) for name in tensors)
    for number in range(0, last + 1, 2):
        features = F.conv2d(features, tensors[f"body.{number}.weight"], tensors[f"body.{number}.bias"], padding=1)
        if number < last:
            features = F.prelu(features, tensors[f"body.{number + 1}.weight"])
    return F.pixel_shuffle(features, scale) + F.interpolate(image, scale_factor=float(scale), mode="nearest")


@dataclass
class _Part:
    """Channels of one layer: a convolution of channels of the layer before, then PReLU."""

    channels: int
    weights: list[tuple[str, Tensor]]
    bias: Tensor | float
    slope: Tensor | float


@dataclass
class _Chain:
    """Layers 1 to depth of a Compact network, each a mapping from a name to its channels; the last one is `out`."""

    depth: int
    layers: list[dict[str, _Part]] = field(init=False)

    def __post_init__(self) -> None:
        self.layers = [{} for _ in range(self.depth + 1)]
        self.layers[0]["image"] = _Part(3, [], 0.0, 1.0)

    @property
    def width(self) -> int:
        """Channels of a hidden layer."""
        return max(sum(part.channels for part in layer.values()) for layer in self.layers[1:-1])

    def put(
        self,
        layer: int,
        name: str,
        *weights: tuple[str, Tensor],
        bias: Tensor | float = 0.0,
        slope: Tensor | float = 1.0,
    ) -> None:
        """Add channels to a layer, or terms to its existing channels of that name.

        Args:
            layer: number of the layer.
            name: name of the channels.
            weights: names of channels in the layer before, with kernels (out, in, 3, 3).
            bias: one value, or one per channel.
            slope: of the PReLU; 1 keeps every value.
        """
        found = self.layers[layer].get(name)
        if found is not None:
            found.weights.extend(weights)
            found.bias = found.bias + bias
            return
        channels = weights[0][1].shape[0] if weights else 1
        self.layers[layer][name] = _Part(channels, list(weights), bias, slope)

    def carry(self, name: str, first: int, last: int) -> None:
        """Keep channels of layer `first` - 1 in the layers up to and including `last`."""
        for layer in range(first, last + 1):
            self.put(layer, name, (name, _tap(torch.eye(self.layers[layer - 1][name].channels))))

    def state(self) -> State:
        """Tensors under Compact's names."""
        tensors: State = {}
        for number in range(1, self.depth + 1):
            last = number == self.depth
            before, _ = _places(self.layers[number - 1])
            after, channels = _places(self.layers[number])
            inputs = 3 if number == 1 else self.width
            outputs = channels if last else self.width
            weight, bias = torch.zeros(outputs, inputs, 3, 3), torch.zeros(outputs)
            slope = torch.ones(outputs)
            for name, part in self.layers[number].items():
                for source, kernel in part.weights:
                    weight[after[name], before[source]] += kernel
                bias[after[name]] += part.bias
                slope[after[name]] = torch.as_tensor(part.slope)
            tensors[f"body.{2 * number - 2}.weight"], tensors[f"body.{2 * number - 2}.bias"] = weight, bias
            if not last:
                tensors[f"body.{2 * number - 1}.weight"] = slope
        return tensors


def _places(layer: Mapping[str, _Part]) -> tuple[dict[str, slice], int]:
    """Channels of each part of a layer, and their number."""
    places, count = {}, 0
    for name, part in layer.items():
        places[name] = slice(count, count + part.channels)
        count += part.channels
    return places, count


def _tap(matrix: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """Kernel (out, in, 3, 3) that reads the pixel at this offset, -1 to 1, with the weights (out, in)."""
    kernel = torch.zeros(*matrix.shape, 3, 3)
    kernel[:, :, 1 + down, 1 + right] = matrix
    return kernel


@torch.no_grad()
def _add_detail(chain: _Chain, network: CompactParagonSR2, options: ClassicOptions) -> None:
    """The learned detail: the body beside the stem's share of the detail."""
    first = network.conv_in.weight
    if options.luma_body:
        first = first * network.luma.view(1, 3, 1, 1)
    head, offset = network.conv_out.weight, network.conv_out.bias
    assert offset is not None
    # A luma body has the same detail for red, green and blue.
    spread = torch.eye(network.scale**2).repeat(3, 1) if options.luma_body else torch.eye(3 * network.scale**2)
    stem, hidden = network.conv_in.bias, list(network.hidden)
    assert stem is not None
    chain.put(1, "features", ("image", first), bias=stem, slope=network.act_in.weight)
    for index in range(options.num_blocks):
        layer, activation = hidden[2 * index], hidden[2 * index + 1]
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        assert isinstance(activation, nn.PReLU)
        chain.put(index + 2, "features", ("features", layer.weight), bias=layer.bias, slope=activation.weight)
    chain.put(2, "detail", ("features", head), bias=offset)
    complete = options.num_blocks + 2
    chain.carry("detail", 3, min(complete, chain.depth - 1))
    if complete < chain.depth:
        chain.put(complete, "detail", ("features", head))
        chain.carry("detail", complete + 1, chain.depth - 1)
    else:
        chain.put(chain.depth, "out", ("features", torch.einsum("ds,sikl->dikl", spread, head)))
    chain.put(chain.depth, "out", ("detail", _tap(spread)))


def _add_skip(chain: _Chain, base: PhaseUpsampler) -> None:
    """The skip upsampler minus nearest neighbour: columns in layers 3 to reach + 2, then rows."""
    reach, scale = base.radius, base.scale
    repeats = base.padding == "replicate"
    taps = base.vertical[:scale, 0, :, 0]
    rows = reach + 3
    chain.put(1, "image", ("image", _tap(torch.eye(3))))
    chain.carry("image", 2, rows)
    if repeats:
        chain.put(1, "one", bias=1.0)
        chain.carry("one", 2, rows + reach - 1)
        for name, side in (("top", -1), ("bottom", 1)):
            beyond = ("one", -_tap(torch.ones(3, 1), down=side))
            chain.put(2, name, ("image", _tap(torch.eye(3))), beyond, slope=0.0)
            chain.carry(name, 3, reach + 1)
    _add_pass(chain, "image", "columns", taps, start=2, vertical=True, repeats=repeats, bound=0.0)
    columns = torch.eye(3 * scale)
    chain.put(rows, "columns", ("columns", _tap(columns)))
    bound = 2.0 ** math.ceil(math.log2(float(taps.abs().sum(1).max())))
    if repeats:
        for name, side in (("left", -1), ("right", 1)):
            beyond = ("one", _tap(torch.full((3 * scale, 1), -2 * bound), right=side))
            chain.put(rows, name, ("columns", _tap(columns)), beyond, bias=bound, slope=0.0)
            chain.carry(name, rows + 1, rows + reach - 1)
    _add_pass(chain, "columns", "out", taps, start=rows, vertical=False, repeats=repeats, bound=bound)
    chain.put(rows + 1, "out", ("image", _tap(-torch.eye(3).repeat_interleave(scale**2, 0))))
    chain.carry("out", rows + reach + 1, chain.depth)


def _add_pass(
    chain: _Chain, source: str, result: str, taps: Tensor, *, start: int, vertical: bool, repeats: bool, bound: float
) -> None:
    """One axis of the skip upsampler, from the channels `source` of layer `start`, complete `reach` layers later.

    Args:
        chain: the chain, whose layer `start` has the kept borders, too.
        source: channels to be filtered.
        result: name of the results, scale for each channel of the source.
        taps: (scale, 2 reach + 1).
        start: layer of the source.
        vertical: whether the pass goes along columns.
        repeats: whether the border is repeated; else beyond it is 0.
        bound: what was added to the kept borders.
    """
    reach = taps.shape[1] // 2
    channels = chain.layers[start][source].channels
    same = torch.eye(channels)
    sides = (("top", -1), ("bottom", 1)) if vertical else (("left", -1), ("right", 1))

    def weighted(offset: int) -> Tensor:
        return torch.kron(same, taps[:, reach + offset, None].contiguous())

    for step in range(1, reach + 1):
        layer = start + step
        if step == 1:
            chain.put(layer, result, (source, _tap(weighted(0))))
        else:
            chain.carry(result, layer, layer)
        for border, side in sides:
            line = source if step == 1 else f"line {border}"
            by = {"down": side} if vertical else {"right": side}
            uses = [(result, weighted(side * step))]
            if step < reach:
                uses.append((f"line {border}", same))
            for name, matrix in uses:
                chain.put(layer, name, (line, _tap(matrix, **by)))
                if repeats:
                    chain.put(layer, name, (border, _tap(matrix)))
                if repeats and bound:
                    added = bound * matrix.sum(1, keepdim=True)
                    chain.put(layer, name, ("one", _tap(added, **by)), bias=-added[:, 0])
