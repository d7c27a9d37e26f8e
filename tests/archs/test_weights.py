"""Weights files: restored from the file alone, refused with a reason, never half written."""

# ruff: noqa: N802  # names carry the ids of the published networks' defects

import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import nn

from paragonsr.archs.classic_options import NanoOptions, SOptions
from paragonsr.archs.options import NETWORKS
from paragonsr.archs.release_options import PhotoOptions, RealtimeOptions, StreamOptions
from paragonsr.archs.weights import (
    load_into,
    load_network,
    read_weights,
    save_metadata,
    save_weights,
    starting_options,
)
from paragonsr.errors import UserError

OURS = {
    "nano": NanoOptions(upsampler_alpha=0.2),
    "dual": NanoOptions(structure="dual", use_attention=True, attention_window=16, use_content_aware=True),
    "s": SOptions(num_feat=8, skip_upsampler="bicubic", pool_window=24, content_gain="published"),
    "stream": StreamOptions(num_feat=8, skip_padding="zero"),
    "photo": PhotoOptions(num_feat=8, num_groups=1, num_blocks=2, window_size=8),
}


def write(path: Path, options: Any, scale: int = 2) -> nn.Module:
    network: nn.Module = options.build(scale=scale).eval()
    save_weights(path, network.state_dict(), save_metadata(options, scale) | {"name": "test"})
    return network


def published(path: Path, options: Any, scale: int = 2) -> nn.Module:
    """A file without our metadata."""
    network: nn.Module = options.build(scale=scale).eval()
    torch.save({"params_ema": network.state_dict()}, path)
    return network


def same_output(a: nn.Module, b: nn.Module) -> None:
    image = torch.rand(1, 3, 21, 30)
    with torch.no_grad():
        torch.testing.assert_close(a(image), b(image), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("kind", OURS)
def test_a_file_of_ours_restores_the_network(tmp_path: Path, kind: str, scale: int) -> None:
    saved = write(tmp_path / "w.safetensors", OURS[kind], scale)
    loaded = load_network(tmp_path / "w.safetensors")
    assert loaded.options.model_dump() == OURS[kind].model_dump()
    assert loaded.scale == scale
    assert not loaded.training
    same_output(saved, loaded)


def test_R5_alpha_and_window_are_in_the_file(tmp_path: Path) -> None:
    write(tmp_path / "w.safetensors", PhotoOptions(num_feat=8, num_groups=1, window_size=8, upsampler_alpha=0.1))
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        text = file.metadata()["paragonsr"]
    assert '"window_size": 8' in text
    assert '"upsampler_alpha": 0.1' in text


def test_options_that_are_given_win(tmp_path: Path) -> None:
    write(tmp_path / "w.safetensors", OURS["nano"])
    assert load_network(tmp_path / "w.safetensors", upsampler_alpha=0.5).options.upsampler_alpha == 0.5
    assert load_network(tmp_path / "w.safetensors", skip_upsampler="published").options.skip_upsampler == "published"


@pytest.mark.parametrize("name", [n for n in NETWORKS if n.split("_")[1] not in ("m", "l", "xl", "pro")])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_files_that_say_nothing_are_the_published_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, suffix: str
) -> None:
    kind = NETWORKS[name]
    saved = published(tmp_path / f"w{suffix}", kind.published(), scale=4)
    with caplog.at_level(logging.WARNING):
        loaded = load_network(tmp_path / f"w{suffix}")
    assert "options that fix defects keep their legacy values" in caplog.text
    assert (loaded.options.tag(), loaded.scale) == (name, 4)
    assert {k: getattr(loaded.options, k) for k in kind.legacy} == kind.legacy
    same_output(saved, loaded)


