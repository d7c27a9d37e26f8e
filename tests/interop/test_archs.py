"""The table of networks."""

import json

import pytest

from paragonsr.archs import table
from paragonsr.archs.options import NETWORKS
from paragonsr.archs.table import rows
from paragonsr.cli import main
from paragonsr.errors import UserError


def test_figures_of_a_network_that_can_be_counted_by_hand() -> None:
    row = next(row for row in rows(2) if row["name"] == "paragonsr2_nano")
    convolutions = [(3, 16), (16, 16), (16, 16), (16, 16), (16, 12)]
    learned = sum(9 * i * o for i, o in convolutions)
    assert row["parameters"] == learned + sum(o for _, o in convolutions) + 4 * 16
    taps = 2 * (4 + 3) + 1  # Magic Kernel Sharp reaches 4 LR pixels, the sharpening before it 3 more
    base = 3 * 2 * taps + 3 * 2 * 2 * taps
    assert row["macs_per_megapixel"] == pytest.approx((learned + base) / 4 * 1e6, rel=0.05)
    assert row["receptive_field"] == 7
    assert row["scales"] == [1, 2, 3, 4, 8]
    assert row["precisions"] == ["fp32", "bf16", "fp16"]


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("paragonsr2_nano", "paragonsr2_tiny") else pytest.param(name, marks=pytest.mark.slow)
        for name, kind in NETWORKS.items()
        if kind.__module__.startswith("paragonsr.")
    ],
)
def test_the_stored_costs_are_the_measured_ones(name: str, scale: int) -> None:
    assert table.stored_costs()[name][str(scale)] == table.measured_costs(NETWORKS[name], scale), "run: make references"


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own = [name for name, kind in NETWORKS.items() if kind.__module__.startswith("paragonsr.")]
    assert list(table.stored_costs()) == sorted(own)
    measured = table.measured_costs
    monkeypatch.setattr(
        table,
        "measured_costs",
        lambda kind, scale: pytest.fail(kind.tag()) if kind.tag() in own else measured(kind, scale),
    )
    for arguments in (["archs", "--json"], ["archs"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        if "--json" in arguments:
            assert [row["name"] for row in json.loads(printed)] == list(NETWORKS)
        else:
            assert [line.split()[0] for line in printed.splitlines()[1 : len(NETWORKS) + 1]] == list(NETWORKS)


def test_a_scale_that_none_has() -> None:
    with pytest.raises(UserError, match="no network has scale 5"):
        rows(5)
