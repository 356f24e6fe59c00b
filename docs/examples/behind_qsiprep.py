"""dmri7t's graph behind another pipeline's output node, in one Nipype workflow.

python docs/examples/behind_qsiprep.py DWI.nii.gz OUT WORK [MODEL]

``DWI`` has its .bval and .bvec beside it. The pipeline before is a stand-in: it finds a mask, and
hands over what QSIPrep's ``outputnode`` hands over, under QSIPrep's names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
from nipype import Function, Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.execution.limits import Resources
from dmri7t.execution.run import run_workflow
from dmri7t.io.gradients import read_table
from dmri7t.io.names import split_name
from dmri7t.io.scan import Scan
from dmri7t.signal.grids import Grid
from niflow.dmri7t import init_scan_wf, model_settings, plan_series

FIELDS = ["dwi_t1", "bvals_t1", "bvecs_t1", "dwi_mask_t1"]


def find_mask(dwi: str) -> str:
    """Mask the brain on the first volume; stands for all that a real pipeline does."""
    from pathlib import Path

    import nibabel
    import numpy as np
    from dipy.segment.mask import median_otsu

    image = nibabel.load(dwi)
    _, mask = median_otsu(np.asarray(image.dataobj[..., 0], float), median_radius=1, numpass=1)
    path = str(Path.cwd() / "mask.nii.gz")
    nibabel.save(nibabel.Nifti1Image(mask.astype("uint8"), image.affine), path)
    return path


def init_preprocessing_wf(scan: Scan) -> Workflow:
    """The stand-in: a workflow with QSIPrep's output node."""
    workflow = Workflow("preprocessing_wf")
    outputnode = Node(IdentityInterface(fields=FIELDS), name="outputnode")
    mask = Node(Function(["dwi"], ["mask"], find_mask), name="find_mask")
    mask.inputs.dwi = outputnode.inputs.dwi_t1 = str(scan.dwi)
    outputnode.inputs.bvals_t1, outputnode.inputs.bvecs_t1 = str(scan.bval), str(scan.bvec)
    workflow.connect(mask, "mask", outputnode, "dwi_mask_t1")
    return workflow


def init_example_wf(dwi: Path, out_dir: Path, model: str = "default") -> Workflow:
    """Preprocessing, and dmri7t on what it yields."""
    stem = str(dwi).removesuffix(".gz").removesuffix(".nii")
    scan = Scan(
        dwi=dwi,
        bval=Path(f"{stem}.bval"),
        bvec=Path(f"{stem}.bvec"),
        sidecar={},
        entities=split_name(dwi),  # results are named after them
        uri=f"bids:raw:{dwi.name}",
        mask=Path("mask.nii.gz"),  # there will be one; where it lies is not known yet
    )
    settings, model_config = model_settings(model)
    # a graph is drawn before its files are there, so what the scan will be like must be known:
    # its grid and its b-values. Should another one arrive, the node that reads it fails.
    image = nibabel.load(dwi)
    table = read_table(scan.bval, scan.bvec, image.affine)
    grid = Grid(image.shape, image.affine)
    plan = plan_series(scan, grid, table, settings)
    scan_wf = init_scan_wf(plan, model_config)
    scan_wf.inputs.inputnode.out_dir = str(out_dir)

    workflow = Workflow("pipeline_wf")
    handed_over = zip(FIELDS, ["dwi", "bval", "bvec", "mask"], strict=True)
    fields = [(f"outputnode.{theirs}", f"inputnode.{ours}") for theirs, ours in handed_over]
    workflow.connect([(init_preprocessing_wf(scan), scan_wf, fields)])
    return workflow


def main() -> None:
    """Run it on this machine; Nipype's own plugins would do as well."""
    dwi, out_dir, work_dir = (Path(path).absolute() for path in sys.argv[1:4])
    workflow = init_example_wf(dwi, out_dir, *sys.argv[4:5])
    status = run_workflow(
        workflow,
        {"pipeline_wf": "all"},
        Resources(n_procs=2, memory_gb=8),
        work_dir=work_dir,
        log_dir=work_dir / "logs",
    )
    print(status.summary())
    sys.exit(status.exit_code)


if __name__ == "__main__":
    main()
