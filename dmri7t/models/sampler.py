"""Sampling of latents with MONAI's schedulers: rectified flow, DDIM, and DDIM inversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dmri7t.models.layers import LABELS

Denoiser = Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]
"""(noisy latents, time, label) -> the network's answer."""


def make_scheduler(kind: str) -> Any:
    """Build the noise schedule.

    Parameters
    ----------
    kind : {"flow", "ddim"}
        Rectified flow (Liu et al. 2023) or the deterministic sampler of Song et al. 2021.

    Raises
    ------
    ValueError
        For any other kind.
    """
    if kind == "flow":
        from monai.networks.schedulers import RFlowScheduler

        return RFlowScheduler(num_train_timesteps=1000, use_discrete_timesteps=False)
    if kind == "ddim":
        from monai.networks.schedulers import DDIMScheduler

        return DDIMScheduler(
            num_train_timesteps=1000, schedule="scaled_linear_beta", clip_sample=False
        )
    raise ValueError(f"unknown scheduler {kind!r}: flow or ddim")


def guided(
    network: Callable[..., torch.Tensor], condition: torch.Tensor, guidance: float
) -> Denoiser:
    """Denoiser with classifier-free guidance (Ho and Salimans 2022).

    Parameters
    ----------
    network : callable
        The diffusion network, or one that runs it in tiles.
    condition : Tensor (B, k, x, y, z)
        Concatenated to the latents.
    guidance : float
        1 asks the conditional answer alone; larger ones move away from the unconditional one.
    """

    def predict(
        noisy: torch.Tensor, time: torch.Tensor, label: str, condition: torch.Tensor
    ) -> torch.Tensor:
        classes = torch.full((noisy.shape[0],), LABELS[label], device=noisy.device)
        times = time.expand(noisy.shape[0]).to(noisy.device, torch.float32)
        return network(torch.cat([noisy, condition], 1), timesteps=times, class_labels=classes)

    def denoise(noisy: torch.Tensor, time: torch.Tensor, label: str) -> torch.Tensor:
        answer = predict(noisy, time, label, condition)
        if guidance == 1:
            return answer
        free = predict(noisy, time, "none", torch.zeros_like(condition))
        return free + guidance * (answer - free)

    return denoise


def sample_flow(denoise: Denoiser, noise: torch.Tensor, steps: int, scheduler: Any) -> torch.Tensor:
    """Carry noise (B, c, x, y, z) to 7T latents along the flow, Euler steps of equal length."""
    times = torch.linspace(1000, 0, steps + 1)
    scheduler.set_timesteps(steps)
    latent = noise
    for now in times[:-1]:
        velocity = denoise(latent, now[None], "7T")
        latent, _ = scheduler.step(velocity, float(now), latent)
    return latent


def sample_ddim(denoise: Denoiser, noise: torch.Tensor, steps: int, scheduler: Any) -> torch.Tensor:
    """Denoise (B, c, x, y, z) under the label 7T by DDIM."""
    scheduler.set_timesteps(steps)
    latent = noise
    for now in scheduler.timesteps:
        answer = denoise(latent, now[None], "7T")
        latent, _ = scheduler.step(answer, int(now), latent)
    return latent


def invert_ddim(
    denoise: Denoiser, latent: torch.Tensor, steps: int, scheduler: Any
) -> torch.Tensor:
    """Carry 3T latents (B, c, x, y, z) into noise by the predictions under the label 3T."""
    scheduler.set_timesteps(steps)
    # each step carries the latent to the next noisier time; from the noisiest there is none
    for now in scheduler.timesteps.flip(0)[:-1]:
        answer = denoise(latent, now[None], "3T")
        latent, _ = scheduler.reversed_step(answer, int(now), latent)
    return latent


def draw_noise(shape: torch.Size, seed: int, index: int) -> torch.Tensor:
    """Normal numbers that depend on seed and sample only."""
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> 1))
    return torch.randn(shape, generator=generator)
