"""Stage 11: results into the derivative data set."""

from __future__ import annotations

from typing import Any

from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.write import (
    WriteDWI,
    WriteMaps,
    WriteMask,
    WriteQuality,
    WriteReference,
)
from dmri7t.io.orientation import turn_to
from dmri7t.settings import Settings
from dmri7t.signal.orders import ORDERS
from niflow.dmri7t.plan import ScanPlan

VOXEL_AXES = ("i", "j", "k", "i-", "j-", "k-")
"""Axes of an image as sidecars name them."""


def init_outputs_wf(
    plan: ScanPlan,
    settings: Settings,
    names: dict[str, str],
    sidecar: dict[str, Any],
    acquisition: dict[str, Any] | None = None,
    omp_nthreads: int = 1,
    calibrated: bool = False,
    name: str = "outputs_wf",
) -> Workflow:
    """Write the results of one scan.

    Nothing is written before all is computed, and the 7T-like scan is written last: where it
    is, the scan's other results are.

    Workflow Graph

    .. code-block:: text

        inputnode -> collect_computed, for which every ds_ node waits
        inputnode -> ds_mask -> collect_others -> ds_dwi
        inputnode -> ds_rish_native -> collect_others
        inputnode -> ds_rish_7tlike -> collect_others
        inputnode -> ds_uncertainty -> collect_others  (calibrated, or more than one sample)
        inputnode -> ds_uncertainty_fa -> collect_others  (calibrated)
        inputnode -> ds_tensor -> collect_others
        inputnode -> ds_quality -> collect_others
        inputnode -> ds_dwiref -> collect_others  (QSIPrep's layout)
        collect_others, ds_dwi -> collect_files -> outputnode

    Parameters
    ----------
    plan : ScanPlan
    settings : Settings
    names : dict
        Name of every output within the data set, by key, see
        :mod:`dmri7t.io.derivatives`.
    sidecar : dict
        What every sidecar says.
    acquisition : dict, optional
        Fields of the source's sidecar, for that of the 7T-like scan.
    omp_nthreads : int
        Threads that compress the scan.
    calibrated : bool
        Whether the model knows how far its results are off.
    name : str

    Inputs
    ------
    out_dir
        The derivative data set.
    dwi
        (volumes, voxels) array on the output's grid.
    b0
        Mean b0 on the output's grid.
    gradients
        Gradient table, scanner frame.
    mask
        Brain mask on the input's grid.
    mask_out
        Brain mask on the output's grid.
    representations
        Of the translated shells.
    generated
        Generated RISH of the same shells.
    tensor_native, tensor_generated
        FA and MD of the input and of the output.
    anisotropy_sd
        Standard deviation of the error of FA, of calibrated models.
    quality
        Figures of quality as JSON.
    table
        The same as TSV.

    Outputs
    -------
    out_files
        Everything that was written.
    """
    workflow = Workflow(name)
    fields = ["dwi", "b0", "gradients", "mask", "mask_out", "representations", "generated"]
    computed = ["quality", "table", "tensor_native", "tensor_generated"]
    fields += [*computed, "anisotropy_sd"]
    sidecar = {**sidecar, **describe_shells(plan)}
    inputnode = Node(IdentityInterface(fields=["out_dir", *fields]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["out_files"]), name="outputnode")
    as_qsiprep = settings.output_layout == "qsiprep"
    whole = {**sidecar, "SkullStripped": True}
    ds_dwi = Node(
        WriteDWI(
            out_file=names["dwi"],
            sidecar={**_still_true(acquisition or {}, plan, as_qsiprep), **whole},
            repetition_time=plan.repetition_time,
            mrtrix_table=as_qsiprep,
        ),
        name="ds_dwi",
        n_procs=omp_nthreads,
        mem_gb=0.4 + 6 * plan.image_gigabytes,
    )
    ds_mask = Node(
        WriteMask(out_file=names["mask"], sidecar={**sidecar, "Type": "Brain"}),
        name="ds_mask",
        mem_gb=0.3 + 3 * plan.image_gigabytes,
    )
    ds_quality = Node(
        WriteQuality(
            out_json=names["quality_json"],
            out_tsv=names["quality_tsv"],
            out_toml=names["settings"],
            settings=settings.to_toml(),
            sidecar=sidecar,
        ),
        name="ds_quality",
    )
    ds_tensor = _maps_node(
        "ds_tensor",
        plan,
        {names["fa"]: ["fa", -1], names["md"]: ["md", -1]},
        {**sidecar, "Model": "tensor", "Volumes": plan.tensor_volumes},
        stacked=False,
    )
    workflow.connect(
        [
            (
                inputnode,
                ds_dwi,
                [(f, f) for f in ("dwi", "gradients", "representations", "quality")],
            ),
            (inputnode, ds_dwi, [("mask_out", "mask"), ("out_dir", "out_dir")]),
            (inputnode, ds_mask, [("mask_out", "mask"), ("out_dir", "out_dir")]),
            (
                inputnode,
                ds_quality,
                [("quality", "quality"), ("table", "table"), ("out_dir", "out_dir")],
            ),
            (
                inputnode,
                ds_tensor,
                [("tensor_generated", "sources"), ("mask_out", "mask"), ("out_dir", "out_dir")],
            ),
        ]
    )
    writers = [ds_mask, ds_quality, ds_tensor]
    shells = {"Shells": [shell.bval for shell in plan.translated], "Model": "sh"}
    kinds = [("native", "rish", "representations", "mask")]
    kinds += [("7tlike", "mean", "generated", "mask_out")]
    if calibrated or settings.samples > 1:
        kinds += [("uncertainty", "sd", "generated", "mask_out")]
    for kind, field, source, mask in kinds:
        maps = {names[f"rish{order}_{kind}"]: [field, row] for row, order in enumerate(ORDERS)}
        node = _maps_node(
            "ds_uncertainty" if kind == "uncertainty" else f"ds_rish_{kind}",
            plan,
            maps,
            {**sidecar, **shells, **({"Calibrated": calibrated} if field == "sd" else {})},
            stacked=True,
        )
        workflow.connect(inputnode, source, node, "sources")
        workflow.connect(inputnode, mask, node, "mask")
        workflow.connect(inputnode, "out_dir", node, "out_dir")
        writers.append(node)
    if calibrated:
        node = _maps_node(
            "ds_uncertainty_fa",
            plan,
            {names["fa_uncertainty"]: ["fa_sd", -1]},
            {**sidecar, "Model": "tensor", "Calibrated": True},
            stacked=False,
        )
        taken = [("anisotropy_sd", "sources"), ("mask_out", "mask"), ("out_dir", "out_dir")]
        workflow.connect([(inputnode, node, taken)])
        writers.append(node)
    if as_qsiprep:
        ds_dwiref = Node(
            WriteReference(out_file=names["dwiref"], sidecar=whole),
            name="ds_dwiref",
            mem_gb=0.3 + 3 * plan.image_gigabytes,
        )
        workflow.connect(inputnode, "b0", ds_dwiref, "volume")
        workflow.connect(inputnode, "out_dir", ds_dwiref, "out_dir")
        writers.append(ds_dwiref)
        # QSIPrep's images have their axes so, and QSIRecon counts on it; ours all do as well
        for node in (ds_dwi, *writers):
            node.inputs.lps = True
    if calibrated:
        computed = [*computed, "anisotropy_sd"]
    collect_files = _order(workflow, computed, writers, ds_dwi)
    workflow.connect(collect_files, "out", outputnode, "out_files")
    return workflow


