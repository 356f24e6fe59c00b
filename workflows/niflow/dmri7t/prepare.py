"""Stage 2: brain mask, mean b0, checked gradients, and the grid of the output."""

from __future__ import annotations

import math

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.clean import CleanScan
from dmri7t.interfaces.prepare import DefineGrid, PrepareCleaned, PrepareScan
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
        inputnode -> clean -> prepare  (where the settings ask for it)

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
    cleaned = settings.denoise or settings.gibbs
    prepare = Node(
        (PrepareCleaned if cleaned else PrepareScan)(
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
    fields = ["bval", "bvec", *plan.optional]
    if cleaned:
        clean = _clean_node(plan, settings)
        taken = ["dwi", "bval", *(["mask"] if "mask" in plan.optional else [])]
        workflow.connect(
            [
                (inputnode, clean, [(field, field) for field in taken]),
                (clean, prepare, [("dwi", "dwi"), ("cleaning", "cleaning")]),
            ]
        )
    else:
        fields.append("dwi")
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


def _clean_node(plan: ScanPlan, settings: Settings) -> Node:
    """Node that takes noise and ringing out; DIPY's code for both runs on one processor."""
    image = math.prod(plan.grid.shape) * plan.n_volumes * 4 / 2**30
    return Node(
        CleanScan(
            b0_threshold=settings.b0_threshold,
            denoise=settings.denoise,
            gibbs=settings.gibbs,
            slice_axis=plan.slice_axis,
        ),
        name="clean",
        mem_gb=0.5 + (6 if settings.denoise else 1.5) * image,
    )


def _describe_cleaning(settings: Settings) -> str:
    """What the methods say of noise and ringing; ends in a space, or is empty."""
    noise = (
        "Noise was taken out of the scan by principal component analysis in patches, with the "
        "threshold of random-matrix theory (MP-PCA) [Veraart et al. 2016]. "
    )
    ringing = (
        "Gibbs ringing was taken out slice by slice by local subvoxel shifts [Kellner et al. 2016; "
        "Neto Henriques 2018]. "
    )
    text = (noise if settings.denoise else "") + (ringing if settings.gibbs else "")
    by = "Both were done by" if settings.denoise and settings.gibbs else "This was done by"
    return f"{text}{by} DIPY [Garyfallidis et al. 2014]. " if text else ""


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
        f"{_describe_cleaning(settings)}The scan has {plan.n_volumes} volumes of {where} mm "
        f"voxels, {len(plan.b0)} of them with b <= {settings.b0_threshold:g} s/mm2, which count as "
        f"b = 0. {mask}"
    )
