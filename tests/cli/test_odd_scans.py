"""Scans as they come: thick slices, few directions, odd b-values, frames, bytes and shells.

One run of the real command over three scans of a participant, the last of which is unfit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from examples import make
from scipy.ndimage import binary_erosion, map_coordinates

from dmri7t.io.gradients import read_table

RANGE = (700, 3000)
"""b-values of the tiny model."""


@dataclass
class Odd:
    """A scan of the examples' phantom."""

    name: str
    shape: tuple[int, int, int]
    voxel: tuple[float, float, float]
    bvals: np.ndarray
    directions: np.ndarray
    flip: tuple[int, int, int] = (-1, 1, 1)
    tilt: float = 0.0
    ending: str = ".nii.gz"
    dtype: str = "<f4"
    scaling: tuple[float, float] | None = None
    affine: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        frame = {"voxel": self.voxel, "flip": self.flip, "tilt": self.tilt, "shape": self.shape}
        self.affine = make.make_affine(frame)

    def write(self, root: Path) -> None:
        """Image, bval, bvec and sidecar."""
        from dmri7t.signal.gradients import GradientTable

        data = make.phantom(self.shape, self.affine, self.bvals, self.directions, seed=1)
        header = nibabel.Nifti1Header(endianness=self.dtype[0])
        header.set_data_dtype(np.dtype(self.dtype))
        if self.scaling:
            slope, inter = self.scaling
            data = np.round((data - inter) / slope).astype(self.dtype)
            header.set_slope_inter(slope, inter)
        stem = root / self.name
        stem.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(data.astype(self.dtype), self.affine, header)
        nibabel.save(image, f"{stem}_dwi{self.ending}")
        table = GradientTable(self.bvals, self.directions)
        Path(f"{stem}_dwi.bval").write_text(" ".join(f"{b:g}" for b in self.bvals) + "\n")
        np.savetxt(f"{stem}_dwi.bvec", table.to_fsl(self.affine), fmt="%.6f")
        Path(f"{stem}_dwi.json").write_text('{"EchoTime": 0.08, "MagneticFieldStrength": 3}')


def thick() -> Odd:
    """1.7 x 1.7 x 5 mm, oblique, scaled integers, 12 directions at b = 930, one b0 amidst them."""
    bvals, directions = np.full(13, 930.0), np.zeros((13, 3))
    bvals[6] = 0
    directions[bvals > 0] = make.spiral_directions(12)
    return Odd(
        "sub-01/ses-a/dwi/sub-01_ses-a_acq-thick_dir-AP_run-1",
        (36, 40, 14),
        (1.7, 1.7, 5.0),
        bvals,
        directions,
        tilt=17,
        dtype="<i2",
        scaling=(0.05, 12.0),
    )


def mixed() -> Odd:
    """Big-endian, not compressed, LPS+; b0s between volumes whose b-values jitter.

    Of its five shells one is good, one has 5 directions, one 8 volumes of 4 directions, and two
    lie beyond the range of the model.
    """
    shells = [
        (np.tile([995.0, 1005.0], 8), make.spiral_directions(16)),
        (np.full(5, 1700.0), make.spiral_directions(5)),
        (np.full(8, 2500.0), np.tile(make.spiral_directions(4), (2, 1))),
        (np.full(9, 4000.0), make.spiral_directions(9)),
        (np.full(6, 300.0), make.spiral_directions(6)),
    ]
    bvals = np.concatenate([b for b, _ in shells])
    directions = np.concatenate([d for _, d in shells])
    mixing = np.random.default_rng(0).permutation(len(bvals))
    places = np.arange(0, len(bvals), 10)
    bvals = np.insert(bvals[mixing], places, 5.0)
    directions = np.insert(directions[mixing], places, 0.0, axis=0)
    return Odd(
        "sub-01/ses-a/dwi/sub-01_ses-a_acq-mixed_dir-PA_run-2",
        (26, 28, 24),
        (2.5, 2.5, 2.5),
        bvals,
        directions,
        flip=(-1, -1, 1),
        ending=".nii",
        dtype=">f4",
    )


def short(n_directions: int = 4, run: int = 2) -> Odd:
    """Four directions are too few for anything."""
    bvals = np.array([0.0, *[1000.0] * n_directions])
    directions = np.concatenate([np.zeros((1, 3)), make.spiral_directions(n_directions)])
    name = f"sub-01/ses-b/dwi/sub-01_ses-b_run-{run}"
    return Odd(name, (24, 24, 24), (2.5, 2.5, 2.5), bvals, directions)


