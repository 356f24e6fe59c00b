"""Stage 10: tensor maps before and after, and quality metrics."""

from __future__ import annotations

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.measure import FitTensor, MeasureQuality, SpreadAnisotropy
from dmri7t.interfaces.tissues import MeasureTissues
from dmri7t.interfaces.untranslated import MeasureInterpolated
from dmri7t.io.anatomy import Anatomy
from dmri7t.models.config import ModelConfig
from dmri7t.models.plain import to_plain
from dmri7t.signal.gradients import TENSOR_BVAL_USUAL
from dmri7t.signal.spaces import MIN_DICE, MIN_DICE_NAMED
from niflow.dmri7t.plan import ScanPlan
from niflow.dmri7t.threads import beside

MEASUREMENT = (
    "The result, brought back to the input's grid, was compared with the input order by order, in "
    "units of what the input's noise leaves after smoothing by a Gaussian of one voxel's standard "
    "deviation."
)

TENSOR_FIT = (
    "Diffusion tensors were fitted by weighted least squares with one reweighting "
    "[Salvador et al. 2005], before and after; FA and MD follow from them."
)


def spreads_anisotropy(plan: ScanPlan, model: ModelConfig) -> bool:
    """Whether the errors of RISH are carried over to FA: the model must know them."""
    return bool(model.calibration and plan.translated and plan.tensor_volumes)


def init_measure_wf(
    plan: ScanPlan, model: ModelConfig, omp_nthreads: int = 1, name: str = "measure_wf"
) -> Workflow:
    """Measure a scan before and after.

    Workflow Graph

    .. code-block:: text

        inputnode -> tensor_native -> outputnode
        inputnode -> tensor_generated -> outputnode
        inputnode, tensor_generated -> anisotropy_sd -> outputnode  (calibrated models)
        inputnode -> quality -> outputnode
        quality, tensor_native, tensor_generated -> tissues -> outputnode  (with a segmentation)

    Parameters
    ----------
    plan : ScanPlan
    model : ModelConfig
        What the model says of itself.
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
    metrics
        Of harmonization.
    representations
        Of the translated shells.
    estimates
        Of their coefficients, with what the scan says of them.
    novelty
        How unlike training the same shells are.
    generated
        7T-like RISH of the same shells, and their errors.
    segmentation, anatomy_mask
        Tissues and the brain mask of their space, where the scan has them.

    Outputs
    -------
    tensor_native
        FA, MD and direction of the input, where its directions determine a tensor.
    tensor_generated
        The same of the output.
    anisotropy_sd
        Standard deviation of the error of FA, of calibrated models.
    quality
        Quality metrics as JSON.
    table
        The same as TSV.
    departures
        Where the output departs from the input beyond its noise, by shell.
    """
    workflow = Workflow(name)
    calibration = model.calibration
    compared = ["dwi", "dwi_out", "b0", "mask", "mask_out", "checks", "metrics"]
    compared += ["representations", "estimates", "novelty"]
    fields = ["gradients", "generated", *compared, "segmentation", "anatomy_mask"]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    metrics = ["quality", "table", "departures"]
    outputs = ["tensor_native", "tensor_generated", "anisotropy_sd", *metrics]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    quality = Node(
        (MeasureQuality if plan.translated else MeasureInterpolated)(
            groups=plan.groups,
            translated=[shell.name for shell in plan.translated],
            reasons=plan.reasons,
            ranges=dict(model.ranges),
            forecast=to_plain(calibration.forecast) if calibration else {},
        ),
        name="quality",
        n_procs=beside(omp_nthreads),
        mem_gb=0.6 + 24 * plan.image_gigabytes + plan.gigabytes(50) + plan.gigabytes(15, out=True),
    )
    if not plan.translated:
        compared = [field for field in compared if field not in plan.absent]
    workflow.connect(
        [
            (inputnode, quality, [(field, field) for field in compared]),
            (quality, outputnode, [("departures", "departures")]),
        ]
    )
    anatomy, last = plan.scan.anatomy, quality
    if plan.tensor_volumes:
        _connect_tensors(workflow, plan, omp_nthreads)
        if anatomy:
            last = _connect_tissues(workflow, plan, anatomy, omp_nthreads)
    workflow.connect([(last, outputnode, [("quality", "quality"), ("table", "table")])])
    if calibration and spreads_anisotropy(plan, model):
        bvals = [shell.bval for shell in plan.translated]
        # FA is mostly of the shell nearest to the tensor's usual b-value
        nearest = min(range(len(bvals)), key=lambda i: abs(bvals[i] - TENSOR_BVAL_USUAL))
        anisotropy_sd = Node(
            SpreadAnisotropy(
                index=nearest, bval=bvals[nearest], factor=calibration.intervals.fa_factor
            ),
            name="anisotropy_sd",
            mem_gb=0.6 + plan.gigabytes(12, out=True),
        )
        workflow.connect(
            [
                (inputnode, anisotropy_sd, [("generated", "generated")]),
                (workflow.get_node("tensor_generated"), anisotropy_sd, [("tensor", "tensor")]),
                (anisotropy_sd, outputnode, [("anisotropy_sd", "anisotropy_sd")]),
            ]
        )
    return workflow


def _connect_tensors(workflow: Workflow, plan: ScanPlan, omp_nthreads: int) -> None:
    """Add the nodes that fit tensors to input and output."""
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    memory = 0.6 + len(plan.tensor_volumes) * 2.5e-3
    for name, scan in (("tensor_native", "dwi"), ("tensor_generated", "dwi_out")):
        fit = Node(
            FitTensor(indices=plan.tensor_volumes),
            name=name,
            n_procs=beside(omp_nthreads),
            mem_gb=memory + plan.gigabytes(12, out=scan == "dwi_out"),
        )
        workflow.connect(
            [
                (inputnode, fit, [(scan, "dwi"), ("gradients", "gradients")]),
                (fit, outputnode, [("tensor", name)]),
            ]
        )


def _connect_tissues(
    workflow: Workflow, plan: ScanPlan, anatomy: Anatomy, omp_nthreads: int
) -> Node:
    """Add the node that completes the quality metrics by those of tissues."""
    tissues = Node(
        MeasureTissues(
            labels=list(anatomy.labels),
            maker=anatomy.maker,
            source=anatomy.uri,
            dice_needed=MIN_DICE if anatomy.same_space else MIN_DICE_NAMED,
            groups=plan.groups,
        ),
        name="tissues",
        n_procs=omp_nthreads,
        # a T1w of 256 voxels an edge takes 0.3 GiB as probabilities, and as much on the way
        mem_gb=1.2 + 12 * plan.image_gigabytes + plan.gigabytes(20) + plan.gigabytes(15, out=True),
    )
    files = ["segmentation", "anatomy_mask", "dwi", "dwi_out", "mask", "mask_out"]
    workflow.connect(
        [
            (workflow.get_node("inputnode"), tissues, [(f, f) for f in files]),
            (workflow.get_node("quality"), tissues, [("quality", "quality")]),
            (workflow.get_node("tensor_native"), tissues, [("tensor", "tensor_native")]),
            (workflow.get_node("tensor_generated"), tissues, [("tensor", "tensor_generated")]),
        ]
    )
    return tissues
