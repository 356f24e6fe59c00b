"""DIPY's command line reads the scan and finds the same anisotropy."""

from __future__ import annotations

import nibabel
import numpy as np

from interop.conftest import program, run


def test_info_reads_every_file(result):
    files = (result.dwi, result.beside(".bval"), result.beside(".bvec"))
    run(program("dipy_info", "DIPY"), *files)


def test_tensor_agrees(written, tmp_path):
    result = written["bids"]
    run(
        program("dipy_fit_dti", "DIPY"),
        result.dwi,
        result.beside(".bval"),
        result.beside(".bvec"),
        result.mask,
        "--out_dir",
        tmp_path,
        "--save_metrics",
        "fa",
        "evec",
    )
    inside = nibabel.load(result.mask).get_fdata() > 0
    ours, theirs = (
        nibabel.load(path).get_fdata()[inside] for path in (result.fa, tmp_path / "fa.nii.gz")
    )
    assert inside.sum() > 5000 and ours.std() > 0.1
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert np.median(np.abs(ours - theirs)) < 0.01
