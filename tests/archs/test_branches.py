"""Branches: same function and same tensors before and after training, different weights in between."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paragonsr.archs.branches import EDGES, EdgeBranches, add_branches, merged
from paragonsr.archs.classic_options import NanoOptions, TinyOptions
from paragonsr.archs.network_options import NetworkOptions
from paragonsr.archs.release_options import RealtimeOptions

OPTIONS = [NanoOptions(), NanoOptions(luma_body=True), TinyOptions(structure="dual"), RealtimeOptions()]


def _disturb(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("options", OPTIONS, ids=["compact", "luma", "dual", "release"])
def test_merged_it_computes_the_same_with_the_tensors_it_was_built_with(options: NetworkOptions) -> None:
    network = options.build(scale=2).double()
    image = torch.rand(1, 3, 13, 11, dtype=torch.float64)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    before = network(image)
    add_branches(network)
    torch.testing.assert_close(network(image), before)
    _disturb(network)
    plain = merged(network)
    torch.testing.assert_close(plain(image), network(image))
    assert {name: tensor.shape for name, tensor in plain.state_dict().items()} == shapes
    assert sum(p.numel() for p in network.parameters()) > sum(p.numel() for p in plain.parameters())


def test_the_kernel_is_that_of_the_branches_one_after_the_other() -> None:
    branches = EdgeBranches(5, 4).double()
    _disturb(branches)
    kernel = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    image = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    expected = F.conv2d(image, kernel) + F.conv2d(image, branches.point[:, :, None, None])[..., 1:-1, 1:-1]
    wide = F.conv2d(image, branches.expand[:, :, None, None])
    expected = expected + F.conv2d(wide, branches.reduce)
    for point, scale, edge in zip(branches.edge_points, branches.edge_scales, EDGES.double(), strict=True):
        features = F.conv2d(image, point[:, :, None, None])
        filtered = F.conv2d(features, edge.expand(5, 1, 3, 3), groups=5)
        expected = expected + filtered * scale.view(1, -1, 1, 1)
    torch.testing.assert_close(F.conv2d(image, branches(kernel)), expected)


def test_every_branch_learns_from_the_second_step_on() -> None:
    network = NanoOptions().build(scale=2)
    add_branches(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        network(torch.rand(1, 3, 12, 12)).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.requires_grad)


def test_a_copy_with_branches_is_independent_and_goes_to_a_file() -> None:
    network = NanoOptions().build(scale=2)
    add_branches(network)
    _disturb(network)
    other = copy.deepcopy(network)
    _disturb(network)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    image = torch.rand(1, 3, 9, 9)
    assert not torch.equal(other(image), network(image))
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(image), network(image))


def test_a_network_without_branches_is_itself() -> None:
    network = NanoOptions().build(scale=2)
    assert merged(network) is network
