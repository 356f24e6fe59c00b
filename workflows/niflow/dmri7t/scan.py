"""The whole graph of one scan, stages 2 to 11, its shells side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.assemble import AssembleScan
from dmri7t.interfaces.clean import CleanScan
from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.harmonize import Harmonize
from dmri7t.interfaces.prepare import (
    DefineGrid,
    PrepareCleaned,
    PrepareJoined,
    PrepareJoinedCleaned,
    PrepareScan,
)
from dmri7t.interfaces.report import FILES
from dmri7t.interfaces.untranslated import Interpolate
from dmri7t.io.kinds.registry import kind_named
from dmri7t.io.scan import Scan
from dmri7t.io.volumes import describe_excluded
from dmri7t.models.config import ModelConfig
from dmri7t.settings import Settings
from niflow.dmri7t.measure import MEASUREMENT, TENSOR_FIT, init_measure_wf, spreads_anisotropy
from niflow.dmri7t.outputs import init_outputs_wf
from niflow.dmri7t.plan import ScanPlan, describe_reasons
from niflow.dmri7t.shell import REPRESENTATION, describe_translation, init_shell_wf


def init_scan_wf(plan: ScanPlan, model: ModelConfig, omp_nthreads: int = 1) -> Workflow:
    """Make the 7T-like scan of one scan.

    Workflow Graph

    .. code-block:: text

        inputnode -> prepare -> define_grid
        inputnode -> assemble -> prepare  (where parts are joined, or volumes left out)
        inputnode -> clean -> prepare  (where the settings ask for it)
        prepare, define_grid -> <shell>_wf, one a translated shell
        <shell>_wf -> collect_representations, collect_generated -> harmonize
        <shell>_wf -> collect_novelty -> measure_wf
        harmonize -> measure_wf -> outputs_wf -> outputnode

    Where no shell is translated, ``harmonize`` interpolates and nothing else.

    Parameters
    ----------
    plan : ScanPlan
    model : ModelConfig
        What the model says of itself.
    omp_nthreads : int
        Threads of a node.

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
    segmentation, anatomy_mask
        Tissues of the same head and the brain mask of their space, where there are any.
    out_dir
        The derivative data set.

    Outputs
    -------
    out_files
        Everything that was written.
    mask, mask_out
        Brain masks on the input's and the output's grid.
    b0, b0_out
        Mean b0 on both.
    representations, generated
        Of every translated shell.
    tensor_native, tensor_generated
        FA, MD and direction before and after, where the directions determine a tensor.
    quality
        Quality metrics as JSON.
    novelty
        How unlike training every translated shell is.
    departures
        Where the output departs from the input beyond its noise, by shell.
    dwi, dwi_out, gradients
        Signals of the input and of the output, and their gradient table.
    anisotropy_sd
        Standard deviation of the error of FA, of calibrated models.
    """
    workflow = Workflow(plan.name)
    workflow.__desc__ = describe_methods(plan, model)
    fields = ["dwi", "bval", "bvec", "grad_b", "mask", "segmentation", "anatomy_mask"]
    inputnode = Node(IdentityInterface(fields=[*fields, "out_dir"]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["out_files", *FILES]), name="outputnode")
    workflow.add_nodes([inputnode, outputnode])
    prepare, define_grid = _connect_preparation(workflow, plan, omp_nthreads)
    collected = _connect_shells(workflow, plan, omp_nthreads) if plan.translated else {}

    # stage 9: the 7T-like scan
    harmonize = _harmonize_node(plan, omp_nthreads)
    workflow.connect(
        [
            (prepare, harmonize, [(f, f) for f in ("dwi", "b0", "mask")]),
            (define_grid, harmonize, [("mask_out", "mask_out")]),
        ]
    )

    # stages 10 and 11: metrics and files
    measure_wf = init_measure_wf(plan, model, omp_nthreads)
    outputs_wf = init_outputs_wf(plan, model, omp_nthreads)
    for field, node in collected.items():
        if field != "novelty":
            workflow.connect(node, "out", harmonize, field)
        for part in (
            (measure_wf,) if field in ("estimates", "novelty") else (measure_wf, outputs_wf)
        ):
            workflow.connect(node, "out", part, f"inputnode.{field}")
    for part, prepared in (
        (measure_wf, ("dwi", "b0", "gradients", "mask", "checks")),
        (outputs_wf, ("gradients", "mask")),
    ):
        workflow.connect(
            [
                (prepare, part, _to(*prepared)),
                (define_grid, part, _to("mask_out")),
            ]
        )
    tensors = ["tensor_native", "tensor_generated"] if plan.tensor_volumes else []
    measured = (*tensors, "quality")
    spread = ["anisotropy_sd"] if spreads_anisotropy(plan, model) else []
    handed_over = [(f"outputnode.{f}", f"inputnode.{f}") for f in (*measured, "table", *spread)]
    workflow.connect(
        [
            (
                harmonize,
                measure_wf,
                [("dwi", "inputnode.dwi_out"), ("metrics", "inputnode.metrics")],
            ),
            (harmonize, outputs_wf, _to("dwi", "b0")),
            (measure_wf, outputs_wf, handed_over),
            (inputnode, outputs_wf, _to("out_dir")),
            (prepare, outputnode, [(f, f) for f in ("mask", "b0", "dwi", "gradients")]),
            (define_grid, outputnode, [("mask_out", "mask_out")]),
            (harmonize, outputnode, [("b0", "b0_out"), ("dwi", "dwi_out")]),
            (
                measure_wf,
                outputnode,
                [(f"outputnode.{f}", f) for f in (*measured, "departures", *spread)],
            ),
            (outputs_wf, outputnode, [("outputnode.out_files", "out_files")]),
        ]
    )
    if plan.scan.anatomy:
        workflow.connect([(inputnode, measure_wf, _to("segmentation", "anatomy_mask"))])
    return workflow


def _connect_preparation(workflow: Workflow, plan: ScanPlan, omp_nthreads: int) -> list[Node]:
    """Add stage 2, the scan made ready; return the nodes that prepare it and its output's grid."""
    inputnode = workflow.get_node("inputnode")
    prepare, define_grid = _prepare_node(plan, omp_nthreads), _grid_node(plan)
    files = [f for f in ("dwi", "bval", "bvec", "grad_b", "mask") if f in plan.files]
    # where files come from: as they lie on disk, or from parts, or without some volumes
    origin = {f: inputnode for f in files}
    if plan.volumes:
        assemble = _assemble_node(plan)
        for f in files:
            workflow.connect(inputnode, f, assemble, f)
            origin[f] = inputnode if f == "mask" else assemble
        if plan.scan.parts:
            workflow.connect(assemble, "joined", prepare, "joined")
    if plan.cleaned:
        clean = _clean_node(plan)
        taken = [f for f in ("dwi", "bval", "mask") if f in plan.files]
        workflow.connect(
            [
                *((origin[f], clean, [(f, f)]) for f in taken),
                (clean, prepare, [("dwi", "dwi"), ("cleaning", "cleaning")]),
            ]
        )
        files.remove("dwi")
    workflow.connect(
        [
            *((origin[f], prepare, [(f, f)]) for f in files),
            (prepare, define_grid, [("mask", "mask")]),
        ]
    )
    return [prepare, define_grid]


