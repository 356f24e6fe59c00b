"""Parts of one acquisition: which are joined, and what becomes of their signals and names."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import nibabel
import numpy as np
import pytest
from conftest import tensor_phantom

from dmri7t.interfaces.assemble import AssembleScan
from dmri7t.io.checks import check_scan
from dmri7t.io.gradients import read_table
from dmri7t.io.parts import join_parts, part_remarks, why_apart
from dmri7t.io.scan import Candidate
from dmri7t.io.volumes import describe_excluded, read_kept, used_volumes
from dmri7t.signal.gradients import MIN_DIRECTIONS

SHARED = {
    "EchoTime": 0.09,
    "RepetitionTime": 5.0,
    "PhaseEncodingDirection": "j-",
    "TotalReadoutTime": 0.05,
}


@pytest.fixture
def two_parts(make_scan, tmp_path):
    """Two shells of one head, a series each; the second has another scale."""
    scans = []
    for run, (bval, n) in enumerate({1000: 16, 2000: 12}.items(), start=1):
        scan = make_scan(tmp_path / f"run-{run}", shells={bval: n}, seed=run)
        entities = {"sub": "01", "dir": "AP", "run": str(run)}
        uri = f"bids:raw:sub-01/dwi/sub-01_dir-AP_run-{run}_dwi.nii.gz"
        scans.append(
            attrs.evolve(
                scan, sidecar={**SHARED, "Run": run}, entities=entities, uri=uri, kind="raw"
            )
        )
    image = nibabel.load(scans[1].dwi)
    scaled = nibabel.Nifti1Image((1.25 * image.get_fdata()).astype(np.float32), image.affine)
    nibabel.save(scaled, scans[1].dwi)
    return scans


def joined(scans):
    return join_parts([Candidate(scan.dwi, scan=scan) for scan in scans])


def test_parts_are_one_scan_with_what_they_share(two_parts):
    first, second = joined(two_parts)
    scan = first.scan
    assert second.joined and not second.taken and second.reason.startswith("with sub-01_dwi")
    assert scan.stem == "sub-01_dir-AP" and scan.parts == tuple(two_parts)
    assert scan.sidecar == SHARED
    assert scan.uris == [part.uri for part in two_parts] and scan.dwi == two_parts[0].dwi
    check_scan(scan)
    (line,) = part_remarks([scan])
    assert line.startswith("sub-01_dir-AP: joined from sub-01_dwi.nii.gz and sub-01_dwi.nii.gz")


def test_a_name_that_another_scan_has_is_not_taken(two_parts, make_scan, tmp_path):
    other = make_scan(tmp_path / "other")
    entities = {"sub": "01", "dir": "AP"}
    other = attrs.evolve(other, entities=entities, kind="raw", sidecar={"EchoTime": 0.1})
    taken = [c.scan for c in joined([other, *two_parts]) if c.taken]
    assert [scan.stem for scan in taken] == ["sub-01_dir-AP", "sub-01_dir-AP_run-1"]
    assert len(taken[1].parts) == 2
    assert "not joined (not both of their sidecars say" in part_remarks(taken)[1]


CHANGES = {
    "PhaseEncodingDirection": ("j", "differs (j- and j)"),
    "EchoTime": (0.095, "EchoTime differs (0.09 and 0.095)"),
    "RepetitionTime": (None, "RepetitionTime differs (5.0 and not told)"),
    "TotalReadoutTime": (0.06, "TotalReadoutTime differs"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_what_differs_is_not_joined_and_named(two_parts, field):
    value, reason = CHANGES[field]
    one, other = two_parts
    other = attrs.evolve(other, sidecar={**other.sidecar, field: value})
    assert reason in why_apart(one, other)
    assert all(c.taken and not c.scan.parts for c in joined([one, other]))
    lines = part_remarks([one, other])
    if field == "PhaseEncodingDirection":
        assert len(lines) == 1 and "acquired in opposite directions (j and j-)" in lines[0]
    else:
        assert len(lines) == 1 and f"not joined ({field} differs" in lines[0]


def test_unknown_direction_moved_grid_and_missing_b0_keep_parts_apart(two_parts, tmp_path):
    one, other = two_parts
    unknown = attrs.evolve(other, sidecar={"EchoTime": 0.09, "RepetitionTime": 5.0})
    assert "say the PhaseEncodingDirection" in why_apart(one, unknown)
    without = tmp_path / "without_b0.bval"
    without.write_text(" ".join(["300", "300", *["2000"] * 12]))
    assert "not each of them has a b0" in why_apart(one, attrs.evolve(other, bval=without))
    image = nibabel.load(other.dwi)
    moved = image.affine.copy()
    moved[0, 3] += 1.0
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), moved), other.dwi)
    assert why_apart(one, other) == "they lie on different grids"


def test_what_another_program_resampled_is_not_joined(two_parts):
    scans = [attrs.evolve(scan, kind="qsiprep") for scan in two_parts]
    assert [c.scan for c in joined(scans)] == scans and part_remarks(scans) == []


def test_an_identity_joins_names_that_differ_and_parts_those_that_do_not(two_parts):
    one, other = two_parts
    names = [{"sub": "01", "rec": "a"}, {"sub": "01", "rec": "b"}]
    ids = ("dwi_1", "dwi_1")
    for mark, expected in ((ids, 1), (("dwi_1", "dwi_2"), 2)):
        scans = [
            attrs.evolve(scan, entities=own, sidecar={**scan.sidecar, "MultipartID": identity})
            for scan, own, identity in zip((one, other), names, mark, strict=True)
        ]
        assert sum(c.taken for c in joined(scans)) == expected
    assert sum(c.taken for c in joined([attrs.evolve(one, entities=names[0]), other])) == 2


def test_few_directions_of_a_part_are_enough_together(two_parts):
    one, other = two_parts
    few = tuple(range(2 + MIN_DIRECTIONS - 1, 18))
    scan = joined([attrs.evolve(one, excluded=few), other])[0].scan
    check_scan(scan)
    assert [len(rows) for rows in used_volumes(scan)] == [7, 14]
    assert describe_excluded(scan).endswith("17 of sub-01_dwi.nii.gz")


@pytest.mark.parametrize("with_mask", [False, True])
def test_the_joined_scan_has_one_scale_and_all_gradients(two_parts, tmp_path, with_mask):
    one, other = two_parts
    scan = joined([one, attrs.evolve(other, excluded=(3,))])[0].scan
    image = nibabel.load(one.dwi)
    (tmp_path / "node").mkdir()
    if with_mask:
        inside = tensor_phantom(image.shape[:3], np.zeros(1), np.zeros((1, 3)))[1]
        mask = nibabel.Nifti1Image(inside.astype(np.uint8), image.affine)
        nibabel.save(mask, tmp_path / "mask.nii")
    done = AssembleScan(
        dwi=[str(part.dwi) for part in scan.parts],
        bval=[str(part.bval) for part in scan.parts],
        bvec=[str(part.bvec) for part in scan.parts],
        volumes=[list(rows) for rows in used_volumes(scan)],
        sources=scan.uris,
        b0_threshold=100.0,
        **({"mask": str(tmp_path / "mask.nii")} if with_mask else {}),
    ).run(cwd=tmp_path / "node")
    whole = nibabel.load(done.outputs.dwi).get_fdata()
    assert whole.shape[3] == 18 + 13
    assert np.array_equal(whole[..., :18], image.get_fdata())
    # the noise of the two medians is what is left
    record = json.loads(Path(done.outputs.joined).read_text())
    assert [part["volumes"] for part in record] == [18, 13]
    assert record[0]["scale"] == 1 and record[1]["scale"] == pytest.approx(1 / 1.25, rel=0.01)
    unscaled = nibabel.load(other.dwi).get_fdata()
    kept = [0, 1, 2, *range(4, 14)]
    assert np.allclose(whole[..., 18:], record[1]["scale"] * unscaled[..., kept], rtol=1e-5)
    table = read_table(done.outputs.bval, done.outputs.bvec, image.affine, done.outputs.grad_b)
    expected = read_kept(scan, image.affine)
    assert np.array_equal(table.bvals, expected.bvals)
    assert list(table.bvals[[0, 2, 18, 20]]) == [0, 1000, 0, 2000]
    assert np.allclose(table.directions, expected.directions, atol=1e-6)
