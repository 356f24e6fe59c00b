"""Files as editors, shells and mishaps leave them: used where that is safe, or one line that helps.

Dry runs, and the function that meets the file where a dry run does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from conftest import tensor_phantom
from examples import make

from dmri7t.cli.app import main
from dmri7t.errors import InputError
from dmri7t.interfaces.prepare import PrepareScan
from dmri7t.io.families import read_families
from dmri7t.io.gradients import read_bvals, read_bvecs
from dmri7t.io.search import Query
from dmri7t.io.texts import read_json, read_text
from dmri7t.signal.mask import brain_mask

STEM = "sub-01/dwi/sub-01_dwi"


@pytest.fixture
def tried(tmp_path, tiny_model, capsys):
    """Run the command over the example of one scan, after something was done to it."""

    def run(change=None, *more: str) -> SimpleNamespace:
        root = tmp_path / "in"
        make.make_dataset("good/single", root)
        if change is not None:
            change(root / STEM)
        options = ["--dry-run", "--model", str(tiny_model), "--skip-bids-validation"]
        with pytest.raises(SystemExit) as stopped:
            main([str(root), str(tmp_path / "out"), "participant", *options, *more])
        said = capsys.readouterr()
        return SimpleNamespace(code=stopped.value.code, said=said.out, complained=said.err)

    return run


def recode(encoding: str):
    """Write all text of a scan and its data set in another encoding, with its mark."""

    def change(stem: Path) -> None:
        texts = [stem.with_suffix(ending) for ending in (".bval", ".bvec", ".json")]
        for path in (*texts, stem.parents[2] / "dataset_description.json"):
            path.write_text(path.read_text(), encoding=encoding)

    return change


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_read(tried, tmp_path, encoding):
    filters = tmp_path / "filters.json"
    filters.write_text('{"dwi": {"datatype": "dwi"}}', encoding=encoding)
    run = tried(recode(encoding), "--bids-filter-file", str(filters))
    assert run.code == 0, run.complained
    assert "  sub-01: 2 b0, b1000 (16 directions)" in run.said


def test_tables_with_a_mark_are_read(tmp_path):
    table = tmp_path / "families.tsv"
    table.write_text("Subject\tFamily_ID\n100307\t5\n", encoding="utf-16")
    assert read_families(table) == {"100307": "5"}


def write(ending: str, text: str):
    return lambda stem: stem.with_suffix(ending).write_text(text)


def exchange(stem: Path) -> None:
    bval, bvec = stem.with_suffix(".bval"), stem.with_suffix(".bvec")
    held = bval.read_text()
    bval.write_text(bvec.read_text())
    bvec.write_text(held)


def scale(factor: float):
    def change(stem: Path) -> None:
        bvals = np.loadtxt(stem.with_suffix(".bval"))
        np.savetxt(stem.with_suffix(".bval"), factor * bvals[None], fmt="%.10g")

    return change


WRONG = {
    "empty bval": (write(".bval", ""), "bval: is empty; copy the bval file again"),
    "blank bval": (write(".bval", "\n \n"), "bval: is empty; copy the bval file again"),
    "empty bvec": (write(".bvec", ""), "bvec: is empty; copy the bvec file again"),
    "exchanged": (
        exchange,
        "bval: holds three rows of small numbers, as a bvec file does",
    ),
    "s/m2": (scale(1e6), "bval: b-values up to 1e+09, which is no b in s/mm2; if their unit is"),
    "ms/um2": (scale(1e-3), "bval: b-values up to 1 with 16 directions, which is hardly any weigh"),
    "a list": (write(".json", "[1, 2]"), "json: holds no JSON object ({...}); mend it"),
    "a picture": (
        lambda stem: stem.with_suffix(".bval").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe"),
        "bval: is no text (invalid start byte); convert it to UTF-8",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_used_is_one_line_with_a_remedy(tried, name):
    change, words = WRONG[name]
    run = tried(change)
    assert run.code == 2
    (line,) = (line for line in run.complained.splitlines() if "sub-01:" in line)
    assert f"{STEM}.{words}" in line and "Traceback" not in run.complained


def test_vectors_that_are_b_values_are_named(tmp_path):
    (tmp_path / "x.bvec").write_text(" ".join(["0", *["1000"] * 6]))
    with pytest.raises(InputError, match=r"x\.bvec: holds one row of 7 numbers, as a bval file do"):
        read_bvecs(tmp_path / "x.bvec")
    # one row of three is one vector, and three b-values are b-values
    (tmp_path / "x.bval").write_text("0 1000 1000")
    assert list(read_bvals(tmp_path / "x.bval")) == [0, 1000, 1000]


def test_small_b_values_of_a_series_without_weighting_stay_what_they_are(tmp_path):
    (tmp_path / "x.bval").write_text("5 5 5 5")
    assert Query([]).why_unweighted(tmp_path / "x.bval").startswith("b0 only (4 volumes)")


@pytest.mark.parametrize("maker", [3, "x", [3], [{"Name": 3}], {"Name": None}, None])
def test_an_odd_maker_is_no_maker(tried, maker):
    def change(stem: Path) -> None:
        path = stem.parents[2] / "dataset_description.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "GeneratedBy": maker}))

    run = tried(change)
    assert run.code == 0, run.complained


LOOK = """
import os, sys
from pathlib import Path
from dmri7t.errors import InputError
from dmri7t.io.checks import check_scan
from dmri7t.io.source import open_source
from dmri7t.io.search import Query