def _connect_shells(workflow: Workflow, plan: ScanPlan, omp_nthreads: int) -> dict[str, Node]:
    """Add stages 4 to 8, every shell for itself; return the nodes that collect what they give."""
    outputnode = workflow.get_node("outputnode")
    prepare, define_grid = workflow.get_node("prepare"), workflow.get_node("define_grid")
    collected = {}
    for field in ("representations", "estimates", "generated", "novelty"):
        collected[field] = Node(
            Collect(len(plan.translated)), name=f"collect_{field}", run_without_submitting=True
        )
        if field in FILES:
            workflow.connect(collected[field], "out", outputnode, field)
    for number, shell in enumerate(plan.translated, start=1):
        shell_wf = init_shell_wf(plan, shell, omp_nthreads)
        workflow.connect(
            [
                (prepare, shell_wf, _to("dwi", "gradients", "b0", "mask")),
                (define_grid, shell_wf, _to("mask_out")),
                (
                    shell_wf,
                    collected["representations"],
                    [("outputnode.representation", f"in{number}")],
                ),
                (shell_wf, collected["estimates"], [("outputnode.estimate", f"in{number}")]),
                (shell_wf, collected["generated"], [("outputnode.generated", f"in{number}")]),
                (shell_wf, collected["novelty"], [("outputnode.novelty", f"in{number}")]),
            ]
        )
    return collected


