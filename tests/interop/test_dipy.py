"""DIPY's command line reads the scan and finds the same anisotropy."""

from __future__ import annotations

import nibabel
import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

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


def test_maps_of_the_input_are_dipys(written):
    """FA and MD of the scan that came in, on its own grid."""
    source = written["bids"].source
    image = nibabel.load(source)
    stem = str(source).removesuffix(".nii.gz")
    table = gradient_table(
        np.loadtxt(f"{stem}.bval"), bvecs=np.loadtxt(f"{stem}.bvec").T, b0_threshold=50
    )
    theirs = TensorModel(table, fit_method="WLS").fit(image.get_fdata())
    after = written["bids"].fa
    fa, md = (
        nibabel.load(after.with_name(after.name.replace("param-fa_desc-7Tlike", name)))
        for name in ("param-fa_desc-native", "param-md_desc-native")
    )
    np.testing.assert_allclose(fa.affine, image.affine, atol=1e-5)
    # DIPY moves negative eigenvalues, which only noise gives, to zero
    inside = (md.get_fdata() > 0) & (theirs.evals.min(-1) > 1e-5)
    assert inside.sum() > 2000
    off_fa = np.abs(fa.get_fdata() - theirs.fa)[inside]
    off_md = np.abs(md.get_fdata() - theirs.md)[inside]
    assert off_fa.max() < 5e-3 and off_md.max() < 5e-6, (off_fa.max(), off_md.max())