def _order(workflow: Workflow, computed: list[str], writers: list[Node], last: Node) -> Node:
    """Let writers wait until all is computed, and one of them for the others; list the files."""
    inputnode = workflow.get_node("inputnode")
    collect_computed = Node(
        Collect(len(computed)), name="collect_computed", run_without_submitting=True
    )
    collect_others = Node(Collect(len(writers)), name="collect_others", run_without_submitting=True)
    collect_files = Node(Collect(2), name="collect_files", run_without_submitting=True)
    for place, field in enumerate(computed, start=1):
        workflow.connect(inputnode, field, collect_computed, f"in{place}")
    for place, node in enumerate(writers, start=1):
        workflow.connect(collect_computed, "out", node, "wait_for")
        workflow.connect(node, "out_files", collect_others, f"in{place}")
    workflow.connect(
        [
            (collect_others, last, [("out", "wait_for")]),
            (collect_others, collect_files, [("out", "in1")]),
            (last, collect_files, [("out_files", "in2")]),
        ]
    )
    return collect_files


def describe_shells(plan: ScanPlan) -> dict[str, Any]:
    """What sidecars say of shells: which the model translated, and why it did not the others."""
    return {
        "TranslatedShells": [shell.bval for shell in plan.translated],
        "InterpolatedShells": [
            {
                "BValue": shell.bval,
                "Volumes": len(shell),
                "Directions": plan.directions[shell.name],
                "Reason": plan.reasons[shell.name],
            }
            for shell in plan.passed
        ],
    }


def _still_true(acquisition: dict[str, Any], plan: ScanPlan, turned: bool) -> dict[str, Any]:
    """Fields of the source that hold on another grid too: slices are no longer what they were."""
    kept = {key: value for key, value in acquisition.items() if not key.startswith("Slice")}
    if turned:
        turn = turn_to(plan.grid)
        for key, text in kept.items():
            if key.startswith("PhaseEncoding") and str(text) in VOXEL_AXES:
                new = turn.axis(text)
                # an axis without a direction stays one
                kept[key] = new if key == "PhaseEncodingDirection" else new[0]
    return kept


def _maps_node(
    name: str, plan: ScanPlan, maps: dict[str, Any], sidecar: dict[str, Any], stacked: bool
) -> Node:
    return Node(
        WriteMaps(maps=maps, sidecar=sidecar, stacked=stacked),
        name=name,
        mem_gb=0.5 + 5 * plan.image_gigabytes + plan.gigabytes(8, out=True),
    )
