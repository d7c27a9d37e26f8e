"""Whole networks: shapes, receptive field, layouts, precisions, export, and fixed defects of bodies and heads."""

# ruff: noqa: N802  # names carry the ids of the published networks' defects

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from paragonsr.archs.blocks import ContentGain, DualBlock, LocalPool, PublishedBlock
from paragonsr.archs.classic_options import ClassicOptions, LOptions, MicroOptions, NanoOptions, SOptions, TinyOptions
from paragonsr.archs.complexity import count_parameters
from paragonsr.archs.options import NETWORKS, NetworkOptions
from paragonsr.archs.paragonsr2 import ParagonSR2
from paragonsr.archs.release_options import PhotoOptions, ProOptions, RealtimeOptions, StreamOptions
from paragonsr.errors import UserError

WINDOWS = {"attention_window": 8, "pool_window": 8}
SMALL: dict[str, NetworkOptions] = {
    "compact": NanoOptions(),
    "compact, attention, content": NanoOptions(use_attention=True, use_content_aware=True, **WINDOWS),
    "compact, luma": NanoOptions(luma_body=True),
    "compact, published base": NanoOptions(skip_upsampler="published"),
    "dual": NanoOptions(structure="dual", use_attention=True, use_content_aware=True, use_channel_mod=True, **WINDOWS),
    "dual, two blocks": SOptions(num_feat=16, attention_window=8, pool_window=8, structure="dual"),
    "dual, plain": NanoOptions(structure="dual"),
    "realtime": RealtimeOptions(),
    "stream": StreamOptions(num_feat=8),
    "photo": PhotoOptions(num_feat=8, num_groups=1, num_blocks=2, window_size=8),
    "pro": ProOptions(num_feat=16, num_groups=1, num_blocks=2, window_size=4, pool_window=8),
}
LEGACY: dict[str, NetworkOptions] = {
    "nano": NanoOptions.published(),
    "tiny": TinyOptions.published(),
    "photo": PhotoOptions.published(num_feat=8, num_blocks=2),
    "pro": ProOptions.published(num_feat=16, num_groups=1, num_blocks=2),
}


def lively(options: NetworkOptions, scale: int = 2) -> nn.Module:
    """A network in which every branch affects the output."""
    network = options.build(scale=scale).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
                if name.endswith("gamma"):
                    parameter.fill_(1)
    return network.requires_grad_(False)


# --- all networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kind", SMALL)
def test_scales_and_odd_sizes(kind: str, scale: int) -> None:
    network = lively(SMALL[kind], scale)
    assert network.scale == scale
    for height, width in ((1, 11), (13, 1), (9, 17)):
        sr = network(torch.rand(1, 3, height, width))
        assert sr.shape == (1, 3, scale * height, scale * width)
        assert sr.isfinite().all()