def _to(*fields: str) -> list[tuple[str, str]]:
    """Fields as a part of the graph takes them."""
    return [(field, f"inputnode.{field}") for field in fields]


def _assemble_node(plan: ScanPlan) -> Node:
    """Node that joins parts and leaves volumes out."""
    return Node(
        AssembleScan(
            volumes=[list(rows) for rows in plan.volumes],
            sources=plan.scan.uris,
            b0_threshold=plan.settings.b0_threshold,
        ),
        name="assemble",
        mem_gb=0.3 + math.prod(plan.grid.shape) * (plan.n_volumes + 2) * 4 / 2**30,
    )


def _clean_node(plan: ScanPlan) -> Node:
    """Node that takes noise and ringing out; DIPY's code for both runs on one processor."""
    settings = plan.settings
    image = math.prod(plan.grid.shape) * plan.n_volumes * 4 / 2**30
    return Node(
        CleanScan(
            b0_threshold=settings.b0_threshold,
            denoise=settings.denoise,
            gibbs=settings.gibbs,
            slice_axis=plan.slice_axis,
            source=str(plan.scan.dwi),
        ),
        name="clean",
        mem_gb=0.5 + (6 if settings.denoise else 1.5) * image,
    )


def _prepare_node(plan: ScanPlan, omp_nthreads: int) -> Node:
    """Node that reads the scan; it refuses one that the graph was not planned for."""
    prepares = {
        (False, False): PrepareScan,
        (False, True): PrepareCleaned,
        (True, False): PrepareJoined,
        (True, True): PrepareJoinedCleaned,
    }
    return Node(
        prepares[bool(plan.scan.parts), plan.cleaned](
            b0_threshold=plan.settings.b0_threshold,
            shape=list(plan.grid.shape),
            affine=[float(value) for value in plan.grid.affine.ravel()],
            groups=list(plan.groups.values()),
            parts=[(str(part.dwi), list(rows)) for part, rows in _used(plan)],
        ),
        name="prepare",
        n_procs=omp_nthreads,
        mem_gb=0.5 + plan.gigabytes(plan.n_volumes) + 8 * plan.image_gigabytes,
    )


def _used(plan: ScanPlan) -> list[tuple[Scan, Sequence[int]]]:
    """Parts of a scan, and which of their volumes are used."""
    return list(zip(plan.scan.series, plan.volumes or (range(plan.n_volumes),), strict=True))


def _grid_node(plan: ScanPlan) -> Node:
    """Node that brings the mask to the output's grid."""
    return Node(
        DefineGrid(
            shape=list(plan.grid_out.shape),
            affine=[float(value) for value in plan.grid_out.affine.ravel()],
        ),
        name="define_grid",
        mem_gb=0.3 + 6 * plan.image_gigabytes,
    )


def _harmonize_node(plan: ScanPlan, omp_nthreads: int) -> Node:
    """Node that makes the 7T-like scan out of coefficients and generated RISH."""
    settings = plan.settings
    return Node(
        (Harmonize if plan.translated else Interpolate)(
            shell_indices=[list(shell.indices) for shell in plan.translated],
            b0_indices=list(plan.b0),
            others=[row for shell in plan.passed for row in shell.indices],
            ratio_lower=settings.ratio_lower,
            ratio_upper=settings.ratio_upper,
            consistency=settings.consistency,
        ),
        name="harmonize",
        n_procs=omp_nthreads,
        mem_gb=0.5
        + plan.gigabytes(140 if settings.consistency else 110, out=True)
        + (60 if settings.consistency else 20) * plan.image_gigabytes,
    )


