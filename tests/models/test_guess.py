"""A guess of latents, what a flow is to expect of it, and its fit by least squares."""

import pytest
import torch
from torch.nn import functional

from dmri7t.models.guess import Guessing, expected_flow
from dmri7t.models.layers import LABELS
from dmri7t.models.networks import DiffusionUNet
from dmri7t.models.sampler import guided, make_scheduler, sample_flow
from dmri7t.training.stages.fit import Pair, fit_guess

N_LATENT, N_CONDITION = 4, 4 + 2


@pytest.fixture
def network() -> Guessing:
    torch.manual_seed(0)
    record = DiffusionUNet(channels=(8,), features=16)
    built = record.build(N_LATENT + N_CONDITION, N_LATENT)
    assert isinstance(built, Guessing)
    return built


@pytest.mark.parametrize("time", [1.0, 250.0, 800.0, 1000.0])
def test_what_a_guess_leaves_open_is_as_large_as_it_says(time):
    """Latents lie about the guess by chance: the rest has unit spread and hangs on nothing seen."""
    generator = torch.Generator().manual_seed(1)
    shape, spread = (1, 2, 60, 60, 60), torch.tensor([0.3, 1.5]).view(1, 2, 1, 1, 1)
    guess = torch.randn(shape, generator=generator)
    clean = guess + spread * torch.randn(shape, generator=generator)
    noise = torch.randn(shape, generator=generator)
    noisy = (1 - time / 1000) * clean + time / 1000 * noise
    expected, off = expected_flow(noisy, torch.tensor([time]), guess, spread)
    rest = (clean - noise - expected) / off
    assert rest.mean((0, 2, 3, 4)).abs().max() < 0.02
    torch.testing.assert_close(rest.std((0, 2, 3, 4)), torch.ones(2), atol=0.02, rtol=0)
    for seen in (noisy, guess):
        assert ((rest * seen).mean((0, 2, 3, 4)) / seen.std()).abs().max() < 0.02


def test_untrained_the_guess_is_the_answer(network):
    network.spread.fill_(1e-3)
    condition, noise = torch.randn(1, N_CONDITION, 4, 4, 4), torch.randn(1, N_LATENT, 4, 4, 4)
    with torch.no_grad():
        denoise = guided(network, condition, 1.0)
        got = sample_flow(denoise, noise, 10, make_scheduler("flow"))
        torch.testing.assert_close(got, network.guess(condition), atol=2e-2, rtol=0)


def test_behind_a_hidden_label_nothing_is_known(network):
    """Of latents about zero with unit spread, noise alone tells nothing."""
    noise, condition = torch.randn(1, N_LATENT, 4, 4, 4), torch.randn(1, N_CONDITION, 4, 4, 4)
    with torch.no_grad():
        network.last.weight.normal_()
        x, time = torch.cat([noise, condition], 1), torch.tensor([1000.0])
        hidden = network(x, timesteps=time, class_labels=torch.tensor([LABELS["none"]]))
        torch.testing.assert_close(hidden, -noise)
        seen = network(x, timesteps=time, class_labels=torch.tensor([LABELS["7T"]]))
        assert (seen - hidden).abs().max() > 0.1


def pairs(noise: float, n: int = 6) -> list[Pair]:
    """Latents whose 7T side is a filter of the 3T side and its neighbours, plus noise."""
    generator = torch.Generator().manual_seed(2)
    kernel = 0.1 * torch.randn(N_LATENT, N_LATENT, 3, 3, 3, generator=generator)
    out = []
    for _ in range(n):
        condition = torch.randn(1, N_CONDITION, 10, 10, 10, generator=generator)
        three = condition[:, :N_LATENT]
        seven = functional.conv3d(three, kernel, padding=1) + 0.5
        seven = seven + noise * torch.randn(seven.shape, generator=generator)
        inside = torch.ones(1, 1, 10, 10, 10, dtype=torch.bool)
        inside[..., 5:] = False
        # what lies outside must not count
        out.append(Pair(condition, torch.where(inside, seven, 1e3), inside))
    return out


def test_least_squares_find_the_filter_and_what_it_leaves(network):
    fit_guess(network, pairs(0.2))
    new = pairs(0.0, 7)[-1]
    off = (network.guess(new.condition) - new.clean)[..., :5]
    assert off.std() < 0.06  # against 0.2 of what it was fitted to, and 1.4 of the 3T latent
    torch.testing.assert_close(network.spread, torch.full((N_LATENT,), 0.2), atol=0.02, rtol=0)
    assert not any(p.requires_grad for p in (*network.first.parameters(), network.linear.weight))


def test_a_noisy_example_does_not_rule(network):
    clean, spoilt = pairs(0.2), pairs(0.2)
    spoilt[0] = Pair(spoilt[0].condition, spoilt[0].clean + 30, spoilt[0].inside)
    errors = []
    for some in (clean, spoilt):
        fit_guess(network, some)
        new = pairs(0.0, 7)[-1]
        errors.append((network.guess(new.condition) - new.clean)[..., :5].square().mean())
    assert errors[1] < 0.3  # by plain squares the shift of 30 in one of six alone makes 25


def test_a_guess_needs_pairs(network):
    with pytest.raises(ValueError, match="no pairs"):
        fit_guess(network, [])
