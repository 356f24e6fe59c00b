"""Samplers on denoisers whose answer is known."""

import torch

from dmri7t.models.sampler import invert_ddim, make_scheduler, sample_ddim, sample_flow


def test_flow_reaches_the_data_of_a_straight_path():
    """For one data point the velocity is (data - noise), whatever the number of steps."""
    data, noise = torch.rand(1, 2, 3, 3, 3), torch.randn(1, 2, 3, 3, 3)
    for steps in (1, 5, 10):
        got = sample_flow(lambda x, t, label: data - noise, noise, steps, make_scheduler("flow"))
        torch.testing.assert_close(got, data, atol=1e-5, rtol=1e-5)


def test_ddim_reaches_the_data_of_a_perfect_denoiser():
    scheduler = make_scheduler("ddim")
    data, noise = torch.rand(1, 2, 3, 3, 3), torch.randn(1, 2, 3, 3, 3)

    def denoise(x, time, label):
        alpha = scheduler.alphas_cumprod[int(time)]
        return (x - alpha.sqrt() * data) / (1 - alpha).sqrt()

    got = sample_ddim(denoise, noise, 20, scheduler)
    torch.testing.assert_close(got, data, atol=2e-2, rtol=2e-2)


def test_inversion_is_undone_by_sampling():
    """With a noise prediction that depends on neither place nor time, one undoes the other."""
    data = torch.rand(1, 2, 3, 3, 3)
    constant = torch.full_like(data, 0.3)
    scheduler = make_scheduler("ddim")
    noise = invert_ddim(lambda x, t, label: constant, data, 50, scheduler)
    back = sample_ddim(lambda x, t, label: constant, noise, 50, scheduler)
    assert (noise - data).abs().max() > 0.1
    torch.testing.assert_close(back, data, atol=0.1, rtol=0.1)
