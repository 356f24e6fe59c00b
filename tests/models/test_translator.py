"""Stages of a translator, on a small model with random weights."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from shells import shell_with

from dmri7t.errors import ModelError
from dmri7t.models import inputs
from dmri7t.models.box import Box
from dmri7t.models.bundle import check_bundle, model_checksum
from dmri7t.models.config import ModelConfig
from dmri7t.models.fitted import Shares
from dmri7t.models.layers import ChannelNorm, quantize
from dmri7t.models.networks import DiffusionUNet, Networks, ResidualNet, UNet
from dmri7t.models.results import Encoded
from dmri7t.models.translator import Translator, build_networks
from dmri7t.signal.describe import Description
from dmri7t.signal.grids import Grid, refine
from dmri7t.signal.resample import resample_mask
from dmri7t.signal.shell import Brain


@pytest.fixture(scope="module")
def scan():
    """The shell of a small ball."""
    rng = np.random.default_rng(0)
    places = np.stack(
        np.meshgrid(*[np.linspace(-1, 1, n) for n in (13, 15, 11)], indexing="ij"), -1
    )
    mask = (places**2).sum(-1) < 0.8
    rish = torch.tensor(rng.uniform(0.1, 2, (3, int(mask.sum()))), dtype=torch.float32)
    brain = Brain(mask, Grid(mask.shape, np.diag([2.0, 2.0, 2.0, 1.0])))
    return shell_with(rish, brain, DESCRIPTION)


DESCRIPTION = Description([2.0, 2.0, 2.0], 1000, 30, 0.04, 1.0, [0.0, 0.1, 0.2])


@pytest.fixture(scope="module")
def translator(tiny_model):
    return Translator.load(tiny_model, precision="float32")


def translate(translator, scan, seed=0, samples=2, upsampling="model"):
    mask, grid = scan.brain.mask, scan.brain.grid
    grid_out = refine(grid, 1.68)
    brain_out = Brain(resample_mask(mask, grid, grid_out), grid_out)
    encoded = translator.encode(scan)
    latents = translator.diffuse(encoded.latent, 2, samples, seed)
    decoded = translator.decode(encoded, latents)
    fine = translator.super_resolve(encoded, decoded, brain_out, upsampling)
    return encoded, latents, decoded, fine


def test_shapes_and_values(translator, scan):
    _, latents, decoded, fine = translate(translator, scan)
    assert decoded.samples_S3V.shape == (2, 3, scan.brain.n_voxels)
    assert len(latents) == 2
    for values in (decoded.samples_S3V, fine.mean_3V, fine.sd_3V):
        assert torch.isfinite(values).all() and (values >= 0).all()


def test_same_seed_same_bits_other_seed_other_image(translator, scan):
    first, again, other = (translate(translator, scan, seed)[3].mean_3V for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_sample_has_no_spread_and_first_samples_do_not_depend_on_their_number(translator, scan):
    one, two = translate(translator, scan, samples=1), translate(translator, scan, samples=2)
    assert torch.equal(one[1][0], two[1][0])
    assert not one[3].sd_3V.any() and two[3].sd_3V.any()


def test_latent_matters(translator, scan):
    """Another latent gives another image: the decoder cannot ignore it."""
    encoded, latents, decoded, _ = translate(translator, scan)
    other = translator.decode(encoded, latents + 3)
    assert not torch.allclose(other.samples_S3V, decoded.samples_S3V)


def test_bspline_leaves_the_network_out(translator, scan):
    model, spline = (translate(translator, scan, upsampling=u)[3] for u in ("model", "bspline"))
    assert model.mean_3V.shape == spline.mean_3V.shape


def test_air_around_the_brain_changes_nothing(translator, scan):
    """No network normalises over the image."""
    padded = np.pad(scan.brain.mask, 8)
    large = Brain(padded, Grid(padded.shape, scan.brain.grid.affine))
    plain = translator.encode(scan)
    air = translator.encode(attrs.evolve(scan, brain=large))
    box, box_air = (Box.around(b, translator.multiple) for b in (scan.brain, large))
    torch.testing.assert_close(box.pick(plain.mean), box_air.pick(air.mean), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_no_share_leaves_the_regression_alone(translator, scan, order):
    """Where nothing was found in the residual of an order, samples do not move it."""
    samples = tuple(float(i != order) for i in range(3))
    translator = translator.evolve(shares=Shares(samples=samples))
    encoded, _, decoded, _ = translate(translator, scan)
    box = Box.around(scan.brain, translator.multiple)
    mean = inputs.from_root(box.pick(encoded.mean)[..., None, None], translator.scale)
    same = [torch.allclose(decoded.estimate_3V[i], mean[i, :, 0, 0], atol=1e-5) for i in range(3)]
    assert same == [i == order for i in range(3)]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_of_the_super_resolution_each_order_takes_its_share(translator, scan, share, monkeypatch):
    """Beside a network that makes every root half as large again."""
    spline = translate(translator, scan, upsampling="bspline")[3].mean_3V.sqrt()
    translator = translator.evolve(shares=Shares(super_resolution=(1.0, share, 1.0)))
    monkeypatch.setattr(translator, "refine", lambda root, *_: 1.5 * root)
    made = translate(translator, scan)[3].mean_3V.sqrt()
    factors = torch.tensor([1.5, 1 + 0.5 * share, 1.5])[:, None]
    torch.testing.assert_close(made, factors * spline)


def test_a_regression_goes_through_all_stages(tmp_path, scan):
    """No latents, one set of RISH, no spread; padded to what its U-Net halves."""
    config = ModelConfig(
        name="regression",
        version="0",
        description="A model for tests.",
        form="regression",
        sees="rish",
        scale=(1.0, 0.3, 0.1),
        networks=Networks(mean=UNet(channels=(8, 8, 8), limit=3.0)),
    )
    regression = Translator(config, build_networks(config), precision="float32")
    assert regression.multiple == 4
    encoded, latents, decoded, fine = translate(regression, scan)
    assert encoded.latent is None and latents is None and len(decoded.samples_S3V) == 1
    assert torch.equal(decoded.samples_S3V[0], decoded.estimate_3V)
    assert torch.isfinite(fine.mean_3V).all() and not fine.sd_3V.any()


def test_box_places_and_picks():
    mask = np.zeros((9, 10, 11), bool)
    mask[2:6, 3:8, 4:9] = True
    box = Box.around(Brain(mask, Grid(mask.shape, np.eye(4))), 4)
    values = torch.rand(2, int(mask.sum()))
    volume = box.place(values)
    assert all(n % 4 == 0 for n in volume.shape[1:])
    assert torch.equal(box.pick(volume), values)


def test_without_samples_nothing_is_made_that_they_alone_need(translator, scan):
    whole, spared = translator.encode(scan), translator.encode(scan, sampled=False)
    assert spared.latent is None and set(spared.tensors) == {"noise", "mean"}
    assert torch.equal(spared.mean, whole.mean)
    assert torch.equal(spared.code_distance, whole.latent.distance)
    assert torch.equal(whole.code_distance, whole.latent.distance)


def test_what_was_encoded_goes_through_a_file_and_comes_back(translator, scan):
    encoded = translator.encode(scan)
    again = Encoded.from_tensors(encoded.tensors, encoded.brain, encoded.description)
    assert all(torch.equal(v, again.tensors[k]) for k, v in encoded.tensors.items())
    assert again.latent is not None and again.description == DESCRIPTION
    alone = Encoded.from_tensors({"noise": encoded.noise_3V}, encoded.brain, DESCRIPTION)
    assert alone.latent is None and alone.mean is None and set(alone.tensors) == {"noise"}
    with pytest.raises(ValueError, match="tiny: nothing to decode without samples"):
        translator.decode(alone, None)


def test_network_answers_nothing_at_first():
    net = ResidualNet(width=8, blocks=1, limit=2.0).build(4, 6)
    answer = net(torch.randn(1, 4, 6, 6, 6))
    assert not answer.any()
    root = torch.rand(1, 3, 6, 6, 6)
    assert torch.equal(inputs.apply_change(root, answer), root)


def test_network_is_bounded():
    net = ResidualNet(width=8, blocks=1, limit=2.0).build(4, 3)
    torch.nn.init.normal_(net.head.weight, std=100)
    assert net(1e4 * torch.randn(1, 4, 6, 6, 6)).abs().max() <= 2.0


def test_diffusion_network_is_local():
    net = DiffusionUNet(channels=(8, 16)).build(6, 4)
    kinds = [type(m) for m in net.modules()]
    assert torch.nn.GroupNorm not in kinds and ChannelNorm in kinds
    assert not [k for k in kinds if "Attention" in k.__name__]


def test_quantize_takes_the_nearest_code():
    codes = torch.eye(4)
    latent = torch.tensor([0.1, 0.9, 0.0, 0.2]).view(1, 4, 1, 1, 1)
    assert quantize(latent, codes).flatten().tolist() == [0, 1, 0, 0]


def test_checksum_covers_weights_and_description(tiny_model, tmp_path):
    import shutil

    copy = shutil.copytree(tiny_model, tmp_path / "m")
    assert model_checksum(copy) == model_checksum(tiny_model)
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"tiny"', '"other"'))
    assert model_checksum(copy) != model_checksum(tiny_model)
    (copy / "mean.safetensors").unlink()
    with pytest.raises(ModelError, match="missing from the model"):
        check_bundle(copy)
