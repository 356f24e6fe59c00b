"""Stage 10: tensor maps before and after, and figures of quality."""

from __future__ import annotations

from typing import Any

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.measure import FitTensor, Quality
from niflow.dmri7t.plan import ScanPlan

METHODS = (
    "The result, brought back to the input's grid, was compared with the input order by order, in "
    "units of what the input's noise leaves after smoothing by a Gaussian of one voxel's standard "
    "deviation. "
    "Diffusion tensors were fitted by weighted least squares with one reweighting "
    "[Salvador et al. 2005], before and after; FA and MD follow from them."
)


def init_measure_wf(
    plan: ScanPlan,
    ranges: dict[str, Any],
    omp_nthreads: int = 1,
    name: str = "measure_wf",
) -> Workflow:
    """Measure a scan before and after.

    Workflow Graph

    .. code-block:: text

        inputnode -> tensor_native -> outputnode
        inputnode -> tensor_generated -> outputnode
        inputnode -> quality -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    ranges : dict
        What the model was trained on, from its config.
    omp_nthreads : int
        Threads of a node.
    name : str

    Inputs
    ------
    dwi
        (volumes, voxels) array of the input.
    dwi_out
        The same of the output.
    b0
        Mean b0 of the input.
    gradients
        Gradient table, scanner frame.
    mask
        Brain mask on the input's grid.
    mask_out
        Brain mask on the output's grid.
    checks
        Repairs of the input.
    figures
        Of harmonization.
    representations
        Of the translated shells.

    Outputs
    -------
    tensor_native
        FA, MD and direction of the input.
    tensor_generated
        FA, MD and direction of the output.
    quality
        Figures of quality as JSON.
    table
        The same as TSV.
    departures
        Where the output departs from the input beyond its noise, by shell.
    """
    workflow = Workflow(name)
    workflow.__desc__ = METHODS
    compared = ["dwi", "dwi_out", "b0", "mask", "mask_out", "checks", "figures"]
    compared += ["representations"]
    inputnode = Node(IdentityInterface(fields=["gradients", *compared]), name="inputnode")
    figures = ("quality", "table", "departures")
    outputs = ["tensor_native", "tensor_generated", *figures]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    volumes = plan.tensor_volumes
    memory = 0.6 + len(volumes) * 2.5e-3
    tensor_native = Node(
        FitTensor(indices=volumes),
        name="tensor_native",
        n_procs=omp_nthreads,
        mem_gb=memory + plan.gigabytes(12),
    )
    tensor_generated = Node(
        FitTensor(indices=volumes),
        name="tensor_generated",
        n_procs=omp_nthreads,
        mem_gb=memory + plan.gigabytes(12, out=True),
    )
    quality = Node(
        Quality(
            groups=plan.groups,
            translated=[shell.name for shell in plan.translated],
            reasons=plan.reasons,
            ranges=ranges,
        ),
        name="quality",
        n_procs=omp_nthreads,
        mem_gb=0.6 + 24 * plan.image_gigabytes + plan.gigabytes(50) + plan.gigabytes(15, out=True),
    )
    workflow.connect(
        [
            (inputnode, tensor_native, [("dwi", "dwi"), ("gradients", "gradients")]),
            (inputnode, tensor_generated, [("dwi_out", "dwi"), ("gradients", "gradients")]),
            (inputnode, quality, [(field, field) for field in compared]),
            (tensor_native, outputnode, [("tensor", "tensor_native")]),
            (tensor_generated, outputnode, [("tensor", "tensor_generated")]),
            (quality, outputnode, [(f, f) for f in figures]),
        ]
    )
    return workflow
