"""MRtrix reads the gradients and the scan as they are meant."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from interop.conftest import Written, program, run


def scheme(image, *options: object) -> np.ndarray:
    """Gradients as MRtrix sees them: x, y, z in the scanner's frame, and b."""
    text = run(program("mrinfo", "MRtrix"), image, *options, "-dwgrad")
    return np.array([line.split() for line in text.splitlines()], float)


def fsl(result: Written) -> tuple[object, ...]:
    return ("-fslgrad", result.beside(".bvec"), result.beside(".bval"))


def test_gradients_are_those_of_the_source(result):
    source = result.source
    stem = source.name.removesuffix(".nii.gz")
    files = (source.with_name(f"{stem}.bvec"), source.with_name(f"{stem}.bval"))
    wanted = scheme(source, "-fslgrad", *files)
    assert len(wanted) == 18 and np.abs(wanted[2:, :3]).max() > 0.9
    np.testing.assert_allclose(scheme(result.dwi, *fsl(result)), wanted, rtol=1e-5, atol=2e-5)


def test_both_forms_of_gradients_are_one(written):
    result = written["qsiprep"]
    table = scheme(result.dwi, "-grad", result.beside(".b"))
    np.testing.assert_allclose(scheme(result.dwi, *fsl(result)), table, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("layout", ["qsiprep"])
def test_anisotropy_agrees(written, layout, tmp_path):
    result = written[layout]
    grad = ("-grad", result.beside(".b"))
    tensor, fa = tmp_path / "dt.nii", tmp_path / "fa.nii"
    options = ("-mask", result.mask, "-nthreads", 1, "-quiet")
    run(program("dwi2tensor", "MRtrix"), *grad, *options, result.dwi, tensor)
    run(program("tensor2metric", "MRtrix"), "-fa", fa, *options, tensor)
    inside = nibabel.load(result.mask).get_fdata() > 0
    ours, theirs = (nibabel.load(path).get_fdata()[inside] for path in (result.fa, fa))
    assert inside.sum() > 5000 and ours.std() > 0.1
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert np.median(np.abs(ours - theirs)) < 0.01
