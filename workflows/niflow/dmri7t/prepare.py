"""Stage 2: brain mask, mean b0, checked gradients, and the grid of the output."""

from __future__ import annotations

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.prepare import DefineGrid, PrepareScan
from dmri7t.settings import Settings
from niflow.dmri7t.plan import ScanPlan

_HERE = (
    "o correction for motion, eddy currents or susceptibility distortion was made in these steps"
)

CORRECTED = {
    "": f"N{_HERE}.",
    "raw": f"The scan came from a raw data set: n{_HERE}, and none is known of before them.",
    "qsiprep": f"The scan had been preprocessed by QSIPrep [Cieslak et al. 2021]; n{_HERE}.",
    "hcp": "The scan had been preprocessed by the pipelines of the Human Connectome Project "
    f"[Glasser et al. 2013]; n{_HERE}.",
    "derivative": "The scan came from the results of another program, whose corrections are not "
    f"known here; n{_HERE}.",
}
"""Methods text by the kind of the source: readers expect these corrections of a pipeline."""


def init_prepare_wf(
    plan: ScanPlan, settings: Settings, omp_nthreads: int = 1, name: str = "prepare_wf"
) -> Workflow:
    """Prepare one scan.

    Workflow Graph

    .. code-block:: text

        inputnode -> prepare -> define_grid -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    settings : Settings
    omp_nthreads : int
        Threads of a node.
    name : str

    Inputs
    ------
    dwi
        4D image.
    bval, bvec
        Gradients, FSL's convention.
    grad_b
        Gradients in the scanner frame (MRtrix), where the scan has them.
    mask
        Brain mask, where the scan has one.

    Outputs
    -------
    dwi
        (volumes, voxels) array of the mask's voxels.
    b0
        Mean b0.
    mask
        Brain mask on the input's grid.
    mask_out
        Brain mask on the output's grid.
    gradients
        Gradient table, scanner frame.
    checks
        Values that had to be repaired.
    """
    workflow = Workflow(name)
    workflow.__desc__ = f"{_describe(plan, settings)}\n\n{CORRECTED[plan.kind]}"
    inputnode = Node(
        IdentityInterface(fields=["dwi", "bval", "bvec", "grad_b", "mask"]), name="inputnode"
    )
    outputnode = Node(
        IdentityInterface(fields=["dwi", "b0", "mask", "mask_out", "gradients", "checks"]),
        name="outputnode",
    )
    prepare = Node(
        PrepareScan(
            b0_threshold=settings.b0_threshold,
            shape=list(plan.grid.shape),
            affine=[float(value) for value in plan.grid.affine.ravel()],
            groups=list(plan.groups.values()),
        ),
        name="prepare",
        n_procs=omp_nthreads,
        mem_gb=0.5 + plan.gigabytes(plan.n_volumes) + 8 * plan.image_gigabytes,
    )
    define_grid = Node(
        DefineGrid(
            shape=list(plan.grid_out.shape),
            affine=[float(value) for value in plan.grid_out.affine.ravel()],
        ),
        name="define_grid",
        mem_gb=0.3 + 6 * plan.image_gigabytes,
    )
    fields = ["dwi", "bval", "bvec", *plan.optional]
    workflow.connect(
        [
            (inputnode, prepare, [(field, field) for field in fields]),
            (prepare, define_grid, [("mask", "mask")]),
            (
                prepare,
                outputnode,
                [(f, f) for f in ("dwi", "b0", "mask", "gradients", "checks")],
            ),
            (define_grid, outputnode, [("mask_out", "mask_out")]),
        ]
    )
    return workflow


def _describe(plan: ScanPlan, settings: Settings) -> str:
    where = "x".join(f"{mm:.3g}" for mm in plan.grid.voxel_sizes)
    mask = (
        "The brain mask that came with the scan was used."
        if "mask" in plan.optional
        else "A brain mask was found on the mean b0 image by median filtering and Otsu's "
        "threshold [DIPY, Garyfallidis et al. 2014], after division by the smooth receive "
        "profile."
    )
    return (
        f"The scan has {plan.n_volumes} volumes of {where} mm voxels, {len(plan.b0)} of them "
        f"with b <= {settings.b0_threshold:g} s/mm2, which count as b = 0. {mask}"
    )
