"""A model of the paper's form, run from the command line to the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import attrs
import nibabel
import numpy as np
import pytest
import torch
from examples import make

from dmri7t.models.bundle import save_weights, write_bundle
from dmri7t.models.config import read_config
from dmri7t.models.fitted import Latents
from dmri7t.models.networks import DiffusionUNet, Networks, Vqvae
from dmri7t.models.translator import build_networks


@pytest.fixture
def direct_model(tiny_model: Path, tmp_path: Path) -> Path:
    """VQ-VAEs with several codes a latent, a diffusion with a guess, super-resolution."""
    tiny = read_config(tiny_model)
    vqvae = Vqvae(channels=(8,), codes=16, code_size=4, groups=2)
    networks = Networks(
        vqvae_3t=vqvae,
        vqvae_7t=vqvae,
        diffusion=DiffusionUNet(channels=(8,), features=8),
        super_resolution=tiny.networks.super_resolution,
    )
    assert tiny.sampler is not None
    config = attrs.evolve(
        tiny,
        name="direct",
        form="direct",
        networks=networks,
        sampler=attrs.evolve(tiny.sampler, guidance=1.5, samples=2),
        latents={name: Latents(mean=(0.0,) * 4, sd=(1.0,) * 4) for name in tiny.latents},
    )
    folder = tmp_path / "direct"
    folder.mkdir()
    torch.manual_seed(0)
    for name, network in build_networks(config).items():
        save_weights(folder / f"{name}.safetensors", network.state_dict())
    write_bundle(folder, config)
    return folder


def test_the_papers_chain_runs_to_the_end(direct_model, tmp_path):
    skeleton = make.make_dataset("good/single", tmp_path / "in")
    command = [sys.executable, "-m", "dmri7t.cli.app", tmp_path / "in", tmp_path / "out"]
    command += ["participant", "--model", direct_model, "-w", tmp_path / "work", "--nprocs", "1"]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    (stem,) = skeleton["yields"]
    image = nibabel.load(tmp_path / "out" / f"{stem}_desc-7Tlike_dwi.nii.gz")
    assert np.isfinite(image.get_fdata()).all()
    sidecar = json.loads((tmp_path / "out" / f"{stem}_desc-7Tlike_dwi.json").read_text())
    assert sidecar["Synthetic"] is True
    (page,) = (tmp_path / "out").glob("sub-*.html")
    assert "direct" in page.read_text()
    # two samples differ, so that their spread is there, and is said not to be calibrated
    spread = next((tmp_path / "out").rglob("*rish0_desc-uncertainty_dwimap.json"))
    assert json.loads(spread.read_text())["Calibrated"] is False
