"""Codebooks: MONAI's own as the oracle, and several codes a latent."""

import pytest
import torch
from monai.networks.layers.vector_quantizer import EMAQuantizer

from dmri7t.models.layers import codebook, quantize
from dmri7t.models.networks import Vqvae
from dmri7t.models.quantizer import GroupQuantizer


@pytest.fixture
def books() -> tuple[EMAQuantizer, GroupQuantizer]:
    """MONAI's codebook and ours, of 16 codes of 4, which begin alike."""
    torch.manual_seed(0)
    theirs = EMAQuantizer(3, 16, 4, decay=0.9, ddp_sync=False)
    ours = GroupQuantizer(3, 16, 4, decay=0.9, ddp_sync=False)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def test_one_code_a_latent_is_as_in_monai(books):
    theirs, ours = books
    for _ in range(3):
        latent = torch.randn(2, 4, 3, 5, 2)
        want, got = theirs(latent), ours(latent)
        torch.testing.assert_close(got[0], want[0])
        torch.testing.assert_close(got[1], want[1])
        assert torch.equal(got[2], want[2].flatten())
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


def test_codes_rest_outside_training(books):
    ours = books[1].eval()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours(torch.randn(1, 8, 2, 2, 2))
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())


def test_each_group_takes_a_code_of_its_own(books):
    ours = books[1].eval()
    halves = torch.randn(2, 4, 3, 3, 3), torch.randn(2, 4, 3, 3, 3)
    whole = ours(torch.cat(halves, 1))[0]
    torch.testing.assert_close(whole, torch.cat([ours(half)[0] for half in halves], 1))


def test_what_is_quantised_is_what_training_saw():
    """Of a whole VQ-VAE: the app's way and the stage's, with two groups and with one."""
    for groups in (1, 2):
        vqvae = Vqvae(channels=(8,), codes=16, code_size=8, groups=groups).build(3, 3).eval()
        assert codebook(vqvae).shape == (16, 8 // groups)
        latent = torch.randn(1, 8, 4, 4, 4)
        torch.testing.assert_close(quantize(latent, codebook(vqvae)), vqvae.quantize(latent)[0])


def test_gradients_pass_straight_through(books):
    latent = torch.randn(1, 8, 2, 2, 2, requires_grad=True)
    books[1](latent)[0].sum().backward()
    assert torch.equal(latent.grad, torch.ones_like(latent))


def test_groups_divide_a_latent():
    with pytest.raises(ValueError, match="'groups' is 3, which does not divide the code_size 8"):
        Vqvae(channels=(8,), codes=16, code_size=8, groups=3)
