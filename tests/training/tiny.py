"""Recipes small enough to train in seconds, and the command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODEL = """
[model]
name = "tiny"
version = "1.0.0"
form = "{form}"
description = "Small enough for a test."

[data]
seeds = 3
first_seed = 0
validation_seeds = 1
first_validation_seed = 1000000
patch = 16
patches = 4

"""

SAMPLER = """
[sampler]
scheduler = "flow"
start = "noise"
guidance = 1.0
steps = 2
samples = 1
temperature = 0.5
"""

MEAN = """
[networks.mean]
kind = "residual"
width = 4
blocks = 1
limit = 3.0

[stages.mean]
steps = {steps}
batch = {batch}
learning_rate = 1e-3
save_every = 2
validate_every = 4
"""

CODES = """
[networks.vqvae_3t]
channels = [8]
codes = 16
code_size = 8

[stages.vqvae_3t]
steps = 60
batch = 2
learning_rate = 2e-3
save_every = 2
validate_every = 30
"""

REST = """
[networks.vqvae_7t]
channels = [8]
codes = 16
code_size = 8

[networks.diffusion]
channels = [8, 16]

[networks.super_resolution]
width = 4
blocks = 1
limit = 1.5

[stages.vqvae_7t]
steps = 10
batch = 2
learning_rate = 1e-3
start_from = "vqvae_3t"
save_every = 2
validate_every = 5

[stages.diffusion]
steps = 20
batch = 2
learning_rate = 1e-3
save_every = 2
validate_every = 5

[stages.super_resolution]
steps = 30
batch = 2
learning_rate = 1e-3
examples = 4
save_every = 2
validate_every = 5
"""


LITTLE = """
[networks.vqvae_7t]
channels = [8]
codes = 16
code_size = 8

[networks.diffusion]
channels = [8]

[stages.vqvae_7t]
steps = 0
batch = 2
learning_rate = 1e-3
start_from = "vqvae_3t"

[stages.diffusion]
steps = 2
batch = 2
learning_rate = 1e-3
save_every = 2
validate_every = 2
"""

PARTS = {
    "residual": SAMPLER + MEAN + CODES + REST,
    "regression": MEAN,
    "direct": SAMPLER + CODES + LITTLE,
}
"""By form: the default's, a regression, and of the paper's little but the 3T codebook."""


def write_recipe(path: Path, form: str = "residual", steps: int = 12, batch: int = 2) -> Path:
    """Write a tiny recipe; steps and batch are those of the regression."""
    path.write_text((MODEL + PARTS[form]).format(form=form, steps=steps, batch=batch))
    return path


def start_training(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start the command as a user does, in a process of its own."""
    command = [sys.executable, "-m", "dmri7t.cli.model", "train", *map(str, arguments)]
    return subprocess.Popen(
        [*command, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def train_to_end(*arguments: str | Path) -> str:
    """Train; return what was printed."""
    process = start_training(*arguments)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def train_here(*arguments: str | Path) -> None:
    """Train in this process, which has loaded everything: half the time."""
    import torch

    from dmri7t.cli.model import main

    threads = torch.get_num_threads()
    try:
        main(["train", *map(str, arguments), "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
