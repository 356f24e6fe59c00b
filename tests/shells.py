"""Shells with given RISH, for tests of what networks make of them."""

from __future__ import annotations

import torch

from dmri7t.signal.compose import TranslatedShell
from dmri7t.signal.describe import Description
from dmri7t.signal.estimate import ShellEstimate
from dmri7t.signal.harmonics import plan_fit
from dmri7t.signal.shell import Brain, Shell
from dmri7t.simulation.acquisition import spread_directions

DIRECTIONS = spread_directions(15)


def shell_with(
    rish_3V: torch.Tensor, brain: Brain, description: Description, **others: torch.Tensor
) -> Shell:
    """A shell of this RISH; no test asks what harmonics it comes from, so they are zero.

    Noise is a tenth of it and coherent RISH 0.8 of it, and no slice lost anything, unless given.
    """
    maps = {
        "noise_3V": 0.1 * rish_3V,
        "coherent_9V": torch.cat([0.8 * rish_3V] * 3),
        "sigma_V": torch.full((brain.n_voxels,), description.sigma),
        "loss_V": torch.zeros(brain.n_voxels),
    }
    plan = plan_fit(DIRECTIONS)
    return Shell(
        brain=brain,
        directions_N3=DIRECTIONS,
        plan=plan,
        sh_CV=torch.zeros(len(plan.matrix_CN), brain.n_voxels),
        rish_3V=rish_3V,
        description=description,
        **{**maps, **others},
    )


def translated_shell(
    shell: Shell, b0_V: torch.Tensor, rish7_3V: torch.Tensor, rows: list[int]
) -> TranslatedShell:
    """A shell as it was measured, scaled wholly to some RISH."""
    estimate = ShellEstimate.as_measured(shell, b0_V, "the model decides")
    return TranslatedShell(
        estimate, shell.directions_N3, rish7_3V, rows, shell.description.bval, shell.sh_CV
    )
