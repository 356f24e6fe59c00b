"""Stage 11: results into the derivative data set."""

from __future__ import annotations

from typing import Any

import attrs
from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.untranslated import WriteInterpolated
from dmri7t.interfaces.write import (
    CompressDWI,
    WriteDWI,
    WriteMaps,
    WriteMask,
    WriteQuality,
    WriteReference,
)
from dmri7t.io.derivatives import OUTPUTS, Output
from dmri7t.models.config import ModelConfig
from dmri7t.signal.orders import ORDERS
from niflow.dmri7t.measure import spreads_anisotropy
from niflow.dmri7t.plan import ScanPlan
from niflow.dmri7t.sidecars import (
    HARMONICS,
    describe_acquisition,
    describe_output,
    describe_result,
    describe_source,
)
from niflow.dmri7t.threads import beside

OF_SAMPLES = "Of the model's samples alone, which is less than its error: it is not calibrated."
OF_ERROR = "Of its error, as the model's calibration expects it."


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
    remark : str
        One more sentence of their descriptions.
    """

    name: str
    source: str
    maps: dict[str, tuple[str, int]]
    sidecar: dict[str, Any]
    remark: str = ""

    @property
    def of_input(self) -> bool:
        """Whether they are of the input, on its grid: the model has no part in them."""
        return self._row.grid == "input"

    @property
    def mask(self) -> str:
        """Field of ``inputnode`` that holds the mask of their grid."""
        return "mask" if self.of_input else "mask_out"

    @property
    def _row(self) -> Output:
        return OUTPUTS[next(iter(self.maps))]

    def node(self, plan: ScanPlan, sidecar: dict[str, Any]) -> Node:
        """Node that writes them."""
        return Node(
            WriteMaps(
                maps={plan.names[key]: list(values) for key, values in self.maps.items()},
                sidecar={**sidecar, "SkullStripped": True, **self.sidecar},
                own={plan.names[key]: describe_output(key, plan, self.remark) for key in self.maps},
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
    of_tensor = {"Model": "tensor", "Volumes": plan.tensor_volumes}
    tensors = [
        MapMaker(
            "ds_tensor_native",
            "tensor_native",
            {"fa_native": ("fa", -1), "md_native": ("md", -1)},
            of_tensor,
        ),
        MapMaker("ds_tensor", "tensor_generated", {"fa": ("fa", -1), "md": ("md", -1)}, of_tensor),
    ]
    tensors = tensors if plan.tensor_volumes else []
    if not plan.translated:
        return tensors
    of_shells = {"Shells": [shell.bval for shell in plan.translated], "Model": "sh", **HARMONICS}
    makers = [
        MapMaker("ds_rish_native", "representations", _rish("native", "rish"), of_shells),
        MapMaker("ds_rish_7tlike", "generated", _rish("7tlike", "mean"), of_shells),
        *tensors,
    ]
    cones = model.calibration is not None and model.calibration.intervals.direction is not None
    if cones:
        makers.append(
            MapMaker(
                "ds_cone",
                "generated",
                {"cone_uncertainty": ("cone", -1)},
                {**of_shells, "Calibrated": True},
            )
        )
    if calibrated or plan.settings.samples > 1:
        makers.append(
            MapMaker(
                "ds_uncertainty",
                "generated",
                _rish("uncertainty", "sd"),
                {**of_shells, "Calibrated": calibrated},
                OF_ERROR if calibrated else OF_SAMPLES,
            )
        )
    if spreads_anisotropy(plan, model):
        makers.append(
            MapMaker(
                "ds_uncertainty_fa",
                "anisotropy_sd",
                {"fa_uncertainty": ("fa_sd", -1)},
                {**of_tensor, "Calibrated": True},
                OF_ERROR,
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
        inputnode -> compress -> ds_dwi
        inputnode -> ds_mask -> collect_others -> ds_dwi
        inputnode -> ds_rish_native -> collect_others
        inputnode -> ds_rish_7tlike -> collect_others
        inputnode -> ds_uncertainty -> collect_others  (calibrated, or more than one sample)
        inputnode -> ds_cone -> collect_others  (calibrated)
        inputnode -> ds_uncertainty_fa -> collect_others  (calibrated)
        inputnode -> ds_tensor_native -> collect_others
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
        FA and MD of the input and of the output, where there are any.
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
    # of the input, and of the result: only there has the model a part
    measured, sidecar = describe_source(plan), describe_result(plan, model)
    as_qsiprep = settings.output_layout == "qsiprep"
    ds_dwi = Node(
        (WriteDWI if plan.translated else WriteInterpolated)(
            out_file=plan.names["dwi"],
            sidecar={
                **describe_acquisition(plan, as_qsiprep),
                **sidecar,
                "SkullStripped": True,
                **describe_output("dwi", plan),
            },
            mrtrix_table=as_qsiprep,
        ),
        name="ds_dwi",
    )
    compress = Node(
        CompressDWI(repetition_time=plan.repetition_time, lps=as_qsiprep),
        name="compress",
        # metrics are measured beside it
        n_procs=beside(omp_nthreads),
        mem_gb=0.4 + 6 * plan.image_gigabytes,
    )
    workflow.connect(
        [
            (inputnode, compress, [("dwi", "dwi"), ("mask_out", "mask")]),
            (compress, ds_dwi, [("image", "image")]),
        ]
    )
    ds_mask = Node(
        WriteMask(
            out_file=plan.names["mask"],
            sidecar={**measured, "Type": "Brain", **describe_output("mask", plan)},
        ),
        name="ds_mask",
        mem_gb=0.3 + 3 * plan.image_gigabytes,
    )
    ds_quality = Node(
        WriteQuality(
            out_json=plan.names["quality_json"],
            out_tsv=plan.names["quality_tsv"],
            out_toml=plan.names["settings"],
            settings=settings.to_toml(),
            sidecar={**sidecar, **describe_output("quality_json", plan)},
        ),
        name="ds_quality",
    )
    # every writer, and what it takes: (field here, field there)
    taken = {
        ds_mask: [("mask_out", "mask")],
        ds_quality: [("quality", "quality"), ("table", "table")],
    }
    for maker in map_makers(plan, model):
        node = maker.node(plan, measured if maker.of_input else sidecar)
        taken[node] = [(maker.source, "sources"), (maker.mask, "mask")]
    if as_qsiprep:
        ds_dwiref = Node(
            WriteReference(
                out_file=plan.names["dwiref"],
                sidecar={**measured, "SkullStripped": True, **describe_output("dwiref", plan)},
            ),
            name="ds_dwiref",
            mem_gb=0.3 + 3 * plan.image_gigabytes,
        )
        taken[ds_dwiref] = [("b0", "volume")]
    others = list(taken)
    same = [(field, field) for field in ("gradients", "quality")]
    if plan.translated:
        same.append(("representations", "representations"))
    taken[ds_dwi] = [*same, ("mask_out", "mask")]
    for node, pairs in taken.items():
        workflow.connect([(inputnode, node, [*pairs, ("out_dir", "out_dir")])])
        if as_qsiprep:
            # QSIPrep's images have their axes so, and QSIRecon counts on it; ours all do as well
            node.inputs.lps = True
    if not spreads_anisotropy(plan, model):
        computed.remove("anisotropy_sd")
    computed = [field for field in computed if field not in plan.absent]
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