def test_parts_are_found_and_given_options_win_over_legacy(tmp_path: Path) -> None:
    bare = {"use_attention": False, "use_content_aware": False}
    published(tmp_path / "w.pth", NanoOptions.published(**bare))
    assert load_network(tmp_path / "w.pth").options == NanoOptions.published(
        **bare, use_norm=False, use_channel_mod=False
    )
    mended = load_network(
        tmp_path / "w.pth", arch="paragonsr2_nano", skip_upsampler="mks2021", skip_padding="replicate"
    )
    assert (mended.options.skip_upsampler, mended.options.skip_padding) == ("mks2021", "replicate")
    published(tmp_path / "s.pth", SOptions.published(num_feat=8, fast_body_mode=False))
    assert load_network(tmp_path / "s.pth", arch="paragonsr2_s", num_feat=8).options.body_size == (3, 4)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"params": s}, lambda s: {"state_dict": {"model": s}}])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_what_other_trainers_write_is_read(tmp_path: Path, wrap: Any, prefix: str) -> None:
    state = {"a.weight": torch.rand(2, 3), "b": torch.tensor(1.0)}
    torch.save(wrap({prefix + name: tensor for name, tensor in state.items()}), tmp_path / "w.pth")
    found, metadata = read_weights(tmp_path / "w.pth")
    assert metadata is None
    torch.testing.assert_close(found, state)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"params": Bomb()}, tmp_path / "bomb.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pth", "plain.pth"):
        with pytest.raises(UserError, match=name):
            read_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_files_are_told(tmp_path: Path, suffix: str, keep: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    (write if suffix == ".safetensors" else published)(whole, NanoOptions())
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(UserError, match=f"cut{re.escape(suffix)}: not a whole"):
        load_network(cut)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arch": "paragonsr2_s"}, "these are weights of paragonsr2_nano x2, not of arch paragonsr2_s"),
        ({"scale": 4}, "not of scale 4"),
        ({"arch": "edsr"}, "unknown network edsr"),
        ({"upsampler_alfa": 1.0}, "does not take upsampler_alfa"),
        ({"num_feat": 24}, "of another shape"),
    ],
)
def test_what_does_not_fit_a_file_of_ours_is_told(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    write(tmp_path / "w.safetensors", NanoOptions())
    with pytest.raises(UserError, match=message) as error:
        load_network(tmp_path / "w.safetensors", **arguments)
    assert "w.safetensors" in str(error.value)


def test_no_file_no_weights_no_network(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("hello")
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    torch.save({"layer.weight": torch.rand(3)}, tmp_path / "other.pth")
    for name, message in (
        ("absent.pth", "weights file does not exist"),
        ("w.txt", "weights end in"),
        ("w.pth", "it holds no weights"),
        ("other.pth", "not weights of a published network"),
    ):
        with pytest.raises(UserError, match=message):
            load_network(tmp_path / name)


def test_saving_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    write(path, NanoOptions())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write(path, NanoOptions(upsampler_alpha=0.9))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_saving_into_an_absent_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written"):
        save_weights(tmp_path / "absent" / "w.safetensors", {"a": torch.zeros(1)}, {})


def test_shared_and_strided_tensors_are_saved(tmp_path: Path) -> None:
    tensor = torch.rand(4, 6)
    state = {"a": tensor, "b": tensor, "c": tensor.T}
    save_weights(tmp_path / "w.safetensors", state, {})
    torch.testing.assert_close(read_weights(tmp_path / "w.safetensors")[0], state)


def test_load_into_strictly(tmp_path: Path) -> None:
    options = NanoOptions()
    saved = write(tmp_path / "w.safetensors", options)
    network = options.build(scale=2)
    assert load_into(network, options, 2, tmp_path / "w.safetensors", strict=True) == []
    same_output(saved, network)


def test_load_into_names_file_and_key_where_it_does_not_fit(tmp_path: Path) -> None:
    write(tmp_path / "w.safetensors", NanoOptions())
    wider = NanoOptions(num_feat=24)
    with pytest.raises(UserError, match="of another shape") as error:
        load_into(wider.build(scale=2), wider, 2, tmp_path / "w.safetensors", strict=True)
    assert "w.safetensors" in str(error.value)
    assert "strict_load_g" in str(error.value)


def test_a_warm_start_from_x2_to_x4_lists_what_it_skips(tmp_path: Path) -> None:
    options = NanoOptions()
    saved = write(tmp_path / "w.safetensors", options)
    network = options.build(scale=4)
    assert load_into(network, options, 4, tmp_path / "w.safetensors", strict=False) == [
        "conv_out.weight",
        "conv_out.bias",
    ]
    torch.testing.assert_close(network.state_dict()["conv_in.weight"], saved.state_dict()["conv_in.weight"])


def test_a_warm_start_from_foreign_weights_is_told(tmp_path: Path) -> None:
    write(tmp_path / "w.safetensors", RealtimeOptions(num_feat=8))
    options = NanoOptions()
    with pytest.raises(UserError, match=r"none of its tensors fits paragonsr2_nano x2") as error:
        load_into(options.build(scale=2), options, 2, tmp_path / "w.safetensors", strict=False)
    assert "w.safetensors" in str(error.value)


def test_other_options_than_the_files_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "w.safetensors", NanoOptions(upsampler_alpha=0.1))
    options = NanoOptions()
    with caplog.at_level(logging.WARNING):
        load_into(options.build(scale=2), options, 2, tmp_path / "w.safetensors")
    assert "another value of upsampler_alpha" in caplog.text


def test_starting_options_are_the_files_or_the_published_ones(tmp_path: Path) -> None:
    write(tmp_path / "ours.safetensors", NanoOptions(upsampler_alpha=0.1, num_feat=24))
    started = starting_options(NanoOptions(upsampler_alpha=0.2), tmp_path / "ours.safetensors")
    assert (started.upsampler_alpha, started.num_feat) == (0.2, 24)  # type: ignore[attr-defined]
    published(tmp_path / "theirs.pth", NanoOptions.published())
    started = starting_options(NanoOptions(skip_padding="replicate"), tmp_path / "theirs.pth")
    assert started == NanoOptions.published(skip_padding="replicate")


def test_earlier_names_of_options(tmp_path: Path) -> None:
    """Older weights and configurations use `base` and `base_padding`."""
    expected = NanoOptions(skip_upsampler="bicubic", skip_padding="zero")
    assert NanoOptions(base="bicubic", base_padding="zero") == expected  # type: ignore[call-arg]
    metadata = save_metadata(expected, 2)
    metadata["options"]["base"] = metadata["options"].pop("skip_upsampler")
    metadata["options"]["base_padding"] = metadata["options"].pop("skip_padding")
    save_weights(tmp_path / "w.safetensors", expected.build(scale=2).state_dict(), metadata)
    assert load_network(tmp_path / "w.safetensors").options == expected
    changed = load_network(tmp_path / "w.safetensors", base="mks2021")
    assert changed.options == NanoOptions(skip_upsampler="mks2021", skip_padding="zero")
    started = starting_options(NanoOptions(skip_padding="replicate"), tmp_path / "w.safetensors")
    assert started == NanoOptions(skip_upsampler="bicubic", skip_padding="replicate")
    with pytest.raises(ValidationError, match="base"):
        NanoOptions(base="bicubic", skip_upsampler="mks2021")  # type: ignore[call-arg]
