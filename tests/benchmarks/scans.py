"""Scans to measure on: one size a name, a cohort of it, and a tree of participants."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import attrs
import nibabel
import numpy as np


@attrs.frozen
class Size:
    """A scan.

    Parameters
    ----------
    shape : tuple of three ints
    voxel_mm : float
    bvals : tuple of float
        Of its shells.
    n_directions, n_b0 : int
        Of each shell; and b0 volumes of the scan.
    """

    shape: tuple[int, int, int]
    voxel_mm: float
    bvals: tuple[float, ...]
    n_directions: int
    n_b0: int

    @property
    def n_volumes(self) -> int:
        """Of all shells and b0."""
        return self.n_b0 + len(self.bvals) * self.n_directions

    def halved(self) -> Size:
        """The same with half as many voxels along each axis."""
        x, y, z = (n // 2 for n in self.shape)
        return attrs.evolve(self, shape=(x, y, z))

    def describe(self) -> str:
        """Write as words."""
        x, y, z = self.shape
        return (
            f"{x} x {y} x {z} voxels of {self.voxel_mm:g} mm, {self.n_b0} b0 and "
            f"{self.n_directions} directions at b = {', '.join(f'{b:g}' for b in self.bvals)}"
        )


SIZES = {
    "full": Size((145, 174, 145), 1.25, (1000.0,), 90, 6),
    "large": Size((145, 174, 145), 1.25, (1000.0, 2000.0, 3000.0), 90, 18),
    "small": Size((96, 114, 80), 2.0, (1000.0,), 16, 2),
    "tiny": Size((48, 58, 48), 1.25, (1000.0,), 30, 6),
}
"""As large as an HCP 3T scan, of one shell and of three; a clinical one; one to try things with."""

GROWTH = {
    "voxels": Size((60, 72, 60), 1.25, (1000.0,), 32, 3),
    "more voxels": Size((84, 100, 84), 1.25, (1000.0,), 32, 3),
    "most voxels": Size((105, 126, 105), 1.25, (1000.0,), 32, 3),
    "more volumes": Size((84, 100, 84), 1.25, (1000.0,), 64, 3),
    "most volumes": Size((84, 100, 84), 1.25, (1000.0,), 96, 3),
    "more shells": Size((84, 100, 84), 1.25, (1000.0, 2000.0), 32, 3),
    "most shells": Size((84, 100, 84), 1.25, (1000.0, 2000.0, 3000.0), 32, 3),
}
"""Scans that differ by voxels, volumes and shells, from which the growth of the cost is fitted."""


def make_image(folder: Path, size: Size, n_participants: int = 1) -> Path:
    """Write a BIDS data set; returns the first image's path without its ending.

    Further participants are links to the first: the same work, and no more room.
    """
    from dmri7t.signal.gradients import GradientTable
    from dmri7t.simulation.acquisition import spread_directions

    rng = np.random.default_rng(0)
    spread = spread_directions(size.n_directions)
    directions = np.concatenate([np.zeros((size.n_b0, 3)), *[spread] * len(size.bvals)])
    shells = np.repeat(np.array(size.bvals), size.n_directions)
    bvals = np.concatenate([np.zeros(size.n_b0), shells])
    axes = np.meshgrid(
        *[np.linspace(-1, 1, n, dtype=np.float32) for n in size.shape], indexing="ij"
    )
    radius = np.sqrt(sum((a / s) ** 2 for a, s in zip(axes, (0.78, 0.86, 0.82), strict=True)))
    brain = np.clip((1 - radius) / 0.03, 0, 1)
    angle = 2 * axes[0] + axes[2]
    fibre = np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    affine = np.diag([-size.voxel_mm, size.voxel_mm, size.voxel_mm, 1.0])
    affine[:3, 3] = np.array([0.5, -0.5, -0.5]) * size.shape * size.voxel_mm
    stem = folder / "bids/sub-01/dwi/sub-01_dwi"
    stem.parent.mkdir(parents=True)
    data = np.empty((*size.shape, len(bvals)), np.int16, order="F")
    noise = np.empty((2, *size.shape), np.float32)
    for i, (bval, direction) in enumerate(zip(bvals, directions, strict=True)):
        along = np.tensordot(direction.astype(np.float32), fibre, 1) ** 2
        clean = 1000 * brain * np.exp(-np.float32(bval) * (0.4e-3 + 1.2e-3 * along))
        rng.standard_normal(dtype=np.float32, out=noise)
        data[..., i] = np.hypot(clean + 40 * noise[0], 40 * noise[1])
    nibabel.save(nibabel.Nifti1Image(data, affine), f"{stem}.nii.gz")
    table = GradientTable(bvals, directions)
    np.savetxt(f"{stem}.bval", bvals[None], fmt="%g")
    np.savetxt(f"{stem}.bvec", table.to_fsl(affine), fmt="%.8f")
    describe_dataset(folder / "bids")
    add_participants(stem, n_participants)
    brain_file = folder / "mask.nii"
    nibabel.save(nibabel.Nifti1Image((brain > 0.5).astype(np.uint8), affine), brain_file)
    return stem


def describe_dataset(bids: Path) -> None:
    """Write what a BIDS data set says of itself."""
    description = {"Name": "benchmark", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (bids / "dataset_description.json").write_text(json.dumps(description))
    (bids / "README").write_text("Simulated, to measure time and memory on.\n")


def add_participants(stem: Path, n: int) -> None:
    """Link a scan's files under the names of further participants, up to ``n``."""
    bids = stem.parents[2]
    width = max(2, len(str(n)))
    for number in range(2, n + 1):
        label = f"sub-{number:0{width}}"
        folder = bids / label / "dwi"
        folder.mkdir(parents=True)
        for ending in (".nii.gz", ".bval", ".bvec"):
            os.link(f"{stem}{ending}", folder / f"{label}_dwi{ending}")


def prepare_mif(folder: Path, stem: Path) -> None:
    """Lay out what MRtrix starts from: ``dwi.mif`` with the volumes of a voxel side by side."""
    gradients = ["-fslgrad", f"{stem}.bvec", f"{stem}.bval"]
    command = ["mrconvert", f"{stem}.nii.gz", folder / "dwi.mif", *gradients]
    command += ["-datatype", "float32", "-strides", "2,3,4,1"]
    subprocess.run([*map(str, command), "-quiet"], check=True)


def prepare_steps(folder: Path, stem: Path) -> None:
    """Lay out what single steps start from: ``dwi.nii``, and rows of volumes in .npy."""
    from dmri7t.signal.gradients import GradientTable

    command = ["mrconvert", folder / "dwi.mif", folder / "dwi.nii", "-strides", "1,2,3,4"]
    command += ["-export_grad_fsl", folder / "dwi.bvec", folder / "dwi.bval"]
    subprocess.run([*map(str, command), "-quiet"], check=True)
    image = nibabel.load(f"{stem}.nii.gz")
    mask = np.asarray(nibabel.load(folder / "mask.nii").dataobj) > 0
    data = np.asarray(image.dataobj)
    n = image.shape[3]
    brain = np.lib.format.open_memmap(
        folder / "brain.npy", mode="w+", dtype=np.float32, shape=(n, int(mask.sum()))
    )
    for i in range(n):
        brain[i] = data[..., i][mask]
    bvals = np.loadtxt(f"{stem}.bval")
    np.save(folder / "bvals.npy", bvals)
    table = GradientTable.from_fsl(bvals, np.loadtxt(f"{stem}.bvec"), image.affine)
    np.save(folder / "directions.npy", table.directions)
