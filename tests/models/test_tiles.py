"""Tiles give what the whole gives: no seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shells import shell_with

from dmri7t.models.networks import DiffusionUNet, ResidualNet, UNet, Vqvae
from dmri7t.models.tiles import EDGES, Tiler
from dmri7t.models.translator import Translator
from dmri7t.signal.describe import Description
from dmri7t.signal.grids import Grid, refine
from dmri7t.signal.resample import resample_mask
from dmri7t.signal.shell import Brain

TOLERANCE = 1e-4
"""Of the largest value: rounding in float32, which sums in another order in a tile."""

RECORDS = {
    "mean": UNet(channels=(4, 4, 4), limit=3.0),
    "super_resolution": ResidualNet(width=4, blocks=2, limit=3.0),
    "diffusion": DiffusionUNet(channels=(8, 8)),
    "vqvae_3t": Vqvae(channels=(8, 8), codes=4, code_size=4),
}


def network_of(name):
    torch.manual_seed(0)
    network = RECORDS[name].build(4, 4).eval()
    for parameter in network.parameters():
        # layers that start at zero would see nothing
        torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim > 1 else 0.1)
    if name == "diffusion":
        return lambda x: network(x, torch.tensor([3.0]), class_labels=torch.tensor([1]))
    return network.encode if name == "vqvae_3t" else network


@pytest.mark.parametrize("name", RECORDS)
def test_reach_is_as_far_as_a_network_looks(name):
    """A change of one voxel changes nothing beyond the reach."""
    reach, multiple = RECORDS[name].reach
    half = -(-(reach + 2 * multiple) // multiple) * multiple
    x = torch.zeros(1, 4, 2 * half, 8 * multiple, 8 * multiple)
    changed = x.clone()
    changed[:, :, half] = 100.0
    with torch.inference_mode():
        network = network_of(name)
        difference = (network(changed) - network(x)).abs().amax((0, 1, 3, 4))
    touched = difference.nonzero().flatten() * (x.shape[2] // len(difference))
    assert len(touched) and touched.min() >= half - reach - multiple
    assert touched.max() <= half + reach + multiple


@pytest.mark.parametrize("name", ["mean", "super_resolution", "diffusion", "vqvae_3t"])
def test_tiles_of_a_network_equal_the_whole(name):
    network = network_of(name)
    torch.manual_seed(1)
    x = torch.randn(1, 4, 96, 16, 8)
    with torch.inference_mode():
        whole = network(x)
        tiled = Tiler(8)(network, x, RECORDS[name].reach)
    assert (tiled - whole).abs().max() <= TOLERANCE * whole.abs().max()


@pytest.mark.parametrize(("edge", "runs"), [(8, 3), (12, 1), (24, 1)])
def test_an_axis_is_cut_only_where_that_spares_memory(edge, runs):
    seen = []
    x = torch.randn(1, 2, 24, 6, 6)
    with torch.inference_mode():
        Tiler(edge)(lambda part: seen.append(part.shape) or part, x, (6, 1))
    assert len(seen) == runs


def test_too_small_a_margin_would_leave_seams():
    """The test above can fail."""
    network = network_of("super_resolution")
    x = torch.randn(1, 4, 40, 12, 12)
    with torch.inference_mode():
        whole, tiled = network(x), Tiler(8)(network, x, (1, 1))
    assert (tiled - whole).abs().max() > 10 * TOLERANCE * whole.abs().max()


@pytest.fixture(scope="module")
def stages(tiny_model):
    """All four stages of the tiny model with tiles of some edge."""
    rng = np.random.default_rng(0)
    grid = Grid((40, 16, 16), np.diag([2.0, 2.0, 2.0, 1.0]))
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij"), -1)
    mask = (places**2).sum(-1) < 0.9
    rish = torch.tensor(rng.uniform(0.1, 2, (3, int(mask.sum()))), dtype=torch.float32)
    description = Description([2.0] * 3, 1000, 30, 0.04, 1.0, [0.0, 0.1, 0.2])
    shell = shell_with(rish, Brain(mask, grid), description)
    grid_out = refine(grid, 1.68)
    brain_out = Brain(resample_mask(mask, grid, grid_out), grid_out)

    def run(edge=None, prepare=lambda translator: None):
        translator = Translator.load(tiny_model, precision="float32")
        translator.tiled.edge = edge
        prepare(translator)
        encoded = translator.encode(shell)
        decoded = translator.decode(encoded, translator.diffuse(encoded.latent, 2, 1, 0))
        fine = translator.super_resolve(encoded, decoded, brain_out)
        return translator, decoded.samples_S3V, fine.mean_3V

    return run


def test_stages_in_tiles_equal_the_whole(stages):
    _, *whole = stages()
    _, *tiled = stages(16)
    for one, other in zip(whole, tiled, strict=True):
        assert (one - other).abs().max() <= TOLERANCE * one.abs().max()


def test_out_of_memory_tries_smaller_tiles(stages):
    """A device that holds so many voxels and no more."""
    limit = 10000

    def confine(translator):
        for name in ("mean", "super_resolution"):
            network = translator.networks[name]
            network.register_forward_pre_hook(refuse)

    def refuse(network, given):
        if given[0][0, 0].numel() > limit:
            raise torch.OutOfMemoryError("injected")

    _, *whole = stages()
    translator, *tiled = stages(None, confine)
    assert translator.tiled.edge in EDGES
    for one, other in zip(whole, tiled, strict=True):
        assert (one - other).abs().max() <= TOLERANCE * one.abs().max()


def test_what_never_fits_is_an_error(stages):
    def confine(translator):
        translator.networks["mean"].register_forward_pre_hook(refuse)

    def refuse(network, given):
        raise torch.OutOfMemoryError("injected")

    with pytest.raises(torch.OutOfMemoryError, match="injected"):
        stages(None, confine)