root = Path(sys.argv[1])

def look():
    (candidate,) = open_source(root).find(Query(["01"]))
    check_scan(candidate.scan)

if os.getuid() == 0:
    look()  # root loads what another user may not, and may read everything
    os.seteuid(65534)
for ending in (".bval", ".bvec", ".json", ".nii.gz"):
    closed = root / f"sub-01/dwi/sub-01_dwi{ending}"
    os.seteuid(os.getuid())
    closed.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        look()
    except InputError as error:
        print(error)
    os.seteuid(os.getuid())
    closed.chmod(0o644)
"""


def test_what_may_not_be_read_says_so():
    # not below pytest's own folder, which it closes to other users
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        make.make_dataset("good/single", Path(folder))
        words = [sys.executable, "-c", LOOK, folder]
        run = subprocess.run(words, capture_output=True, text=True)
    assert run.stdout.splitlines() == [
        f"{folder}/{STEM}{ending}: permission denied; get the right to read it"
        for ending in (".bval", ".bvec", ".json", ".nii.gz")
    ], run.stderr


def test_a_folder_in_place_of_a_file_says_so(tmp_path):
    for read in (read_text, read_json, read_bvals, read_families):
        with pytest.raises(InputError, match="is a folder; put the file in its place"):
            read(tmp_path)


@pytest.fixture(scope="module")
def head():
    b0, inside = tensor_phantom((44, 52, 40), np.zeros(1), np.zeros((1, 3)))
    return b0[..., 0], inside


@pytest.mark.parametrize("place", [(20, 20, 20), (0, 0, 0)])
@pytest.mark.parametrize("value", [1e5, 1e11])
def test_one_bright_voxel_hides_no_brain(head, place, value):
    b0, inside = head[0].copy(), head[1]
    b0[place] = value
    found = brain_mask(b0, np.full(3, 2.5))
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.98


@pytest.mark.parametrize("bright", [0, 1e5])
@pytest.mark.parametrize("level", [0, 100])
def test_an_image_of_one_value_is_named_for_what_it_is(head, level, bright):
    flat = np.full_like(head[0], level)
    flat[20, 20, 20] += bright
    with pytest.raises(InputError, match="the b0 (has one value|is zero or).*convert the scan"):
        brain_mask(flat, np.full(3, 2.5))


def test_a_constant_series_within_a_mask_is_named(make_scan, tmp_path):
    scan = make_scan(tmp_path)
    image = nibabel.load(scan.dwi)
    mask = np.zeros(image.shape[:3], np.uint8)
    mask[5:15, 5:15, 5:15] = 1
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), tmp_path / "mask.nii")
    flat = np.full(image.shape, 100, np.float32)
    nibabel.save(nibabel.Nifti1Image(flat, image.affine), scan.dwi)
    files = {"dwi": scan.dwi, "bval": scan.bval, "bvec": scan.bvec}
    node = PrepareScan(**files, mask=tmp_path / "mask.nii", b0_threshold=100)
    with pytest.raises(InputError, match="no volume holds signal in the brain.*convert the scan"):
        node.run(cwd=str(tmp_path))
