"""How good a model is on simulated test subjects that its training never saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from dmri7t.evaluation.chain import (
    Estimate,
    ShellScan,
    interpolate_shell,
    regress_shell,
    translate_shell,
)
from dmri7t.models.translator import Translator
from dmri7t.signal.grids import Grid
from dmri7t.signal.metrics import nmse, ssim
from dmri7t.signal.represent import floor_b0
from dmri7t.signal.rish import rish
from dmri7t.simulation.acquisition import Protocol, draw_protocol, hcp_protocol
from dmri7t.simulation.fields import Axes
from dmri7t.simulation.patches import Patch, draw_patches

FIRST_TEST_SEED = 2_000_000
"""Seeds from here on are never used for training or validation."""

EDGE = 4
"""Voxels of the output at a block's border that are left out of the figures."""

MAPS = ("R0", "R2", "R4", "FA")


def axes_grid(axes: Axes) -> Grid:
    """Return the grid with these coordinates."""
    affine = np.eye(4)
    for a in range(3):
        affine[a, a] = axes[a][1] - axes[a][0]
        affine[a, 3] = axes[a][0]
    return Grid(tuple(len(a) for a in axes), affine)


def scan_of(patch: Patch) -> ShellScan:
    """Turn a simulated block into what the app would read."""
    mask = patch.mask.numpy()
    return ShellScan(
        signal_NV=patch.signal[:, patch.mask],
        b0_V=patch.b0[patch.mask],
        directions_N3=patch.protocol.directions,
        bval=float(patch.protocol.bval),
        n_b0=patch.protocol.n_b0,
        mask=mask,
        grid=axes_grid(patch.axes_low),
        mask_out=patch.mask_high.numpy(),
        grid_out=axes_grid(patch.axes_high),
    )


def truth_of(patch: Patch) -> Estimate:
    """Noise-free 7T coefficients and RISH of a block."""
    sampled = patch.high[:, patch.mask_high]
    sh_CV = sampled[1:] / floor_b0(sampled[0])
    return Estimate(rish(sh_CV)[:3], sh_CV)


def test_subjects(n: int, seed: int, protocol: str, size: int) -> Iterator[Patch]:
    """Draw one block from each of ``n`` brains.

    Parameters
    ----------
    n, seed : int
        Subjects, and an offset to the first test seed.
    protocol : {"any", "hcp"}
        Drawn as in training, or HCP's 3T scan (1.25 mm, 90 directions, b = 1000).
    size : int
        Edge in 3T voxels.
    """
    first = FIRST_TEST_SEED + seed
    yield from draw_blocks(range(first, first + n), protocol, size)


def draw_blocks(seeds: Iterable[int], protocol: str, size: int) -> Iterator[Patch]:
    """Draw one block a seed; parameters as in :func:`test_subjects`."""
    for number in seeds:
        rng = np.random.default_rng([number, 1])
        drawn: Protocol = hcp_protocol(rng) if protocol == "hcp" else draw_protocol(rng)
        yield draw_patches(number, size, drawn)[0]


def figures_of(estimate: Estimate, truth: Estimate, scan: ShellScan) -> dict[str, float]:
    """NMSE and SSIM of R0, R2, R4 and FA, keys such as ``NMSE R0``."""
    inner = np.zeros_like(scan.mask_out)
    inner[(slice(EDGE, -EDGE),) * 3] = True
    keep = torch.as_tensor(scan.mask_out & inner)
    values = [*estimate.rish_3V, estimate.anisotropy(scan)]
    wanted = [*truth.rish_3V, truth.anisotropy(scan)]
    out = {}
    for name, value, reference in zip(MAPS, values, wanted, strict=True):
        pair = [_volume(v, scan.mask_out) for v in (value, reference)]
        out[f"NMSE {name}"] = float(nmse(*pair, keep))
        out[f"SSIM {name}"] = float(ssim(*pair, keep))
    return out


def _volume(values_V: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
    out = torch.zeros(mask.shape)
    out[torch.as_tensor(mask)] = values_V
    return out


def evaluate(
    translator: Translator,
    n: int = 20,
    seed: int = 0,
    protocol: str = "any",
    size: int = 48,
    steps: int | None = None,
    samples: int | None = None,
) -> pd.DataFrame:
    """Measure a model beside plain interpolation.

    Parameters
    ----------
    translator : Translator
    n, seed, protocol, size
        See :func:`test_subjects`.
    steps, samples : int, optional
        Of the sampler.

    Returns
    -------
    DataFrame
        One row a subject and method: subject, method, and NMSE and SSIM of every map.
    """
    rows: list[dict[str, Any]] = []
    residual = translator.config["form"] == "residual"
    for i, patch in enumerate(test_subjects(n, seed, protocol, size)):
        scan, truth = scan_of(patch), truth_of(patch)
        rep = scan.represent()
        keywords = {"steps": steps, "samples": samples, "seed": seed + i}
        methods = {
            "interpolation": interpolate_shell(scan, rep),
            translator.config["name"]: translate_shell(translator, scan, rep, **keywords),
            f"{translator.config['name']} with B-spline": translate_shell(
                translator, scan, rep, upsampling="bspline", **keywords
            ),
        }
        if residual:
            methods["regression alone"] = regress_shell(translator, scan, rep)
        for method, estimate in methods.items():
            rows.append({"subject": i, "method": method, **figures_of(estimate, truth, scan)})
        print(f"[evaluate] subject {i + 1} of {n}", flush=True)
    return pd.DataFrame(rows)


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over subjects: columns method, map, metric, mean, sd, n."""
    long = table.melt(["subject", "method"], var_name="figure")
    long[["metric", "map"]] = long.pop("figure").str.split(" ", expand=True)
    groups = long.groupby(["method", "map", "metric"], sort=False)["value"]
    return groups.agg(mean="mean", sd="std", n="count").reset_index()
