"""Results that are whole, and those that are not."""

import nibabel
import numpy as np
import pytest

from dmri7t.io.verify import find_fault


def test_whole_results_have_no_fault(tmp_path):
    nibabel.save(
        nibabel.Nifti1Image(np.ones((3, 4, 5, 2), np.float32), np.eye(4)), tmp_path / "a.nii.gz"
    )
    nibabel.save(
        nibabel.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.eye(4)), tmp_path / "m.nii.gz"
    )
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "a.bval").write_text("0 1000\n")
    (tmp_path / "a.html").write_text("<html></html>\n")
    (tmp_path / "sub-1_desc-x.y_dwi.tsv").write_text("a\tb\n")
    for path in list(tmp_path.iterdir()):
        assert find_fault(path, tmp_path) == ""
    assert len(list(tmp_path.iterdir())) == 6


def test_faults_are_named(tmp_path):
    values = np.ones((8, 9, 10, 3), np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "whole.nii.gz")
    whole = (tmp_path / "whole.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[:-20])
    values[1, 2, 3, 2] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "nan.nii.gz")
    texts = {"cut.json": '{"a": ', "list.json": "[]", "nan.bval": "0 nan\n", "cut.html": "<html>"}
    for name, text in {**texts, "empty.tsv": ""}.items():
        (tmp_path / name).write_text(text)
    damaged = {
        "cut.nii.gz": "cannot be",
        "nan.nii.gz": "volume 2",
        "cut.json": "cannot be read",
        "list.json": "is no sidecar",
        "nan.bval": "no finite numbers",
        "cut.html": "cut short",
        "empty.tsv": "is empty",
        "gone.json": "is missing",
    }
    for name, words in damaged.items():
        fault = find_fault(tmp_path / name, tmp_path)
        assert name in fault and words in fault, fault


@pytest.mark.parametrize("name", ["a.bvec", "a.b"])
def test_tables_of_gradients(tmp_path, name):
    (tmp_path / name).write_text("1 0 0\n0 1 0\n")
    assert find_fault(tmp_path / name, tmp_path) == ""