def describe_methods(plan: ScanPlan, model: ModelConfig) -> str:
    """Methods text of a scan: what every stage does, in the order of the data."""
    before = (_describe_preparation(plan), kind_named(plan.scan.kind).methods)
    tensors = TENSOR_FIT if plan.tensor_volumes else NO_TENSORS
    if not plan.translated:
        return "\n\n".join((*before, _describe_interpolation(plan), tensors))
    translation = (
        REPRESENTATION,
        describe_translation(plan.settings, model),
        _describe_harmonization(plan),
    )
    return "\n\n".join((*before, *translation, f"{MEASUREMENT} {tensors}"))


NO_TENSORS = (
    "Diffusion tensors were not fitted: the gradient directions of the scan do not determine one."
)


def _describe_interpolation(plan: ScanPlan) -> str:
    """What the methods say of a scan that the model has no part in."""
    sizes = "x".join(f"{mm:.4g}" for mm in plan.grid_out.voxel_sizes)
    return (
        f"No shell of the scan went through the model: {describe_reasons(plan.reasons)}. Every "
        f"volume was interpolated to {sizes} mm by cubic B-splines, and nothing else was done to "
        "it; nothing in the result is generated."
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


def _describe_preparation(plan: ScanPlan) -> str:
    settings = plan.settings
    sizes = "x".join(f"{mm:.3g}" for mm in plan.grid.voxel_sizes)
    mask = (
        "The brain mask that came with the scan was used."
        if plan.scan.mask
        else "A brain mask was found on the mean b0 image by median filtering and Otsu's "
        "threshold [DIPY, Garyfallidis et al. 2014], after division by the smooth receive "
        "profile; what is dark at its surface was taken off."
    )
    left_out = ""
    if numbers := describe_excluded(plan.scan):
        left_out = f"Volumes were left out of the scan (counted from 0: {numbers}). "
    if plan.scan.parts:
        names = ", ".join(part.dwi.name for part in plan.scan.parts)
        left_out += (
            f"The scan was joined from {len(plan.scan.parts)} series ({names}) of one grid, "
            "direction of phase encoding, echo time and repetition time, each multiplied so that "
            "its median b = 0 signal in the brain is that of the first. "
        )
    return (
        f"{left_out}{_describe_cleaning(settings)}The scan has {plan.n_volumes} volumes of "
        f"{sizes} mm voxels, {len(plan.b0)} of them with b <= {plan.b0_bval:g} s/mm2, which count "
        f"as b = 0. {mask}"
    )


def _describe_harmonization(plan: ScanPlan) -> str:
    settings = plan.settings
    sizes = "x".join(f"{mm:.4g}" for mm in plan.grid_out.voxel_sizes)
    passed = ""
    if plan.passed:
        names = ", ".join(shell.name for shell in plan.passed)
        passed = f" Shells that the model did not translate ({names}) were interpolated only."
    b0s = "every b = 0 volume was kept, interpolated"
    if settings.weighed_by_scan:
        b0s += ", times what that filter left of their mean"
    held = ""
    if settings.consistency:
        held = (
            " The coefficients of the signal were then held to those measured at low spatial "
            f"frequencies, below {settings.consistency:g} of the input's Nyquist frequency along "
            "each axis: the part of the change that is slower than that, by least squares within "
            "the brain, was taken back."
        )
    return (
        f"The coefficients were interpolated to {sizes} mm by cubic B-splines and, as far as the "
        "model has a part in them, multiplied, order by order, by the square root of generated "
        "RISH over their own, held between "
        f"{settings.ratio_lower:g} and {settings.ratio_upper:g}; orders above 4 were not "
        f"scaled.{held} The signal was evaluated at every gradient direction of the scan and "
        f"multiplied by the mean b = 0 image; {b0s}."
        f"{passed} The result is synthetic: it is a model's estimate, no measurement."
    )
