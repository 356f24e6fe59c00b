"""Peaks and streamlines are counted on both sides, along the fibres that are there."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from attrs import evolve
from reports.conftest import affine_of
from reports.reading import read_page
from safetensors.numpy import save_file

from dmri7t.reports import MapFile, ScanMaps, SignalRows, write_report
from dmri7t.reports.tracts import compare_tracts
from dmri7t.reports.views import View


def directions(n: int) -> np.ndarray:
    i = np.arange(n) + 0.5
    z, phi = i / n, np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(phi), flat * np.sin(phi), z], 1)


def straight(folder, tag: str, size: float, kind: str, table: np.ndarray) -> ScanMaps:
    """A box of 60 x 24 x 24 mm, whose fibres run along its length, the scanner's x."""
    long, short = round(60 / size), round(24 / size)
    shape = {"PSR": (short, short, long)}.get(kind, (long, short, short))
    affine = affine_of(size, shape, kind)
    mask = np.ones(shape, bool)
    mask[0] = mask[:, 0] = mask[..., 0] = False
    n = int(mask.sum())
    signal = np.exp(-1000 * (0.3e-3 + 1.4e-3 * table[:, :1] ** 2)) * np.ones((1, n)) * 500
    save_file({"fa": np.full(n, 0.8, np.float32)}, folder / f"{tag}.safetensors")
    np.save(folder / f"{tag}.npy", signal.astype(np.float32))
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), affine), folder / f"{tag}_mask.nii")
    b0 = np.full(shape, 500, np.float32)
    nibabel.save(nibabel.Nifti1Image(b0, affine), folder / f"{tag}_b0.nii")
    return ScanMaps(
        mask=folder / f"{tag}_mask.nii",
        b0=MapFile(folder / f"{tag}_b0.nii"),
        rish=(),
        fa=MapFile(folder / f"{tag}.safetensors", "fa"),
        signal=SignalRows(folder / f"{tag}.npy", tuple(range(len(table))), 1000.0),
    )


@pytest.mark.parametrize("kind", ["LPS", "PSR"])
def test_straight_fibres(tmp_path, kind):
    table = directions(30)
    before, after = (
        straight(tmp_path, tag, size, kind, table) for tag, size in (("in", 2.5), ("out", 2.1))
    )
    tracts = compare_tracts(before, after, table)
    assert tracts.seeds == min(2000, int(View.open(before.mask).mask_XYZ.sum()))
    for _, side in tracts.sides:
        assert side.peaks == (1.0, 0.0, 0.0)
        # a wrong frame would let them run across, 24 mm at most
        assert side.streamlines > 0.9 * tracts.seeds and 48 < side.median_mm < 62
    few = evolve(before, signal=evolve(before.signal, rows=tuple(range(14))))
    assert compare_tracts(few, after, table) is None
    assert compare_tracts(evolve(before, fa=None), after, table) is None


def test_counts_are_shown(participant, tmp_path):
    from dmri7t.reports.records import TractCounts, Tracts

    one, other = TractCounts((0.7, 0.25, 0.05), 1200, 41.2), TractCounts((0.8, 0.2, 0.0), 1400, 52)
    scan = evolve(participant.scans[0], tracts=Tracts(2000, 20.0, one, other))
    text, _ = read_page(write_report(evolve(participant, scans=(scan,)), tmp_path)[0])
    assert "3T input 70 % 25 % 5 % 1200 of 2000 41 mm" in text
    assert "7T-like output 80 % 20 % 0 % 1400 of 2000 52 mm" in text
