"""Stage 11: results into the derivative data set."""

from __future__ import annotations

from typing import Any

import attrs
from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t import __version__
from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.write import (
    DIGEST,
    WriteDWI,
    WriteMaps,
    WriteMask,
    WriteQuality,
    WriteReference,
)
from dmri7t.io.derivatives import OUTPUTS, Output, describe_space
from dmri7t.io.orientation import turn_to
from dmri7t.io.sidecars import DIRECTIONS, valid_fields
from dmri7t.models.config import ModelConfig
from dmri7t.models.plain import to_plain
from dmri7t.signal.orders import ORDERS
from niflow.dmri7t.plan import ScanPlan

MEASURED = {"Synthetic": False}
"""What sidecars of results say in which the model has no part."""


@attrs.frozen
class MapMaker:
    """Writes maps out of what one stage computed.

    Parameters
    ----------
    name : str
        Of its node.
    source : str
        Field of ``inputnode`` that holds the values.
    maps : dict
        By key of :data:`dmri7t.io.derivatives.OUTPUTS`: the tensor in that file, and its row
        (-1: it has no rows). All are on one grid and have the same number of volumes.
    sidecar : dict
        What their sidecars say beside what all do.
    """

    name: str
    source: str
    maps: dict[str, tuple[str, int]]
    sidecar: dict[str, Any]

    @property
    def mask(self) -> str:
        """Field of ``inputnode`` that holds the mask of their grid."""
        return "mask" if self._row.grid == "input" else "mask_out"

    @property
    def _row(self) -> Output:
        return OUTPUTS[next(iter(self.maps))]

    def node(self, plan: ScanPlan, sidecar: dict[str, Any]) -> Node:
        """Node that writes them."""
        return Node(
            WriteMaps(
                maps={plan.names[key]: list(values) for key, values in self.maps.items()},
                sidecar={**sidecar, **self.sidecar},
                stacked=self._row.volumes == "shells",
            ),
            name=self.name,
            mem_gb=0.5 + 5 * plan.image_gigabytes + plan.gigabytes(8, out=True),
        )


def map_makers(plan: ScanPlan, model: ModelConfig) -> list[MapMaker]:
    """Makers of all maps of a scan.

    A new map is a row of :data:`dmri7t.io.derivatives.OUTPUTS` and a maker here, or one more map
    of a maker that is here.
    """
    calibrated = model.calibration is not None
    of_shells = {"Shells": [shell.bval for shell in plan.translated], "Model": "sh"}
    of_tensor = {"Model": "tensor"}
    makers = [
        MapMaker(
            "ds_rish_native", "representations", _rish("native", "rish"), {**of_shells, **MEASURED}
        ),
        MapMaker("ds_rish_7tlike", "generated", _rish("7tlike", "mean"), of_shells),
        MapMaker(
            "ds_tensor",
            "tensor_generated",
            {"fa": ("fa", -1), "md": ("md", -1)},
            {**of_tensor, "Volumes": plan.tensor_volumes},
        ),
    ]
    if calibrated or plan.settings.samples > 1:
        makers.append(
            MapMaker(
                "ds_uncertainty",
                "generated",
                _rish("uncertainty", "sd"),
                {**of_shells, "Calibrated": calibrated},
            )
        )
    if calibrated:
        makers.append(
            MapMaker(
                "ds_uncertainty_fa",
                "anisotropy_sd",
                {"fa_uncertainty": ("fa_sd", -1)},
                {**of_tensor, "Calibrated": True},
            )
        )
    return makers


def _rish(kind: str, tensor: str) -> dict[str, tuple[str, int]]:
    return {f"rish{order}_{kind}": (tensor, row) for row, order in enumerate(ORDERS)}


