"""The stages of a training, one module for each network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmri7t.models.translator import Translator
from dmri7t.training.stages.base import TrainingStage
from dmri7t.training.stages.diffusion import DiffusionStage
from dmri7t.training.stages.regression import regression_stage
from dmri7t.training.stages.super_resolution import SuperResolutionStage
from dmri7t.training.stages.vqvae import Vqvae3T, Vqvae7T

STAGES: dict[str, Callable[[Translator, str, Any], TrainingStage]] = {
    "mean": regression_stage,
    "vqvae_3t": Vqvae3T,
    "vqvae_7t": Vqvae7T,
    "diffusion": DiffusionStage,
    "super_resolution": SuperResolutionStage,
}
"""What trains each network."""
