"""Two scans of one head: found, brought together, compared."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from dmri7t.cli.model import main
from dmri7t.evaluation.chain import ShellScan
from dmri7t.evaluation.repeatability import repeatability, summarize_repeats
from dmri7t.evaluation.repeats import Repeat, find_repeats
from dmri7t.signal.grids import Grid
from dmri7t.signal.shell import Brain


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """One head, measured twice, the second time elsewhere and turned."""
    root = tmp_path_factory.mktemp("series")
    layout = "--subjects 1 --fields 3 --voxel-size 6 --voxel-size-7t 5 --head-scale 0.6"
    main(["simulate", str(root), *f"{layout} --b0s 2 --snr 5000 --directions 12".split()])
    (folder,) = root.glob("sub-*/ses-3T/dwi")
    (image,) = map(nibabel.load, folder.glob("*_dwi.nii.gz"))
    clean, rng = image.get_fdata(), np.random.default_rng(0)
    sigma = clean[clean > 0.1 * clean.max()].mean() / 20
    for path in list(folder.glob("*_dwi.*")):
        entities, ending = path.name.split("_dwi", 1)
        for run in ("1", "2"):
            shutil.copy(path, folder / f"{entities}_run-{run}_dwi{ending}")
        path.unlink()
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    turn[:3, 3] = [7, -4, 3]
    for run, affine in (("1", image.affine), ("2", turn @ image.affine)):
        noisy = np.hypot(*(part + sigma * rng.standard_normal(clean.shape) for part in (clean, 0)))
        (path,) = folder.glob(f"*run-{run}_dwi.nii.gz")
        nibabel.save(nibabel.Nifti1Image(noisy.astype(np.float32), affine), path)
    return root, turn


def test_repeatability_tells_noise_from_what_differs():
    generator = torch.Generator().manual_seed(0)
    true_V = 0.2 * torch.randn(50_000, generator=generator)

    def noisy() -> torch.Tensor:
        return true_V + 0.1 * torch.randn(len(true_V), generator=generator)

    found = repeatability(noisy(), noisy())
    assert found.within == pytest.approx(0.01, rel=0.03)
    assert found.between == pytest.approx(0.04, rel=0.03)
    assert found.icc == pytest.approx(0.8, rel=0.02)
    # one answer for all voxels repeats perfectly and says nothing
    same = torch.ones(10)
    flat = repeatability(same, same)
    assert flat.within == flat.between == 0 and np.isnan(flat.icc)


def test_series_of_one_head_make_a_pair_and_come_together(series):
    study, turn = series
    (repeat,) = find_repeats(study)
    assert "run-1" in repeat.pair and "run-2" in repeat.pair
    # the head moved by what the second image's affine says
    corners = np.array([[30, 0, 0, 1], [0, 30, 0, 1], [0, 0, 30, 1], [-20, 10, 5, 1]]).T
    assert np.abs(repeat.motion_44 @ corners - turn @ corners).max() < 1.5
    places = []
    for scan in repeat.scans:
        grid, inside = scan.brain.grid, np.argwhere(scan.brain.mask)
        places.append(inside @ grid.affine[:3, :3].T + grid.affine[:3, 3])
    maps = [{"x": torch.from_numpy(place[:, 0])} for place in places]
    first, second = repeat.together(maps)
    # where something lay in the first scan tells where it lies in the second
    assert len(first["x"]) > 0.5 * repeat.scans[0].brain.n_voxels
    assert torch.corrcoef(torch.stack([first["x"], second["x"]]))[0, 1] > 0.98


def test_a_series_that_has_everything_twice_is_parted(series, tmp_path):
    study = tmp_path / "twice"
    shutil.copytree(series[0], study)
    (folder,) = study.glob("sub-*/ses-3T/dwi")
    for path in folder.glob("*run-2*"):
        path.unlink()
    (path,) = folder.glob("*run-1_dwi.nii.gz")
    base = str(path).removesuffix(".nii.gz")
    image = nibabel.load(path)
    data = np.concatenate([image.get_fdata()] * 2, 3)
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)
    for ending in ("bval", "bvec"):
        table = np.atleast_2d(np.loadtxt(f"{base}.{ending}"))
        np.savetxt(f"{base}.{ending}", np.concatenate([table] * 2, 1), fmt="%.6f")
    (repeat,) = find_repeats(study)
    first, second = repeat.scans
    assert repeat.motion_44 is None and len(first.signal_NV) == len(second.signal_NV) == 12
    # the copy is the same measurement, its b0s the other way about
    torch.testing.assert_close(first.signal_NV, second.signal_NV)
    maps = [{"FA": torch.rand(3)}, {"FA": torch.rand(3)}]
    assert repeat.together(maps) == maps


def test_a_shift_by_half_voxels_is_undone_on_both_sides():
    grid = Grid((8, 4, 4), np.diag([2.0, 2, 2, 1]))
    brain = Brain(np.ones(grid.shape, bool), grid)
    scan = ShellScan(
        signal_NV=torch.ones(6, brain.n_voxels),
        b0_V=torch.ones(brain.n_voxels),
        directions_N3=np.tile(np.eye(3), (2, 1)),
        bval=1000.0,
        n_b0=1,
        brain=brain,
        brain_out=brain,
    )
    motion = np.eye(4)
    motion[0, 3] = 2.0
    repeat = Repeat("a", "a", "b1000", (scan, scan), motion)
    ramp = torch.from_numpy(np.argwhere(brain.mask)[:, 0] * 1.0)
    # a head that moved by a voxel: the second scan shows each place one index on
    first, second = repeat.together([{"x": ramp}, {"x": ramp - 1}])
    torch.testing.assert_close(first["x"], second["x"])
    assert len(first["x"])


def test_other_series_make_no_pair(series, tmp_path, tiny_model, capsys):
    study = tmp_path / "other"
    shutil.copytree(series[0], study)
    (folder,) = study.glob("sub-*/ses-3T/dwi")
    for number, direction in (("1", "j"), ("2", "j-")):
        (path,) = folder.glob(f"*run-{number}_dwi.json")
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"PhaseEncodingDirection": direction})
        )
    assert not list(find_repeats(study))
    command = ["evaluate", str(tiny_model), "--repeats", str(study), "--output", str(tmp_path)]
    with pytest.raises(SystemExit):
        main([*command, "--threads", "1"])
    assert "scanned twice alike" in capsys.readouterr().err


def test_command(series, tiny_model, tmp_path):
    command = f"evaluate {tiny_model} --repeats {series[0]} --output {tmp_path} --threads 1"
    main(command.split())
    text = (tmp_path / "table.md").read_text()
    assert "1 pairs" in text and "| Repeats, R2 |" in text
    table = pd.read_csv(tmp_path / "repeats.tsv", sep="\t").set_index(["method", "map"])
    assert set(table.index.get_level_values("method")) == {
        "interpolation",
        "mppca",
        "filter",
        "tiny",
    }
    assert table.loc[("interpolation", "FA"), "over interpolation"] == 1
    assert table.loc[("filter", "FA"), "over interpolation"] < 1
    pairs = pd.read_csv(tmp_path / "pairs.tsv", sep="\t")
    assert pairs["moved"].between(5, 12).all() and pairs["icc"].between(0.2, 1).all()


def test_pairs_without_mppca_have_no_such_ratio():
    rows = pd.DataFrame(
        {
            "subject": ["a", "a"],
            "method": ["interpolation", "m"],
            "map": ["FA", "FA"],
            "within": [0.02, 0.01],
            "between": [0.04, 0.03],
            "icc": [0.5, 0.7],
            "median": [0.3, 0.31],
        }
    )
    table = summarize_repeats(rows, "interpolation").set_index("method")
    assert table.loc["m", "over interpolation"] == pytest.approx(0.5)
    assert table.loc["m", "between"] == pytest.approx(0.75)
    assert np.isnan(table.loc["m", "over mppca"])