def unfit() -> Odd:
    """Directions enough, one of which :func:`finished` makes no number."""
    return short(8, run=1)


@dataclass(frozen=True)
class Finished:
    """What a run of the command left."""

    root: Path
    out: Path
    code: int
    said: str

    def after(self, scan: Odd, ending: str) -> Path:
        return self.out / f"{scan.name}_desc-{ending}"


@pytest.fixture(scope="module")
def finished(tiny_model, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("odd")
    for scan in (thick(), mixed(), unfit(), short()):
        scan.write(folder / "in")
    bvec = folder / "in" / f"{unfit().name}_dwi.bvec"
    first, *rest = bvec.read_text().splitlines()
    bvec.write_text("\n".join([" ".join([*first.split()[:-1], "nan"]), *rest]) + "\n")
    described = {"Name": "odd scans", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "in/dataset_description.json").write_text(json.dumps(described))
    (folder / "in/README").write_text("Odd scans.\n")
    command = [sys.executable, "-m", "dmri7t.cli.app", folder / "in", folder / "out", "participant"]
    command += ["--model", tiny_model, "-w", folder / "work", "--samples", 1, "--nprocs", 2]
    run = subprocess.run(
        [str(part) for part in [*command, "--consistency"]],
        capture_output=True,
        text=True,
        timeout=400,
    )
    return Finished(folder / "in", folder / "out", run.returncode, run.stdout + run.stderr)


def test_unfit_scan_is_named_and_the_others_are_done(finished):
    assert finished.code == 1, finished.said
    assert (
        "skipped  sub-01/ses-b/dwi/sub-01_ses-b_run-1_dwi.nii.gz: cannot be used" in finished.said
    )
    assert "run-1_dwi.bvec: volume 8 has a direction that is no number" in finished.said
    assert "sub-01 done with its other scans" in finished.said
    assert f"report: {finished.out / 'sub-01.html'}" in finished.said
    for scan in (thick(), mixed()):
        assert finished.after(scan, "7Tlike_dwi.nii.gz").is_file()
    assert not (finished.out / "sub-01/ses-b").exists()
    page = (finished.out / "sub-01.html").read_text()
    assert "Scans of this participant that could not be used" in page
    assert "sub-01/ses-b/dwi/sub-01_ses-b_run-1_dwi.bvec: volume 8 has a direction" in page
    assert str(finished.root) not in page.split('id="run"')[0]


def test_a_short_series_is_skipped_and_is_no_failure(finished):
    name = f"{short().name}_dwi.nii.gz"
    line = next(x for x in finished.said.splitlines() if name in x)
    assert line.strip().startswith("skipped") and "4 different directions" in line
    assert (
        "run-2"
        not in (finished.out / "sub-01.html").read_text().split("could not be used")[1][:600]
    )


@pytest.mark.parametrize("make_odd", [thick, mixed])
def test_grid_gradients_and_values(finished, make_odd):
    scan = make_odd()
    image = nibabel.load(finished.after(scan, "7Tlike_dwi.nii.gz"))
    sizes = nibabel.affines.voxel_sizes(image.affine)
    np.testing.assert_allclose(sizes, np.array(scan.voxel) * 1.05 / 1.25, rtol=1e-4)
    axes = image.affine[:3, :3] / sizes
    np.testing.assert_allclose(axes, scan.affine[:3, :3] / scan.voxel, atol=1e-5)
    centre = image.affine @ [*((np.array(image.shape[:3]) - 1) / 2), 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-3)  # where the phantom's is
    data = image.get_fdata(dtype=np.float32)
    assert data.shape[3] == len(scan.bvals) and np.isfinite(data).all() and data.min() >= 0
    mask = nibabel.load(finished.after(scan, "brain_mask.nii.gz")).get_fdata() > 0
    assert 0.05 < mask.mean() < 0.6 and data[~mask].max() == 0
    stem = str(finished.after(scan, "7Tlike_dwi"))
    table = read_table(f"{stem}.bval", f"{stem}.bvec", image.affine)
    np.testing.assert_allclose(table.bvals, scan.bvals)
    np.testing.assert_allclose(table.directions, scan.directions, atol=1e-4)


@pytest.mark.parametrize("make_odd", [thick, mixed])
def test_bundle_runs_as_it_did(finished, make_odd):
    """By DIPY and the written files alone: at the middle, fibres run 23 degrees from x to y."""
    scan = make_odd()
    stem = str(finished.after(scan, "7Tlike_dwi"))
    image = nibabel.load(f"{stem}.nii.gz")
    index = np.stack(np.meshgrid(*map(np.arange, image.shape[:3]), indexing="ij"), -1)
    world = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    extent = 0.38 * np.abs(scan.affine[:3, :3]).sum(1) * scan.shape
    place = world / extent
    radius = np.linalg.norm(place, axis=-1)
    chosen = (np.abs(place[..., 0]) < 0.12) & (radius > 0.35) & (radius < 0.6)
    assert chosen.sum() > 30
    low = scan.bvals < 1500
    # FSL's convention by hand, not by the package's own reader
    bvecs = np.loadtxt(f"{stem}.bvec")
    if np.linalg.det(image.affine[:3, :3]) > 0:
        bvecs[0] *= -1
    turn = image.affine[:3, :3] / nibabel.affines.voxel_sizes(image.affine)
    gtab = gradient_table(scan.bvals[low], bvecs=(turn @ bvecs).T[low], b0_threshold=100, atol=0.1)
    values = image.get_fdata()[chosen][:, low]
    direction = TensorModel(gtab).fit(np.maximum(values, 1)).evecs[..., 0]
    expected = np.array([np.cos(0.4), np.sin(0.4), 0.0])
    off = np.degrees(np.arccos(np.clip(np.abs(direction @ expected), 0, 1)))
    assert np.median(off) < 10, off


def test_sidecar_and_page_say_which_shells_the_model_made(finished):
    sidecar = json.loads(finished.after(mixed(), "7Tlike_dwi.json").read_text())
    assert sidecar["TranslatedShells"] == [1000.0]
    interpolated = {shell["BValue"]: shell for shell in sidecar["InterpolatedShells"]}
    beyond = f"outside the range of the model, b {RANGE[0]} to {RANGE[1]} s/mm2"
    assert {b: shell["Reason"] for b, shell in interpolated.items()} == {
        300.0: beyond,
        1700.0: "5 different directions, 6 are needed",
        2500.0: "4 different directions, 6 are needed",
        4000.0: beyond,
    }
    assert (interpolated[2500.0]["Volumes"], interpolated[2500.0]["Directions"]) == (8, 4)
    assert sidecar["ConsistencyFraction"] == 0.25
    assert f"b4000 ({beyond})" in finished.said
    page = (finished.out / "sub-01.html").read_text()
    for words in (f"b4000 ({beyond})", "b2500 (4 different directions", "below 0.25 of the input"):
        assert words in page, words
    # the thick scan's one shell went through, at order 2: no R4 to tell of
    sidecar = json.loads(finished.after(thick(), "7Tlike_dwi.json").read_text())
    assert sidecar["TranslatedShells"] == [930.0] and sidecar["InterpolatedShells"] == []
    rows = finished.after(thick(), "quality_dwi.tsv").read_text().splitlines()
    shell = dict(zip(rows[0].split("\t"), rows[2].split("\t"), strict=True))
    assert shell["group"] == "b930" and shell["sh_order"] == "2"
    assert float(shell["difference_r2"]) > 0 and shell["difference_r4"] == "n/a"
    assert 0 <= float(shell["beyond_r0"]) <= 1
    assert "Departure from the input, b930" in page


def test_other_shells_are_the_input_interpolated(finished):
    scan = mixed()
    before = nibabel.load(finished.root / f"{scan.name}_dwi.nii").get_fdata()
    image = nibabel.load(finished.after(scan, "7Tlike_dwi.nii.gz"))
    mask = nibabel.load(finished.after(scan, "brain_mask.nii.gz")).get_fdata() > 0
    # at the mask's rim the spline sees other neighbours
    index = np.argwhere(binary_erosion(mask, iterations=5))[::3]
    assert len(index) > 100
    home = nibabel.affines.apply_affine(np.linalg.inv(scan.affine) @ image.affine, index).T
    for bval in (4000, 2500, 1700, 300, 5):
        volume = int(np.flatnonzero(scan.bvals == bval)[0])
        expected = map_coordinates(before[..., volume], home, order=3, mode="mirror").clip(0)
        got = image.dataobj[..., volume][tuple(index.T)]
        np.testing.assert_allclose(got, expected, atol=0.02 * expected.max())
        assert np.abs(got - expected).mean() < 0.003 * expected.mean()