@given(
    kind=st.sampled_from([*SMALL]),
    batch=st.integers(1, 3),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
)
@settings(max_examples=40, deadline=None)
def test_samples_of_a_batch_are_independent(kind: str, batch: int, height: int, width: int) -> None:
    network = lively(SMALL[kind]).double()
    images = torch.rand(batch, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(network(images)[-1:], network(images[-1:]), atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", LEGACY)
def test_legacy_networks_take_any_size(kind: str) -> None:
    network = lively(LEGACY[kind])
    for size in ((1, 7), (33, 20), (40, 70)):
        assert network(torch.rand(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize("kind", SMALL)
def test_channels_last_gives_the_same(kind: str) -> None:
    network = lively(SMALL[kind]).double()
    image = torch.rand(2, 3, 19, 23, dtype=torch.float64)
    expected = network(image)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(network(image.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("kind", SMALL)
def test_bf16_autocast_trains(kind: str) -> None:
    network = SMALL[kind].build(scale=2)
    image = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        sr = network(image)
    torch.testing.assert_close(sr.float(), network(image), atol=0.05, rtol=0)
    sr.float().square().mean().backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("kind", ["compact", "dual", "photo", "pro"])
def test_compiles_as_one_graph(kind: str) -> None:
    network = lively(SMALL[kind])
    image = torch.rand(1, 3, 21, 18)
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image), network(image))


@pytest.mark.parametrize("kind", ["dual, two blocks", "photo"])
def test_the_gradient_reaches_every_parameter(kind: str) -> None:
    network = lively(SMALL[kind]).requires_grad_(True).train()
    network(torch.rand(1, 3, 20, 20)).square().mean().backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in still if "key.bias" not in n] == []  # a softmax does not see a constant added to all keys


def test_checkpointing_gives_the_same_gradients() -> None:
    image = torch.rand(1, 3, 12, 12)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(3)
        network = PhotoOptions(num_feat=8, num_blocks=2, window_size=8, use_checkpointing=recompute).build(scale=2)
        network.train()(image).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "kind", ["compact", "compact, attention, content", "dual", "dual, plain", "realtime", "stream"]
)
def test_nothing_beyond_the_receptive_field_counts(kind: str) -> None:
    network = lively(SMALL[kind]).double()
    radius = network.receptive_field
    size = 2 * radius + 9
    image = torch.rand(1, 3, size, size, dtype=torch.float64)
    other = image.clone()
    other[..., radius + 4, radius + 4] += 1
    changed = ((network(other) - network(image)).abs().amax(1)[0] > 1e-9).nonzero() // 2
    assert (changed - (radius + 4)).abs().max() <= radius


@pytest.mark.parametrize("kind", [k for k in SMALL if k not in ("photo", "pro", "dual, two blocks")])
def test_a_tile_on_the_grid_equals_the_whole(kind: str) -> None:
    network = lively(SMALL[kind]).double()
    grid, radius = network.grid, network.receptive_field
    start = grid * 2
    image = torch.rand(1, 3, 32, start + 2 * radius + 12, dtype=torch.float64)
    whole, tile = network(image), network(image[..., start:])
    inside = 2 * radius
    torch.testing.assert_close(tile[..., inside:], whole[..., 2 * start + inside :], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", [n for n in NETWORKS if n.split("_")[1] not in ("m", "l", "xl", "photo", "pro")])
def test_a_fresh_network_starts_near_its_base(name: str) -> None:
    network = NETWORKS[name]().build(scale=2)
    image = torch.rand(1, 3, 24, 24)
    base = network.base if hasattr(network, "base") else network.magic_upsampler
    with torch.no_grad():
        assert (network(image) - base(image)).square().mean().sqrt() < 0.15


def test_a_scale_that_no_network_has_is_told() -> None:
    with pytest.raises(UserError, match="cannot have scale 5"):
        NanoOptions().build(scale=5)


# --- classic family ---------------------------------------------------------------------------------------------------


def subpixel_spread(options: NetworkOptions) -> float:
    """Differences within the sub-pixels of a pixel relative to those between pixels, at initialisation."""
    network = options.build(scale=3)
    assert isinstance(network, ParagonSR2)
    with torch.no_grad():
        sr = network.upsampler_net(torch.randn(2, options.num_feat, 16, 16))  # type: ignore[attr-defined]
    cells = F.pixel_unshuffle(sr, 3).unflatten(1, (-1, 9))
    return float(cells.std(2).mean() / sr.std())


def test_A3_a_fresh_head_has_no_checkerboard() -> None:
    assert subpixel_spread(NanoOptions(structure="dual")) < 1e-6


def test_A3_legacy_start_has_one() -> None:
    assert subpixel_spread(NanoOptions.published()) > 0.3


@pytest.mark.slow
def test_A6_attention_exports_with_any_size(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network = lively(SMALL["dual"])
    auto = torch.export.Dim.AUTO
    example = (torch.rand(2, 3, 19, 28),)
    torch.onnx.export(
        network, example, tmp_path / "net.onnx", dynamic_shapes=({0: auto, 2: auto, 3: auto},), verbose=False
    )
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    for size in ((3, 3, 37, 53), (1, 3, 16, 64), (2, 3, 100, 21), (1, 3, 1, 9)):
        image = torch.rand(size)
        (sr,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        torch.testing.assert_close(torch.from_numpy(sr), network(image), atol=1e-4, rtol=0)


def test_A7_a_fresh_gain_is_one_and_cannot_die() -> None:
    gain = ContentGain(SOptions(num_feat=8)).requires_grad_(False)
    image = torch.rand(2, 3, 12, 12)
    torch.testing.assert_close(gain(image), torch.ones(2, 1, 1, 1))
    for bias in (-50.0, 50.0):
        nn.init.constant_(gain.content_analyzer[7].bias, bias)  # type: ignore[arg-type]
        assert 0.5 <= float(gain(image).min()) <= float(gain(image).max()) <= 1.5


def test_A7_legacy_gain_attenuates() -> None:
    gain = ContentGain(SOptions.published(num_feat=8))(torch.rand(2, 3, 12, 12)).detach()
    assert gain.shape == (2, 1, 1, 1)
    assert 0.05 <= float(gain.min()) <= float(gain.max()) <= 0.2


@given(height=st.integers(1, 30), width=st.integers(1, 30), window=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_A7_local_pooling_is_a_mean_of_the_neighbourhood(height: int, width: int, window: int) -> None:
    image = torch.rand(1, 2, height, width, dtype=torch.float64)
    pooled = LocalPool(window)(image).expand(image.shape)
    for y, x in ((0, 0), (height // 2, width // 2), (height - 1, width - 1)):
        top, left = (max(0, min(at - window // 2, size - window)) for at, size in ((y, height), (x, width)))
        expected = image[..., top : top + window, left : left + window].mean((-2, -1))
        torch.testing.assert_close(pooled[..., y, x], expected, atol=1e-5, rtol=0)


def test_A7_legacy_pooling_is_global() -> None:
    network = lively(SOptions.published(num_feat=12, use_attention=False)).double()
    assert network.receptive_field is None
    image = torch.rand(1, 3, 80, 80, dtype=torch.float64)
    other = image.clone()
    other[..., -1, -1] += 1
    assert (network(other) - network(image))[..., :4, :4].abs().max() > 1e-9


@pytest.mark.parametrize("fast", [True, False])
def test_A8_the_reported_body_is_the_built_one(fast: bool) -> None:
    options = SOptions(structure="dual", num_feat=8, fast_body_mode=fast, use_attention=False)
    network = options.build(scale=2)
    blocks = [module for module in network.modules() if isinstance(module, DualBlock)]
    assert options.body_size == ((1, 2) if fast else (3, 4))
    assert len(blocks) == options.body_size[0] * options.body_size[1]


@pytest.mark.parametrize("key", ["use_atention", "in_chans", "blocks"])
@pytest.mark.parametrize("name", ["paragonsr2_nano", "paragonsr2_s", "paragonsr2_l"])
def test_A9_unknown_options_are_refused(name: str, key: str) -> None:
    with pytest.raises(ValidationError):
        NETWORKS[name](**{key: 3})


def test_A9_large_networks_take_attention_too() -> None:
    with torch.device("meta"):
        network = LOptions(use_attention=True).build(scale=2)
    assert any(".attention." in name for name in network.state_dict())


def test_A9_every_switch_of_the_published_factories_is_an_option() -> None:
    switches = {"upsampler_alpha", "detail_gain", "use_channels_last", "fast_body_mode", "use_norm"}
    switches |= {"use_channel_mod", "use_content_aware", "use_attention"}
    for kind in NETWORKS.values():
        if kind.family == "classic":
            assert switches <= kind.model_fields.keys()


@pytest.mark.parametrize("kind", [NanoOptions, SOptions])
@pytest.mark.parametrize(
    "asked", [{"use_norm": True}, {"use_channel_mod": True}, {"fast_body_mode": False}, {"band": 9}, {"num_groups": 2}]
)
def test_A9_asking_for_a_part_of_the_dual_block_chooses_it(kind: type[ClassicOptions], asked: dict[str, Any]) -> None:
    assert kind().structure == "compact"
    assert kind(**asked).structure == "dual"
    with pytest.raises(ValueError, match="has no effect in a compact body"):
        kind(structure="compact", **asked)


def test_A9_switches_of_both_structures_leave_it_compact() -> None:
    options = SOptions(use_attention=True, use_content_aware=True, fast_body_mode=True, use_norm=False, num_feat=8)
    assert options.structure == "compact"
    assert any("attention" in name for name in options.build(scale=2).state_dict())


def test_A10_a_fresh_block_is_nearly_the_identity() -> None:
    x = 5 * torch.randn(1, 16, 12, 12)
    for start, kind, most, least in ((1e-5, DualBlock, 1e-3, 0.0), (1e-5, PublishedBlock, 1e9, 0.5)):
        options = TinyOptions(num_feat=16, use_attention=False, layer_scale=start)
        change = (kind(options, 0)(x) - x).abs().mean().detach()
        assert least <= float(change) <= most


@pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS)
def test_A11_what_is_documented_is_true(kind: type[NetworkOptions]) -> None:
    number, unit = re.match(r"([\d.]+) ([kM]) parameters", kind.__doc__ or "").groups()  # type: ignore[union-attr]
    claimed = float(number) * {"k": 1e3, "M": 1e6}[unit]
    with torch.device("meta"):
        assert count_parameters(kind().build(scale=2)) == pytest.approx(claimed, rel=0.1)


def activations(options: NetworkOptions) -> int:
    """Activations between the stem and the head."""
    modules = dict(options.build(scale=2).named_modules())
    return sum(isinstance(m, (nn.PReLU, nn.LeakyReLU)) for n, m in modules.items() if "content" not in n)


def test_A12_nano_is_not_nearly_linear() -> None:
    assert activations(NanoOptions.published()) == 1
    assert activations(NanoOptions()) == 4
    assert activations(NanoOptions(structure="dual")) == 3


@pytest.mark.parametrize("options", [MicroOptions(), SOptions()])
def test_a_fresh_deep_body_passes_its_signal_on(options: ClassicOptions) -> None:
    network = options.build(scale=2)
    x = torch.randn(1, options.num_feat, 24, 24)
    with torch.no_grad():
        assert 0.3 < float(network.hidden(x).std()) < 3  # type: ignore[operator]


# --- release family ---------------------------------------------------------------------------------------------------


def names(options: NetworkOptions) -> set[str]:
    with torch.device("meta"):
        return set(options.build(scale=2).state_dict())


def test_R4_attention_has_factors_of_its_own() -> None:
    added = names(PhotoOptions(skip_upsampler="published")) - names(PhotoOptions.published())
    assert added == {f"body.{g}.blocks.{b}.attn_scale.gamma" for g in range(4) for b in range(4)}


def run_photo(**options: Any) -> Tensor:
    torch.manual_seed(5)
    network = PhotoOptions(num_feat=8, num_groups=1, num_blocks=2, **options).build(scale=2)
    return network(torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1)))


def test_R5_alpha_and_window_are_options_with_effect() -> None:
    assert (run_photo(window_size=8) - run_photo(window_size=16)).abs().max() > 1e-6
    assert (run_photo(upsampler_alpha=0.0) - run_photo(upsampler_alpha=0.4)).abs().max() > 1e-3
    assert PhotoOptions.published().upsampler_alpha == 0
    with pytest.raises(ValidationError):
        PhotoOptions(upsampler_alpha=1.5)


def test_R6_export_safe_keeps_attention() -> None:
    torch.testing.assert_close(run_photo(export_safe=True), run_photo(), rtol=0, atol=0)
    dropped = names(PhotoOptions.published()) - names(PhotoOptions.published(export_safe=True))
    assert len(dropped) == 96


def test_a_network_that_is_written_out_stays_itself() -> None:
    for kind in NETWORKS.values():
        options = kind()
        assert kind(**options.model_dump()) == options


# --- luma bodies ------------------------------------------------------------------------------------------------------


def test_a_luma_body_sees_luma_and_changes_all_colours_alike() -> None:
    network = lively(NanoOptions(luma_body=True)).double()
    image = torch.rand(1, 3, 12, 14, dtype=torch.float64)
    detail = network(image) - network.base(image)
    torch.testing.assert_close(detail, detail[:, :1].expand_as(detail))
    luma = (image * network.luma).sum(1, keepdim=True).expand_as(image)
    torch.testing.assert_close(network(luma) - network.base(luma), detail)


def test_a_luma_body_of_four_layers_costs_what_three_of_rgb_cost() -> None:
    luma, rgb = (options.build(scale=2) for options in (NanoOptions(luma_body=True, num_blocks=4), NanoOptions()))
    assert (count_parameters(luma), count_parameters(rgb)) == (10_100, 9_212)


def test_a_luma_body_is_compact() -> None:
    with pytest.raises(ValidationError, match="luma_body is an option of the compact structure"):
        NanoOptions(luma_body=True, structure="dual")
