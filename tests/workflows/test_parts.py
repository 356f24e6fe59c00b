"""A scan that is joined from two series, through the whole graph."""

import json

import attrs
import nibabel
import numpy as np

from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.io.parts import join_parts
from dmri7t.io.scan import Candidate
from niflow.dmri7t import init_dmri7t_wf, model_settings, plan_scan


def test_a_joined_scan_is_translated_as_one(make_scan, tiny_model, tmp_path):
    candidates = []
    for run, shells in enumerate(({1000: 12}, {2000: 12}), start=1):
        scan = make_scan(tmp_path / f"run-{run}", shells=shells, seed=run)
        entities = {"sub": "01", "run": str(run)}
        sidecar = {"PhaseEncodingDirection": "j", "EchoTime": 0.09, "MagneticFieldStrength": 1.5}
        uri = f"bids:raw:sub-01/dwi/sub-01_run-{run}_dwi.nii.gz"
        scan = attrs.evolve(scan, entities=entities, sidecar=sidecar, uri=uri, kind="raw")
        candidates.append(Candidate(scan.dwi, scan=scan))
    image = nibabel.load(scan.dwi)
    scaled = (0.5 * image.get_fdata()).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(scaled, image.affine), scan.dwi)
    scan = join_parts(candidates)[0].scan
    settings, model = model_settings(str(tiny_model), denoise=True, samples=1)
    plan = plan_scan(scan, settings)
    assert [s.name for s in plan.translated] == ["b1000", "b2000"] and plan.n_volumes == 28
    status = run_workflow(
        init_dmri7t_wf([plan], model, tmp_path / "out"),
        {"sub_01_wf": "01"},
        Resources(1, 4.0),
        work_dir=tmp_path / "work",
        log_dir=tmp_path / "out/logs",
    )
    assert status.exit_code == 0, status.summary()
    dwi = nibabel.load(tmp_path / "out" / plan.names["dwi"])
    assert plan.names["dwi"] == "sub-01/dwi/sub-01_desc-7Tlike_dwi.nii.gz"
    values = dwi.get_fdata()
    inside = values[..., 0] > 0
    b0s = np.median(values[inside][:, [0, 14]], axis=0)
    assert abs(b0s[1] / b0s[0] - 1) < 0.02
    sidecar = json.loads(
        (tmp_path / "out" / plan.names["dwi"].replace("nii.gz", "json")).read_text()
    )
    assert sidecar["Sources"] == scan.uris
    assert sidecar["SourceVolumesUsed"] == [list(range(14)), list(range(14))]
    parts = sidecar["JoinedParts"]
    assert [p["Source"] for p in parts] == scan.uris and parts[0]["Scale"] == 1
    assert abs(parts[1]["Scale"] - 2) < 0.04
    # what the sidecar says and nobody would expect stands beside the results
    assert sidecar["Remarks"] == ["was measured at 1.5 T, and models are trained on 3 T"]
    page = (tmp_path / "out/sub-01.html").read_text()
    assert "Joined from 2 series" in page and "sub-01_run-2_dwi.nii.gz (14 volumes, times" in page
    assert "The scan was joined from 2 series" in page
    assert "Was measured at 1.5 T, and models are trained on 3 T." in page