def init_outputs_wf(
    plan: ScanPlan, model: ModelConfig, omp_nthreads: int = 1, name: str = "outputs_wf"
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
    model : ModelConfig
        What the model says of itself.
    omp_nthreads : int
        Threads that compress the scan.
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
        Quality metrics as JSON.
    table
        The same as TSV.

    Outputs
    -------
    out_files
        Everything that was written.
    """
    workflow = Workflow(name)
    settings = plan.settings
    fields = ["dwi", "b0", "gradients", "mask", "mask_out", "representations", "generated"]
    computed = ["quality", "table", "tensor_native", "tensor_generated", "anisotropy_sd"]
    inputnode = Node(IdentityInterface(fields=["out_dir", *fields, *computed]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["out_files"]), name="outputnode")
    sidecar = describe_result(plan, model)
    in_brain = {**sidecar, "SkullStripped": True}
    as_qsiprep = settings.output_layout == "qsiprep"
    ds_dwi = Node(
        WriteDWI(
            out_file=plan.names["dwi"],
            sidecar={**_still_true(plan, as_qsiprep), **in_brain},
            repetition_time=plan.repetition_time,
            mrtrix_table=as_qsiprep,
        ),
        name="ds_dwi",
        n_procs=omp_nthreads,
        mem_gb=0.4 + 6 * plan.image_gigabytes,
    )
    ds_mask = Node(
        WriteMask(out_file=plan.names["mask"], sidecar={**sidecar, "Type": "Brain", **MEASURED}),
        name="ds_mask",
        mem_gb=0.3 + 3 * plan.image_gigabytes,
    )
    ds_quality = Node(
        WriteQuality(
            out_json=plan.names["quality_json"],
            out_tsv=plan.names["quality_tsv"],
            out_toml=plan.names["settings"],
            settings=settings.to_toml(),
            sidecar=sidecar,
        ),
        name="ds_quality",
    )
    # every writer, and what it takes: (field here, field there)
    taken = {
        ds_mask: [("mask_out", "mask")],
        ds_quality: [("quality", "quality"), ("table", "table")],
    }
    for maker in map_makers(plan, model):
        taken[maker.node(plan, sidecar)] = [(maker.source, "sources"), (maker.mask, "mask")]
    if as_qsiprep:
        ds_dwiref = Node(
            WriteReference(out_file=plan.names["dwiref"], sidecar={**in_brain, **MEASURED}),
            name="ds_dwiref",
            mem_gb=0.3 + 3 * plan.image_gigabytes,
        )
        taken[ds_dwiref] = [("b0", "volume")]
    others = list(taken)
    same = [(field, field) for field in ("dwi", "gradients", "representations", "quality")]
    taken[ds_dwi] = [*same, ("mask_out", "mask")]
    for node, pairs in taken.items():
        workflow.connect([(inputnode, node, [*pairs, ("out_dir", "out_dir")])])
        if as_qsiprep:
            # QSIPrep's images have their axes so, and QSIRecon counts on it; ours all do as well
            node.inputs.lps = True
    if model.calibration is None:
        computed.remove("anisotropy_sd")
    collect_files = _order(workflow, computed, others, ds_dwi)
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
    for number, field in enumerate(computed, start=1):
        workflow.connect(inputnode, field, collect_computed, f"in{number}")
    for number, node in enumerate(writers, start=1):
        workflow.connect(collect_computed, "out", node, "wait_for")
        workflow.connect(node, "out_files", collect_others, f"in{number}")
    workflow.connect(
        [
            (collect_others, last, [("out", "wait_for")]),
            (collect_others, collect_files, [("out", "in1")]),
            (last, collect_files, [("out_files", "in2")]),
        ]
    )
    return collect_files


def describe_result(plan: ScanPlan, model: ModelConfig) -> dict[str, Any]:
    """What every sidecar says: that the result is synthetic, and how it came about."""
    settings = plan.settings
    return {
        "Synthetic": True,
        "Sources": [plan.scan.uri],
        **({"SourceVolumesUsed": plan.used_volumes} if plan.used_volumes else {}),
        "SoftwareName": "dmri7t",
        "SoftwareVersion": __version__,
        "ModelName": settings.model_name,
        "ModelVersion": settings.model_version,
        "ModelSHA256": settings.model_sha256,
        "ModelTraining": to_plain(model.training),
        "RandomSeed": settings.random_seed,
        **describe_sampling(plan, model),
        "SphericalHarmonicBasis": "MRtrix",
        "SphericalHarmonicNormalization": "orthonormal",
        "RatioBounds": [settings.ratio_lower, settings.ratio_upper],
        "ConsistencyFraction": settings.consistency,
        **({"Denoised": "MP-PCA"} if settings.denoise else {}),
        **({"GibbsCorrected": True} if settings.gibbs else {}),
        **describe_space(plan.scan, settings.output_layout),
        DIGEST: settings.digest(),
        **describe_shells(plan),
    }


def describe_sampling(plan: ScanPlan, model: ModelConfig) -> dict[str, Any]:
    """What went into the result of that which was drawn: a calibrated model may take nothing."""
    settings, shares = plan.settings, model.shares
    entered = model.sampler is not None and (model.form == "direct" or any(shares.samples))
    made = {"SamplerSteps": settings.sampler_steps, "Samples": settings.samples}
    nothing = dict.fromkeys(made, 0)
    network = model.networks.super_resolution is not None and any(shares.super_resolution)
    drawn = {"UncertaintySamples": settings.samples} if model.sampler and not entered else {}
    return {
        **(made if entered else nothing),
        **drawn,
        "Upsampling": settings.upsampling if network else "bspline",
    }


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


def _still_true(plan: ScanPlan, turned: bool) -> dict[str, Any]:
    """Fields of the source that hold on another grid too: slices are no longer what they were."""
    valid = valid_fields(plan.scan.sidecar)[0]
    kept = {key: value for key, value in valid.items() if not key.startswith("Slice")}
    if turned:
        turn = turn_to(plan.grid)
        for key, text in kept.items():
            if key.startswith("PhaseEncoding") and str(text) in DIRECTIONS:
                new = turn.axis(text)
                # an axis without a direction stays one
                kept[key] = new if key == "PhaseEncodingDirection" else new[0]
    return kept
