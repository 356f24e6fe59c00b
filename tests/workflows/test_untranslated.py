"""Scans of which no shell goes through the model: interpolated, and said to be."""

import json

import nibabel
import numpy as np
import pytest
from conftest import fibonacci_directions, tensor_phantom

from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.reports.group.gather import gather_group
from niflow.dmri7t import init_dmri7t_wf, model_settings, plan_scan


@pytest.mark.parametrize("flat", [False, True])
def test_a_scan_without_a_shell_for_the_model_is_interpolated(
    make_scan, calibrated_model, tmp_path, flat
):
    scan = make_scan(tmp_path / "in", shells={b: 5 for b in range(200, 1800, 200)})
    vectors_N3 = np.random.default_rng(1).permutation(fibonacci_directions(40))
    if flat:
        # directions in one plane determine no tensor
        vectors_N3[:, 2] = 0
        vectors_N3 /= np.linalg.norm(vectors_N3, axis=1, keepdims=True)
    np.savetxt(scan.bvec, np.concatenate([np.zeros((2, 3)), vectors_N3]).T, fmt="%.6f")
    settings, model = model_settings(str(calibrated_model), random_seed=3)
    plan = plan_scan(scan, settings)
    assert not plan.translated and len(plan.passed) == 8 and bool(plan.tensor_volumes) != flat
    workflow = init_dmri7t_wf([plan], model, tmp_path / "out")
    names = workflow.list_node_names()
    assert not any("encode" in name or "represent" in name for name in names)
    status = run_workflow(
        workflow,
        {"sub_01_wf": "01"},
        Resources(1, 4.0),
        work_dir=tmp_path / "work",
        log_dir=tmp_path / "out/logs",
    )
    assert status.exit_code == 0, status.summary()
    written = {path.name for path in (tmp_path / "out/sub-01/dwi").iterdir()}
    assert ("sub-01_model-tensor_param-fa_desc-7Tlike_dwimap.nii.gz" in written) != flat
    assert not any("rish" in name or "uncertainty" in name for name in written)
    dwi = nibabel.load(tmp_path / "out" / plan.names["dwi"])
    before = nibabel.load(scan.dwi)
    # the mean over a brain stays what it is where values are only interpolated
    inside = dwi.get_fdata().mean(-1) > 0
    native = before.get_fdata()[tensor_phantom(before.shape[:3], np.zeros(1), np.zeros((1, 3)))[1]]
    assert np.allclose(dwi.get_fdata()[inside].mean(0), native.mean(0), rtol=0.06)
    sidecar = json.loads(
        (tmp_path / "out" / plan.names["dwi"].replace("nii.gz", "json")).read_text()
    )
    assert sidecar["Synthetic"] is False and "ModelName" not in sidecar
    assert sidecar["Description"].startswith("The scan itself, interpolated")
    assert all("5 different directions" in s["Reason"] for s in sidecar["InterpolatedShells"])
    page = (tmp_path / "out/sub-01.html").read_text()
    assert "No shell went through the model: the result is the scan, interpolated." in page
    assert "b200, b400, b600, b800, b1000, b1200, b1400, b1600 (5 different directions" in page
    assert ("do not determine one" in page) == flat
    group = gather_group(tmp_path / "out", ["01"])
    assert group.scans[0].values["n_translated"] == 0 and not group.broken
    assert (group.scans[0].values["fa_median"] is None) == flat
    assert group.scans[0].values["model_name"] is None
