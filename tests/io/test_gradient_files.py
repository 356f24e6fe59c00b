"""Gradient files: every usual form is read, every unusual one is told."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.errors import InputError
from dmri7t.io.gradients import read_bvals, read_bvecs, read_table, write_fsl

OBLIQUE = np.array([[-2, 0.3, 0, 1], [0.3, 2, 0.1, 2], [0, -0.1, 2.5, 3], [0, 0, 0, 1]])


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", ["0 1000 2000\n", "0\n1000\n2000", "0,1000,2000", "0\t1e3 2000 \n"]
)
def test_bvals_in_row_or_column(tmp_path, text):
    assert read_bvals(write(tmp_path / "a.bval", text)).tolist() == [0, 1000, 2000]


@pytest.mark.parametrize("text", ["0 nan", "0 -1000", "0 b1000", "0 inf", "\x00\xff"])
def test_bvals_that_cannot_be(tmp_path, text):
    with pytest.raises(InputError, match=r"a\.bval: .*; mend the bval file"):
        read_bvals(write(tmp_path / "a.bval", text))


def test_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"a\.bval: .*is missing; add it"):
        read_bvals(tmp_path / "a.bval")


def test_bvecs_in_rows_or_columns(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 5))
    np.savetxt(tmp_path / "rows", vectors)
    np.savetxt(tmp_path / "columns", vectors.T)
    np.testing.assert_allclose(read_bvecs(tmp_path / "rows"), vectors)
    np.testing.assert_allclose(read_bvecs(tmp_path / "columns"), vectors)


@pytest.mark.parametrize("text", ["1 0", "1 0\n0 1", "1 0\n0 1\n0", "x y\n0 1\n0 1"])
def test_bvecs_of_another_shape(tmp_path, text):
    with pytest.raises(InputError, match=r"a\.bvec: .*mend the bvec file"):
        read_bvecs(write(tmp_path / "a.bvec", text))


@pytest.mark.parametrize("affine", [np.diag([-2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1]), OBLIQUE])
def test_what_is_written_is_read(tmp_path, affine):
    bvals, vectors = np.array([0, 995.5, 2000]), np.array([[0, 0.6, 0], [0, 0.8, 0], [0, 0, 1.0]])
    np.savetxt(tmp_path / "a.bval", bvals[None])
    np.savetxt(tmp_path / "a.bvec", vectors)
    table = read_table(tmp_path / "a.bval", tmp_path / "a.bvec", affine)
    write_fsl(table, affine, tmp_path / "b.bval", tmp_path / "b.bvec")
    np.testing.assert_allclose(read_bvals(tmp_path / "b.bval"), bvals)
    np.testing.assert_allclose(read_bvecs(tmp_path / "b.bvec"), vectors, atol=1e-7)


def test_file_in_the_scanner_frame_goes_first(tmp_path):
    write(tmp_path / "a.bval", "0 1000")
    write(tmp_path / "a.bvec", "0 1\n0 0\n0 0")
    write(tmp_path / "a.b", "# made by hand\n0 0 0 0\n0 0 2 1000\n")
    table = read_table(tmp_path / "a.bval", tmp_path / "a.bvec", OBLIQUE, tmp_path / "a.b")
    assert table.directions.tolist() == [[0, 0, 0], [0, 0, 1]]
    with pytest.raises(InputError, match=r"a\.b: expected 2 rows"):
        write(tmp_path / "a.b", "0 0 0 0\n")
        read_table(tmp_path / "a.bval", tmp_path / "a.bvec", OBLIQUE, tmp_path / "a.b")


def test_files_that_do_not_belong_together(tmp_path):
    write(tmp_path / "a.bval", "0 1000 1000")
    write(tmp_path / "a.bvec", "0 1\n0 0\n0 0")
    with pytest.raises(InputError, match=r"a\.bvec: 2 directions but 3 b-values in a\.bval"):
        read_table(tmp_path / "a.bval", tmp_path / "a.bvec", OBLIQUE)
