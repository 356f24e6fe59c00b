"""Volumes that are left out of a scan."""

from __future__ import annotations

import attrs
import nibabel
import numpy as np
import pytest
from examples import candidates_of, make

from dmri7t.errors import InputError
from dmri7t.interfaces.assemble import AssembleScan
from dmri7t.io.checks import check_scan
from dmri7t.io.gradients import read_table
from dmri7t.io.scan import Candidate
from dmri7t.io.volumes import read_kept, without_volumes


def test_those_of_the_sidecar_and_of_the_user_are_left_out(tmp_path):
    skeleton = {**make.make_dataset("good/excluded_volumes", tmp_path)}
    skeleton["arguments"] = ["--exclude-volumes", "3,5-6", "last"]
    (scan,) = (c.scan for c in candidates_of(skeleton, tmp_path)[1] if c.taken)
    check_scan(scan)
    affine = nibabel.load(scan.dwi).affine
    kept = [0, 1, 2, 4, *range(7, 16)]
    whole = read_table(scan.bval, scan.bvec, affine)
    table = read_kept(scan, affine)
    assert np.array_equal(table.bvals, whole.bvals[kept])
    assert np.array_equal(table.directions, whole.directions[kept])


@pytest.mark.parametrize("listed", ["3", [1.5], [-2], [True], {"a": 1}])
def test_a_sidecar_that_lists_no_volumes_is_refused(make_scan, tmp_path, listed):
    scan = attrs.evolve(make_scan(tmp_path), sidecar={"ExcludedVolumes": listed})
    (candidate,) = without_volumes([Candidate(scan.dwi, scan=scan)], [])
    with pytest.raises(InputError, match="ExcludedVolumes in its sidecar must list volumes"):
        check_scan(candidate.scan)


def test_a_volume_that_is_not_there_is_refused(make_scan, tmp_path):
    scan = attrs.evolve(make_scan(tmp_path), excluded=(18,))
    with pytest.raises(InputError, match="has 18 volumes, 0 to 17, and volume 18 is to be left"):
        check_scan(scan)


def test_a_broken_direction_is_named_by_its_number_on_disk(make_scan, tmp_path):
    scan = make_scan(tmp_path)
    bvecs = np.loadtxt(scan.bvec)
    bvecs[:, 9] = 0
    np.savetxt(scan.bvec, bvecs)
    with pytest.raises(
        InputError, match=r"bvec: volume 9 has b = 1000 but no direction \(zeros\); m"
    ):
        check_scan(attrs.evolve(scan, excluded=(3, 4)))
    check_scan(attrs.evolve(scan, excluded=(9,)))


def test_the_assembled_scan_has_the_volumes_and_gradients_that_are_used(make_scan, tmp_path):
    scan = make_scan(tmp_path / "in")
    kept = [0, 2, 3, *range(5, 17)]
    (tmp_path / "node").mkdir()
    assemble = AssembleScan(
        dwi=scan.dwi, bval=scan.bval, bvec=scan.bvec, volumes=[kept], b0_threshold=100
    )
    done = assemble.run(cwd=tmp_path / "node")
    before, after = nibabel.load(scan.dwi), nibabel.load(done.outputs.dwi)
    assert np.array_equal(after.get_fdata(), before.get_fdata()[..., kept].astype(np.float32))
    assert np.array_equal(after.affine, before.affine)
    whole = read_table(scan.bval, scan.bvec, before.affine)
    for grad_b in (None, done.outputs.grad_b):
        table = read_table(done.outputs.bval, done.outputs.bvec, after.affine, grad_b)
        assert np.allclose(table.directions, whole.directions[kept], atol=1e-6)
        assert np.array_equal(table.bvals, whole.bvals[kept])
