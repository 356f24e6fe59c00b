"""A phantom before and after, on disk as the stages of a run leave it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import attrs
import nibabel
import numpy as np
import pytest
from safetensors.numpy import save_file

from dmri7t.reports import (
    ModelCard,
    ModelMetrics,
    NodeTime,
    ParticipantReport,
    QualityRecord,
    ScanReport,
    ShellQuality,
    input_maps,
    output_maps,
)


def affine_of(size: float, shape: tuple[int, int, int], kind: str) -> np.ndarray:
    """Affine of a grid whose middle is the same point whatever its voxels."""
    axes = {
        "RAS": np.eye(3),
        "LPS": np.diag([-1.0, -1.0, 1.0]),
        "PSR": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]),
    }.get(kind)
    if axes is None:  # oblique: LAS, turned by 20 degrees about x
        turn = np.radians(20)
        about_x = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
        axes = np.array(about_x) @ np.diag([-1.0, 1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = axes * size
    affine[:3, 3] = [4.0, -7.0, 11.0] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def world(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Scanner coordinates (X, Y, Z, 3) of every voxel, relative to the middle of the phantom."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return voxels @ affine[:3, :3].T + affine[:3, 3] - [4.0, -7.0, 11.0]


@attrs.frozen(eq=False)
class Side:
    """One grid of the phantom and what lies on it, voxels of the mask in C order."""

    mask: Path
    b0: Path
    features: Path
    tensor: Path
    departures: Path
    places_V3: np.ndarray


def write_side(folder: Path, tag: str, size: float, kind: str, samples: int = 4) -> Side:
    """Write an ellipsoid whose fibres run in rings about the z axis."""
    shape = tuple(round(mm / size) for mm in (58, 70, 52))
    if kind == "PSR":
        shape = (shape[1], shape[2], shape[0])
    affine = affine_of(size, shape, kind)
    places = world(shape, affine)
    mask = (places**2 / np.array([26.0, 31.0, 22.0]) ** 2).sum(-1) < 1
    at = places[mask].astype(np.float32)
    paths = {n: folder / f"{tag}_{n}" for n in ("mask.nii", "b0.nii", "features", "tensor")}
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), affine), paths["mask.nii"])
    b0 = np.where(mask, 900 + 10 * places[..., 0] + 5 * places[..., 2], 0).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(b0, affine), paths["b0.nii"])
    rish = np.stack([3 + at[:, k] / 40 for k in range(3)]).astype(np.float32)
    # noise raises what is measured, by a half
    before = {"rish": rish + 0.5, "noise": np.full_like(rish, 0.5)}
    cone = (45 + at[:, 0]).astype(np.float32)
    features = before if tag == "in" else {"mean": rish, "sd": rish / 9, "cone": cone}
    meta = {} if tag == "in" else {"meta": json.dumps({"samples": samples, "cones": True})}
    save_file(features, paths["features"].with_suffix(".safetensors"), metadata=meta)
    ring = np.stack([-at[:, 1], at[:, 0], 0 * at[:, 0]], 1)
    ring /= np.maximum(np.linalg.norm(ring, axis=1, keepdims=True), 1e-6)
    fa = np.full(len(at), 0.6, np.float32)
    tensor = {"fa": fa, "md": fa, "direction": ring.astype(np.float32)}
    save_file(tensor, paths["tensor"].with_suffix(".safetensors"))
    departures = folder / f"{tag}_departures.safetensors"
    save_file({"0": 1 + 3 * (rish > 3.3).astype(np.float32)}, departures)
    return Side(
        paths["mask.nii"],
        paths["b0.nii"],
        paths["features"].with_suffix(".safetensors"),
        paths["tensor"].with_suffix(".safetensors"),
        departures,
        at,
    )


def good_quality() -> QualityRecord:
    """Metrics of a scan with one shell that was translated and one that was not."""
    shells = (
        ShellQuality(
            "b1000",
            16,
            True,
            0.0213,
            1000.0,
            4,
            0.006,
            23.4,
            (1, 0.9, 0.4),
            (0.001, 0.04, 0.31),
            difference=(0.00171, 0.0272, 0.473),
            noise=(0.00161, 0.0262, 0.463),
            beyond=(0.004, 0.123, 0.0),
            floor=12.5,
        ),
        ShellQuality("b3000", 20, False, 0.0345, reason="not named by --shells"),
    )
    return QualityRecord(
        n_b0=2,
        nmse={"b0": 0.00123, "b1000": 0.0213, "b3000": 0.0345, "all": 0.0177},
        snr=23.4,
        shells=shells,
        repaired={"input_nonfinite": 0, "input_negative": 7, "output_outside": 12345},
        mask_volume_ml=1234.5,
    )


MakeScan = Callable[..., ScanReport]


@pytest.fixture(scope="session")
def phantom_side(tmp_path_factory) -> Callable[..., Side]:
    """Write one grid of the phantom; the same is written once."""
    made: dict[tuple, Side] = {}

    def make(tag: str, size: float, kind: str = "LPS", samples: int = 4) -> Side:
        key = (tag, size, kind, samples)
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{tag}_{kind}")
            made[key] = write_side(folder, tag, size, kind, samples)
        return made[key]

    return make


@pytest.fixture(scope="session")
def make_scan_report(phantom_side) -> MakeScan:
    """Record of a scan of the phantom, 2.5 to 2.1 mm."""

    def make(stem: str = "sub-01", kind: str = "LPS", samples: int = 4, **changes) -> ScanReport:
        one, other = phantom_side("in", 2.5, kind), phantom_side("out", 2.1, kind, samples)
        before = input_maps(one.mask, one.b0, [one.features], one.tensor, one.departures)
        after = output_maps(other.mask, other.b0, [other.features], other.tensor)
        scan = ScanReport(
            stem,
            before,
            after,
            good_quality(),
            "Harmonics were fitted [Tournier et al. 2019].\n\nAs in [Zhu et al. 2024].",
            f"bids:raw:sub-01/dwi/{stem}_dwi.nii.gz",
        )
        return attrs.evolve(scan, **changes)

    return make


@pytest.fixture
def participant(make_scan_report) -> ParticipantReport:
    """A participant with one scan."""
    card = ModelCard(
        "default",
        "1.2.3",
        "ab12" * 16,
        "A model of tests.",
        "simulated pairs",
        {"bval": (700, 3000)},
        ModelMetrics(12, {"interpolation": {"R0": (0.0135, 0.002)}}),
    )
    return ParticipantReport(
        label="01",
        scans=(make_scan_report(),),
        model=card,
        settings='model_name = "default"\nsampler_steps = 5\n',
        command="dmri7t in out participant --participant-label 01",
        nodes=(
            NodeTime("dwi_wf.prepare", 12.5, "done", 0.4),
            NodeTime("dwi_wf.b1000_wf.diffuse", 150.0, "cached", 2.0),
            NodeTime("dwi_wf.outputs_wf.ds_mask", 0.02, "done", 0.2),
        ),
        versions={"dmri7t": "9.8.7", "nipype": "1.11.0", "torch": "2.13.0"},
    )
