"""VQ-VAEs that start as the principal components of blocks."""

import pytest
import torch

from dmri7t.models.networks import Vqvae
from dmri7t.training.stages.blocks import block_components, start_from_blocks


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """Smooth positive image (1, 3, 16, 16, 16), whose channels go together, beside air."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.rand(1, 3, 16, 16, 16, generator=generator)
    smooth = torch.nn.functional.avg_pool3d(fine, 5, 1, 2)
    image = 1 + 8 * (smooth + smooth.mean(1, keepdim=True))
    image[..., :4] = 0
    return image


def blocks(image: torch.Tensor) -> torch.Tensor:
    """Blocks (N, 24), cut in another way than in the package."""
    parts = [n // 2 for n in image.shape[2:]]
    cut = image[0].reshape(3, parts[0], 2, parts[1], 2, parts[2], 2)
    return cut.permute(1, 3, 5, 0, 2, 4, 6).reshape(-1, 24)


def test_components_are_those_of_the_covariance(image):
    components = block_components([image, image])
    rows = blocks(image)
    rows = rows[rows.any(1)].double()
    directions = torch.tensor(components.directions).double()
    torch.testing.assert_close(directions @ directions.T, torch.eye(24).double())
    covariance = directions @ torch.cov(rows.T, correction=0) @ directions.T
    variance = covariance.diagonal()
    assert (variance.diff() <= 1e-9).all()
    assert (covariance - variance.diag()).abs().max() < 1e-6 * variance.max()


@pytest.mark.parametrize("groups", [1, 4])
def test_with_all_components_nothing_is_lost(image, groups):
    vqvae = Vqvae(channels=(32,), codes=8, code_size=24, groups=groups).build(3, 3)
    start_from_blocks(vqvae, block_components([image]))
    with torch.no_grad():
        back = vqvae.decode(vqvae.encode(image))
    # channels beyond those of the blocks are there to learn, and say a little already
    assert (back - image).square().mean() < 0.02 * image.var()
    vqvae.decoder.blocks[-1].conv.weight.data[24:] = 0
    with torch.no_grad():
        torch.testing.assert_close(vqvae.decode(vqvae.encode(image)), image, atol=1e-4, rtol=1e-4)


def test_with_fewer_what_is_lost_is_their_variance(image):
    brain = image[..., 4:]
    components = block_components([brain])
    vqvae = Vqvae(channels=(24,), codes=8, code_size=8, groups=4).build(3, 3)
    start_from_blocks(vqvae, components)
    rows = blocks(brain)
    variance = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0))
    with torch.no_grad():
        back = vqvae.decode(vqvae.encode(brain))
    lost = (back - brain).square().mean()
    assert float(lost) == pytest.approx(float(variance[:16].sum()) / 24, rel=1e-3)
    assert lost > 0


def test_what_cannot_start_so_is_refused(image):
    components = block_components([image])
    for channels in ((8,), (32, 32)):
        vqvae = Vqvae(channels=channels, codes=8, code_size=8).build(3, 3)
        with pytest.raises(ValueError, match="one level of 24 channels or more"):
            start_from_blocks(vqvae, components)
    with pytest.raises(ValueError, match="no image with a block that is not empty"):
        block_components([torch.zeros_like(image)])
