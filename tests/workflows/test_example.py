"""The example of the docs: our graph behind another pipeline's output node."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from examples import make

from dmri7t.errors import InputError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "behind_qsiprep.py"


@pytest.fixture(scope="module")
def dwi(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("in")
    make.make_dataset("good/single", root)
    return root / "sub-01/dwi/sub-01_dwi.nii.gz"


def run_example(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(EXAMPLE), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_example_runs_and_uses_the_mask_that_it_was_handed(dwi, tiny_model, tmp_path):
    run = run_example(dwi, tmp_path / "out", tmp_path / "work", tiny_model)
    assert run.returncode == 0, run.stdout + run.stderr
    made = tmp_path / "out/sub-01/dwi/sub-01_desc-7Tlike_dwi.nii.gz"
    assert np.isfinite(nibabel.load(made).get_fdata()).all()
    (handed,) = (tmp_path / "work").rglob("find_mask/mask.nii.gz")
    (used,) = (tmp_path / "work").rglob("prepare/mask.nii")
    handed, used = (nibabel.load(path).get_fdata() > 0 for path in (handed, used))
    assert handed.any() and (used <= handed).all() and used.sum() > 0.9 * handed.sum()


@pytest.mark.parametrize(
    ("what", "reason"), [("grid", "another grid"), ("shells", "other volumes")]
)
def test_scan_that_was_not_planned_for_fails(dwi, tiny_model, tmp_path, what, reason):
    example = runpy.run_path(str(EXAMPLE))
    workflow = example["init_example_wf"](dwi, tmp_path / "out", str(tiny_model))
    prepare = workflow.get_node("dwi_wf.prepare").interface
    files = {ending: str(dwi).replace("nii.gz", ending) for ending in ("nii.gz", "bval", "bvec")}
    if what == "grid":
        files["nii.gz"] = str(tmp_path / "other.nii")
        nibabel.save(nibabel.load(dwi).slicer[:-2], files["nii.gz"])
    else:
        files["bval"] = str(tmp_path / "other.bval")
        Path(files["bval"]).write_text(" ".join(["0"] * 3 + ["1000"] * 15))
    prepare.inputs.trait_set(dwi=files["nii.gz"], bval=files["bval"], bvec=files["bvec"])
    with pytest.raises(InputError, match=reason):
        prepare._run_interface(SimpleNamespace(cwd=str(tmp_path)))
