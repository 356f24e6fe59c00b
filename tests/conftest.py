"""Small real data and a small untrained model, for the tests of every package.

With the environment variable DMRI7T_NO_SKIPS set, a skipped test is a failed one, except those
marked gpu.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dmri7t.io.scan import Scan


def _skip_is_failure(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Turn a skip into a failure that tells its reason."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("DMRI7T_NO_SKIPS"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (DMRI7T_NO_SKIPS): {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Hold single tests to DMRI7T_NO_SKIPS."""
    report = yield
    if not item.get_closest_marker("gpu"):
        _skip_is_failure(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """Hold whole files (importorskip) to DMRI7T_NO_SKIPS."""
    report = yield
    _skip_is_failure(report)
    return report


def fibonacci_directions(n: int) -> np.ndarray:
    """Directions (N, 3) spread over the half sphere."""
    i = np.arange(n) + 0.5
    z, phi = i / n, np.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], 1)


def tensor_phantom(
    shape: tuple[int, int, int], bvals: np.ndarray, directions: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Signals (X, Y, Z, N) of an ellipsoid of fibres that turn from x to y, and its mask."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"), -1)
    mask = (places**2 / np.array([0.75, 0.8, 0.7]) ** 2).sum(-1) < 1
    angle = (places[..., 0] + 1) * np.pi / 4
    fibre = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    along = (fibre[..., None, :] @ directions.T)[..., 0, :] ** 2
    diffusivity = 0.3e-3 + 1.4e-3 * along
    signal = 1000 * mask[..., None] * np.exp(-bvals * diffusivity)
    noise = rng.normal(0, 20, (2, *signal.shape))
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32), mask


@pytest.fixture(scope="session")
def make_scan():
    """Write a scan of the phantom into a folder."""

    def make(
        folder: Path,
        label: str = "01",
        shells: dict | None = None,
        seed: int = 0,
        shape: tuple[int, int, int] = (22, 26, 20),
    ) -> Scan:
        from dmri7t.signal.gradients import GradientTable

        shells = shells or {1000: 16}
        folder.mkdir(parents=True, exist_ok=True)
        bvals = [0.0, 5.0]
        directions = [np.zeros((2, 3))]
        for bval, n in shells.items():
            bvals += [float(bval)] * n
            directions.append(fibonacci_directions(n))
        table = GradientTable(np.array(bvals), np.concatenate(directions))
        signal, _ = tensor_phantom(shape, table.bvals, table.directions, seed)
        affine = np.diag([-2.5, 2.5, 2.5, 1.0])
        affine[:3, 3] = 30, -32, -25
        stem = folder / f"sub-{label}_dwi"
        nibabel.save(nibabel.Nifti1Image(signal, affine), f"{stem}.nii.gz")
        np.savetxt(f"{stem}.bval", table.bvals[None], fmt="%g")
        np.savetxt(f"{stem}.bvec", table.to_fsl(affine), fmt="%.8f")
        return Scan(
            dwi=Path(f"{stem}.nii.gz"),
            bval=Path(f"{stem}.bval"),
            bvec=Path(f"{stem}.bvec"),
            sidecar={"EchoTime": 0.09},
            entities={"sub": label},
            uri=f"bids:raw:sub-{label}/dwi/sub-{label}_dwi.nii.gz",
        )

    return make


def write_tiny_model(folder: Path) -> Path:
    """Write a bundle of tiny networks with random weights: all stages run, nothing is learned."""
    import torch

    from dmri7t.models.bundle import save_weights, write_bundle
    from dmri7t.models.config import ModelConfig
    from dmri7t.models.plain import from_plain
    from dmri7t.models.translator import build_networks

    vqvae = {"channels": [8], "codes": 16, "code_size": 4}
    config = from_plain(
        ModelConfig,
        {
            "name": "tiny",
            "version": "0",
            "form": "residual",
            "description": "A model for tests.",
            "networks": {
                "mean": {"kind": "residual", "width": 8, "blocks": 1, "limit": 1.0},
                "vqvae_3t": vqvae,
                "vqvae_7t": vqvae,
                "diffusion": {"channels": [8, 16]},
                "super_resolution": {"width": 8, "blocks": 1, "limit": 1.0},
            },
            "sampler": {
                "scheduler": "flow",
                "start": "noise",
                "guidance": 1.0,
                "steps": 2,
                "samples": 1,
                "temperature": 1.0,
            },
            "scale": [1.0, 0.3, 0.1],
            "latents": {f"vqvae_{f}": {"mean": [0.0] * 4, "sd": [1.0] * 4} for f in ("3t", "7t")},
            "training": {"source": "none: random weights, for tests"},
            "ranges": {
                "voxel_size_mm": [1, 3],
                "bval": [700, 3000],
                "n_directions": [12, 100],
                "snr": [8, 60],
            },
        },
    )
    torch.manual_seed(0)
    for name, network in build_networks(config).items():
        save_weights(folder / f"{name}.safetensors", network.state_dict())
    write_bundle(folder, config)
    assert json.loads((folder / "config.json").read_text())["files"]
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A bundle of tiny networks with random weights."""
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def calibrated_model(tiny_model, tmp_path_factory) -> Path:
    """The same bundle, with an uncertainty and a forecast as calibration would write them."""
    import shutil

    import attrs

    from dmri7t.models.bundle import check_bundle, write_bundle
    from dmri7t.models.fitted import Calibration
    from dmri7t.models.plain import from_plain

    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("calibrated") / "model")
    weights = [[0.01, 1.0, 0.5, 0.01, 0.1]] * 3
    calibration = from_plain(
        Calibration,
        {
            "intervals": {
                "weights": weights,
                "fa_factor": 1.0,
                "subjects": 1,
                "direction": weights[1],
            },
            "check": {"subjects": 1, "coverage_90": {"R0": 0.9, "R2": 0.9, "R4": 0.9, "FA": 0.9}},
            "forecast": {m: {"weights": [-0.5] + [0.0] * 5, "sd": 0.2} for m in ("R0", "R2", "FA")},
        },
    )
    config = attrs.evolve(check_bundle(folder), name="calibrated", calibration=calibration)
    write_bundle(folder, config)
    return folder
