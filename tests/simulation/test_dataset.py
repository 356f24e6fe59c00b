"""The paired data set on disk."""

import json

import nibabel
import numpy as np
import torch

from dmri7t.cli.model import main
from dmri7t.io.checks import check_scan
from dmri7t.io.dataset import check_dataset
from dmri7t.io.gradients import read_bvals
from dmri7t.io.source import open_dataset
from dmri7t.signal.grids import Grid
from dmri7t.signal.resample import interpolate


def test_simulate_writes_valid_pairs(tmp_path):
    main(
        [
            "simulate",
            str(tmp_path),
            "--subjects",
            "1",
            "--seed",
            "3",
            "--voxel-size",
            "7",
            "--voxel-size-7t",
            "6",
            "--directions",
            "12",
            "--b0s",
            "2",
            "--shells",
            "1000",
            "2000",
        ]
    )
    check_dataset(tmp_path)
    scans = open_dataset(tmp_path).scans("sim003000")
    assert [s.entities["ses"] for s in scans] == ["3T", "7T"]
    images = []
    for scan in scans:
        check_scan(scan)
        images.append(nibabel.load(scan.dwi))
        field = json.loads(
            scan.dwi.with_name(scan.dwi.name.replace(".nii.gz", ".json")).read_text()
        )
        assert field["MagneticFieldStrength"] == int(scan.entities["ses"][0])
    low, high = images
    assert low.shape[3] == high.shape[3] == 26
    assert np.allclose(low.header.get_zooms()[:3], 7) and np.allclose(
        high.header.get_zooms()[:3], 6
    )
    # the same head in the same place: the ratio of shell to b0, free of the receive profile
    maps = []
    for image in images:
        data = torch.from_numpy(np.asarray(image.dataobj))
        b0, shell = data[..., :2].mean(-1), data[..., 2:14].mean(-1)
        head = (b0 > 0.3 * b0.median() + 0.2 * b0.max()).numpy()
        maps.append((shell / b0.clamp_min(1), head, Grid(image.shape, image.affine)))
    (low_map, inside, grid), (high_map, _, grid_high) = maps
    brought = interpolate(high_map, grid_high, grid)
    matched, shifted = (
        np.corrcoef(low_map.numpy()[inside], np.roll(brought.numpy(), step, 1)[inside])[0, 1]
        for step in (0, 2)
    )
    assert matched > 0.6 and matched > shifted + 0.2


def test_simulate_writes_hcps_folders(tmp_path):
    size = ["--voxel-size", "8", "--voxel-size-7t", "7", "--head-scale", "0.6"]
    size += ["--directions", "12", "--b0s", "2"]
    main(["simulate", str(tmp_path), "--layout", "hcp", *size, "--shells", "1000", "2000"])
    main(["simulate", str(tmp_path), "--layout", "hcp", *size, "--seed", "1", "--fields", "3"])
    source = open_dataset(tmp_path)
    assert source.kind.name == "hcp" and source.labels == ["000000", "001000"]
    assert list(source.by_session("001000")) == ["3T"]
    scans = source.by_session("000000")
    for field, (lowest, highest) in (("3T", (5, 5)), ("7T", (55, 65))):
        scan = scans[field]
        check_scan(scan)
        image, mask = nibabel.load(scan.dwi), nibabel.load(scan.mask)
        assert image.shape == (*mask.shape, 26)
        inside = np.asarray(mask.dataobj) > 0
        b0 = np.asarray(image.dataobj)[..., 0]
        assert 0.1 < inside.mean() < 0.7
        assert np.median(b0[inside]) > 3 * np.median(b0[~inside])
        bvals = read_bvals(scan.bval)
        assert lowest <= bvals[:2].min() and bvals[:2].max() <= highest
        assert 5 < np.ptp(bvals[2:14]) <= 40 and abs(bvals[2:14].mean() - 1000) < 20
    # nothing is written again
    before = scans["7T"].dwi.stat().st_mtime_ns
    main(["simulate", str(tmp_path), "--layout", "hcp", *size, "--shells", "1000", "2000"])
    assert scans["7T"].dwi.stat().st_mtime_ns == before
