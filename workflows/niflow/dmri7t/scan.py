"""The whole graph of one scan, stages 2 to 11, its shells side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t import __version__
from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.report import FILES
from dmri7t.interfaces.write import DIGEST
from dmri7t.io.derivatives import describe_space
from dmri7t.settings import Settings
from dmri7t.signal.orders import ORDERS
from niflow.dmri7t.harmonize import init_harmonize_wf
from niflow.dmri7t.measure import init_measure_wf
from niflow.dmri7t.outputs import init_outputs_wf
from niflow.dmri7t.plan import ScanPlan
from niflow.dmri7t.prepare import init_prepare_wf
from niflow.dmri7t.represent import init_represent_wf
from niflow.dmri7t.translate import init_translate_wf

KEYS = (
    "dwi",
    "mask",
    *(f"rish{order}_{kind}" for kind in ("native", "7tlike", "uncertainty") for order in ORDERS),
    "fa",
    "fa_uncertainty",
    "md",
    "quality_json",
    "quality_tsv",
    "settings",
)
"""Outputs that are asked of :func:`dmri7t.io.derivatives.output_path`."""


def init_scan_wf(
    plan: ScanPlan,
    settings: Settings,
    names: dict[str, str],
    sidecar: dict[str, Any],
    ranges: dict[str, Any],
    acquisition: dict[str, Any] | None = None,
    omp_nthreads: int = 1,
    calibration: dict[str, Any] | None = None,
) -> Workflow:
    """Make the 7T-like scan of one scan.

    Workflow Graph

    .. code-block:: text

        inputnode -> prepare_wf -> <shell>_wf (represent_wf -> translate_wf), one a shell
        <shell>_wf -> collect_representations, collect_generated -> harmonize_wf
        <shell>_wf -> collect_novelty -> measure_wf
        harmonize_wf -> measure_wf -> outputs_wf -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    settings : Settings
    names : dict
        Name of every output within the data set, by key.
    sidecar : dict
        What every sidecar says.
    ranges : dict
        What the model was trained on.
    acquisition : dict, optional
        Fields of the source's sidecar, for that of the 7T-like scan.
    omp_nthreads : int
        Threads of a node.
    calibration : dict, optional
        Of the model's uncertainty; without one, uncertainty is the spread over samples.

    Inputs
    ------
    dwi
        4D image.
    bval, bvec
        Gradients, FSL's convention.
    grad_b
        Gradients in the scanner frame, where the scan has them.
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
        FA, MD and direction before and after.
    quality
        Figures of quality as JSON.
    novelty
        How unlike training every translated shell is.
    departures
        Where the output departs from the input beyond its noise, by shell.
    """
    workflow = Workflow(plan.name)
    fields = ["dwi", "bval", "bvec", "grad_b", "mask"]
    anatomy = ["segmentation", "anatomy_mask"]
    inputnode = Node(IdentityInterface(fields=[*fields, *anatomy, "out_dir"]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["out_files", *FILES]), name="outputnode")
    prepare_wf = init_prepare_wf(plan, settings, omp_nthreads)
    harmonize_wf = init_harmonize_wf(plan, settings, omp_nthreads)
    measure_wf = init_measure_wf(plan, ranges, omp_nthreads, calibration)
    outputs_wf = init_outputs_wf(
        plan, settings, names, sidecar, acquisition, omp_nthreads, bool(calibration)
    )
    gather = {}
    for what in ("representations", "generated", "novelty"):
        gather[what] = Node(
            Collect(len(plan.translated)), name=f"collect_{what}", run_without_submitting=True
        )

    workflow.connect([(inputnode, prepare_wf, [(f, f"inputnode.{f}") for f in fields])])
    for place, shell in enumerate(plan.translated, start=1):
        shell_wf = init_shell_wf(plan, shell, settings, omp_nthreads)
        shared = ("dwi", "gradients", "b0", "mask", "mask_out")
        workflow.connect(
            [
                (prepare_wf, shell_wf, [(f"outputnode.{f}", f"inputnode.{f}") for f in shared]),
                (
                    shell_wf,
                    gather["representations"],
                    [("outputnode.representation", f"in{place}")],
                ),
                (shell_wf, gather["generated"], [("outputnode.generated", f"in{place}")]),
                (shell_wf, gather["novelty"], [("outputnode.novelty", f"in{place}")]),
            ]
        )
    # what each part takes: (part, field there, node, field here)
    prepared, made = "outputnode.", harmonize_wf
    tensors = ("tensor_native", "tensor_generated")
    for part, taken in (
        (harmonize_wf, ("dwi", "b0", "mask", "mask_out")),
        (measure_wf, ("dwi", "b0", "gradients", "mask", "mask_out", "checks")),
        (outputs_wf, ("gradients", "mask", "mask_out")),
    ):
        workflow.connect([(prepare_wf, part, [(prepared + f, f"inputnode.{f}") for f in taken])])
    for what, node in gather.items():
        users = (measure_wf,) if what == "novelty" else (harmonize_wf, measure_wf, outputs_wf)
        for part in users:
            workflow.connect(node, "out", part, f"inputnode.{what}")
        workflow.connect(node, "out", outputnode, what)
    workflow.connect(
        [
            (
                made,
                measure_wf,
                [
                    ("outputnode.dwi", "inputnode.dwi_out"),
                    ("outputnode.figures", "inputnode.figures"),
                ],
            ),
            (made, outputs_wf, [(f"outputnode.{f}", f"inputnode.{f}") for f in ("dwi", "b0")]),
            (inputnode, outputs_wf, [("out_dir", "inputnode.out_dir")]),
            (
                measure_wf,
                outputs_wf,
                [(f"outputnode.{f}", f"inputnode.{f}") for f in (*tensors, "quality", "table")],
            ),
            (
                prepare_wf,
                outputnode,
                [(prepared + f, f) for f in ("mask", "mask_out", "b0")],
            ),
            (made, outputnode, [("outputnode.b0", "b0_out")]),
            (
                measure_wf,
                outputnode,
                [(f"outputnode.{f}", f) for f in (*tensors, "quality", "departures")],
            ),
            (outputs_wf, outputnode, [("outputnode.out_files", "out_files")]),
        ]
    )
    if plan.tissues:
        workflow.connect([(inputnode, measure_wf, [(f, f"inputnode.{f}") for f in anatomy])])
    if calibration:
        workflow.connect(
            measure_wf, "outputnode.anisotropy_sd", outputs_wf, "inputnode.anisotropy_sd"
        )
    workflow.__desc__ = join_methods(workflow)
    return workflow


def init_shell_wf(
    plan: ScanPlan, shell: Any, settings: Settings, omp_nthreads: int = 1
) -> Workflow:
    """Represent and translate one shell; the workflow is named after it.

    Workflow Graph

    .. code-block:: text

        inputnode -> represent_wf -> translate_wf -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    shell : ShellVolumes
    settings : Settings
    omp_nthreads : int
        Threads of a node.

    Inputs
    ------
    dwi
        (volumes, voxels) array of the whole scan.
    gradients
        Gradient table, scanner frame.
    b0
        Mean b0.
    mask, mask_out
        Brain masks on the input's and the output's grid.

    Outputs
    -------
    representation
        Coefficients, RISH, noise and sigma of the shell.
    generated
        Mean and spread of 7T-like RISH on the output's grid.
    novelty
        How unlike training the shell is.
    """
    workflow = Workflow(f"{shell.name}_wf")
    inputnode = Node(
        IdentityInterface(fields=["dwi", "gradients", "b0", "mask", "mask_out"]),
        name="inputnode",
    )
    made = ("generated", "novelty")
    outputnode = Node(IdentityInterface(fields=["representation", *made]), name="outputnode")
    represent_wf = init_represent_wf(plan, shell, settings, omp_nthreads)
    translate_wf = init_translate_wf(plan, settings, omp_nthreads)
    taken = ("dwi", "gradients", "b0", "mask")
    workflow.connect(
        [
            (inputnode, represent_wf, [(f, f"inputnode.{f}") for f in taken]),
            (
                inputnode,
                translate_wf,
                [(f, f"inputnode.{f}") for f in ("mask", "mask_out")],
            ),
            (
                represent_wf,
                translate_wf,
                [("outputnode.representation", "inputnode.representation")],
            ),
            (represent_wf, outputnode, [("outputnode.representation", "representation")]),
            (translate_wf, outputnode, [(f"outputnode.{f}", f) for f in made]),
        ]
    )
    return workflow


def join_methods(workflow: Workflow) -> str:
    """Methods text of a scan: what every step says of itself, once, in the order of the data."""
    texts: list[str] = []
    order = ("prepare_wf", "represent_wf", "translate_wf", "harmonize_wf", "measure_wf")
    parts = {name.rsplit(".", 1)[-1]: workflow.get_node(name) for name in _sub_workflows(workflow)}
    for name in order:
        text = getattr(parts.get(name), "__desc__", "") or ""
        if text and text not in texts:
            texts.append(text)
    return "\n\n".join(texts)


def _sub_workflows(workflow: Workflow) -> list[str]:
    names = []
    for node in workflow._graph.nodes():
        if isinstance(node, Workflow):
            names.append(node.name)
            names += [f"{node.name}.{inner}" for inner in _sub_workflows(node)]
    return names


def describe_result(scan: Any, settings: Settings, training: Any) -> dict[str, Any]:
    """What every sidecar says: that the result is synthetic, and how it came about.

    Parameters
    ----------
    scan : Scan
    settings : Settings
    training : anything JSON can hold
        What the model was trained on, from its config.
    """
    return {
        "Synthetic": True,
        "Sources": [scan.uri],
        "SoftwareName": "dmri7t",
        "SoftwareVersion": __version__,
        "ModelName": settings.model_name,
        "ModelVersion": settings.model_version,
        "ModelSHA256": settings.model_sha256,
        "ModelTraining": training,
        "RandomSeed": settings.random_seed,
        "SamplerSteps": settings.sampler_steps,
        "Samples": settings.samples,
        "Upsampling": settings.upsampling,
        "SphericalHarmonicBasis": "MRtrix",
        "SphericalHarmonicNormalization": "orthonormal",
        "RatioBounds": [settings.ratio_lower, settings.ratio_upper],
        "ConsistencyFraction": settings.consistency,
        **({"Denoised": "MP-PCA"} if settings.denoise else {}),
        **({"GibbsCorrected": True} if settings.gibbs else {}),
        **describe_space(scan, settings.output_layout),
        DIGEST: settings.digest(),
    }


def output_names(scan: Any, layout: str = "bids") -> dict[str, str]:
    """Name of every output of a scan within the data set, by key."""
    from dmri7t.io.derivatives import QSIPREP_ONLY, output_path

    keys = [*KEYS, *(QSIPREP_ONLY if layout == "qsiprep" else ())]
    return {key: str(output_path(Path(), scan, key, layout)) for key in keys}
