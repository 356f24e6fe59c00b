"""A guess of 7T latents from 3T latents, and a network that answers with what it lacks.

The guess is two layers: random features of a latent and its neighbours, and a last layer that
least squares fit in seconds (Rahimi and Recht 2008). A diffusion network that knows it, and how far
it is off, need not learn to repeat it (preconditioning, Karras et al. 2022).
"""

from __future__ import annotations

import torch
from torch import nn

from dmri7t.models.layers import LABELS


def expected_flow(
    noisy: torch.Tensor, time: torch.Tensor, guess: torch.Tensor, spread: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Velocity that is to be expected, and its standard deviation, both (B, c, x, y, z).

    Parameters
    ----------
    noisy : Tensor (B, c, x, y, z)
        On the straight line from clean latents (time 0) to noise (time 1000).
    time : Tensor (B,)
    guess : Tensor (B, c, x, y, z)
        Of the clean latents.
    spread : Tensor (B, c, 1, 1, 1)
        Standard deviation of clean latents about it.
    """
    part = (time / 1000).to(noisy).view(-1, 1, 1, 1, 1)
    kept, variance = 1 - part, spread.square()
    whole = kept.square() * variance + part.square()
    expected = (part * guess + (kept * variance - part) * noisy) / whole
    return expected, spread / whole.sqrt()


class Guessing(nn.Module):
    """A diffusion network whose answers are added to what a guess foretells.

    Parameters
    ----------
    unet : Module
        Sees noisy latents, the condition, and the guess.
    n_seen : int
        Channels of noisy latents and condition; the condition begins with the 3T latent.
    n_latent : int
        Channels of a latent.
    n_features : int
        Random ones.
    """

    def __init__(self, unet: nn.Module, n_seen: int, n_latent: int, n_features: int) -> None:
        super().__init__()
        self.unet = unet
        self.n_latent = n_latent
        self.first = nn.Conv3d(n_seen - n_latent, n_features, 3, padding=1)
        self.linear = nn.Conv3d(n_latent, n_latent, 3, padding=1, bias=False)
        self.last = nn.Conv3d(n_features, n_latent, 1)
        self.register_buffer("spread", torch.ones(n_latent))
        self.spread: torch.Tensor
        for layer in (self.linear, self.last):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        for layer in (self.first, self.linear, self.last):
            layer.requires_grad_(False)

    def features(self, condition: torch.Tensor) -> torch.Tensor:
        """Random features (B, n_features, x, y, z) of a condition (B, k, x, y, z)."""
        answer: torch.Tensor = self.first(condition).relu()
        return answer

    def guess(self, condition: torch.Tensor) -> torch.Tensor:
        """Guess of 7T latents (B, c, x, y, z) from a condition (B, k, x, y, z)."""
        three = condition[:, : self.n_latent]
        answer: torch.Tensor = three + self.linear(three) + self.last(self.features(condition))
        return answer

    def parts(
        self, x: torch.Tensor, timesteps: torch.Tensor, class_labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Expected velocity, how far it is off, and the answer in units of that.

        Where the label is hidden, nothing is known: latents lie about zero with unit spread.

        Parameters
        ----------
        x : Tensor (B, c + k, x, y, z)
            Noisy latents and the condition.
        timesteps, class_labels : Tensor (B,)

        Returns
        -------
        three of Tensor (B, c, x, y, z)
        """
        noisy, condition = x[:, : self.n_latent], x[:, self.n_latent :]
        hidden = (class_labels == LABELS["none"]).view(-1, 1, 1, 1, 1)
        guess = torch.where(hidden, 0.0, self.guess(condition).float())
        spread = torch.where(hidden, 1.0, self.spread.view(1, -1, 1, 1, 1))
        expected, off = expected_flow(noisy.float(), timesteps, guess, spread)
        seen = torch.cat([x, guess.to(x)], 1)
        answer = self.unet(seen, timesteps=timesteps, class_labels=class_labels).float()
        return expected, off, answer

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, class_labels: torch.Tensor
    ) -> torch.Tensor:
        """Velocity (B, c, x, y, z); see :meth:`parts`."""
        expected, off, answer = self.parts(x, timesteps, class_labels)
        return expected + off * answer
