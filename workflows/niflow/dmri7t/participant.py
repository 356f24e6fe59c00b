"""Scans of a participant, and participants, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from nipype import Node, Workflow

from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.report import FILES, GatherScan, WriteReport
from dmri7t.models.config import ModelConfig
from niflow.dmri7t.measure import spreads_anisotropy
from niflow.dmri7t.plan import ScanPlan, node_name
from niflow.dmri7t.scan import init_scan_wf


def participant_wf_name(label: str) -> str:
    """Name of a participant's workflow.

    Examples
    --------
    >>> participant_wf_name("01")
    'sub_01_wf'
    """
    return f"sub_{node_name(label)}_wf"


def init_participant_wf(
    label: str,
    plans: Sequence[ScanPlan],
    model: ModelConfig,
    out_dir: str | Path,
    omp_nthreads: int = 1,
    command: str = "",
    skipped: Sequence[str] = (),
    tractography: bool = False,
) -> Workflow:
    """All scans of one participant, and their report.

    Workflow Graph

    .. code-block:: text

        <scan>_wf -> gather_<scan>, one a scan
        gather_<scan> -> collect_scans -> report

    Parameters
    ----------
    label : str
    plans : sequence of ScanPlan
        Of scans that lie on disk, with the same settings.
    model : ModelConfig
        What the model says of itself.
    out_dir : path
        The derivative data set.
    omp_nthreads : int
        Threads of a node.
    command : str
        Command line of the run, for the report.
    skipped : sequence of str
        Why other scans of the participant could not be used, for the report.
    tractography : bool
        Whether the report counts peaks and streamlines.
    """
    workflow = Workflow(participant_wf_name(label))
    settings = plans[0].settings
    # what costs nothing is no job of its own on a cluster
    collect_scans = Node(Collect(len(plans)), name="collect_scans", run_without_submitting=True)
    report = Node(
        WriteReport(
            label=label,
            settings=settings.to_toml(),
            settings_sha256=settings.digest(),
            model=settings.model,
            model_sha256=settings.model_sha256,
            out_dir=str(out_dir),
            command=command,
            skipped=list(skipped),
            tractography=tractography,
        ),
        name="report",
        # coefficients of a whole box, as DIPY takes them
        mem_gb=1.0 + (3.0 if tractography else 0.0),
    )
    workflow.connect(collect_scans, "out", report, "manifests")
    for number, plan in enumerate(plans, start=1):
        scan = plan.scan
        scan_wf = init_scan_wf(plan, model, omp_nthreads)
        inputnode = scan_wf.get_node("inputnode")
        inputnode.inputs.trait_set(**plan.files, out_dir=str(out_dir))
        absent = list(plan.absent)
        if not spreads_anisotropy(plan, model):
            absent.append("anisotropy_sd")
        gather = Node(
            GatherScan(
                stem=scan.stem,
                source=", ".join(scan.uris),
                methods=scan_wf.__desc__,
                workflow=plan.name,
                kind=scan.kind,
                absent=list(absent),
                remarks=list(plan.remarks),
                groups={name: list(rows) for name, rows in plan.groups.items()},
            ),
            name=f"gather_{plan.name.removesuffix('_wf')}",
            run_without_submitting=True,
        )
        workflow.connect(
            [
                (scan_wf, gather, [(f"outputnode.{f}", f) for f in FILES if f not in absent]),
                (scan_wf, gather, [("outputnode.out_files", "written")]),
                (gather, collect_scans, [("manifest", f"in{number}")]),
            ]
        )
    return workflow


def init_dmri7t_wf(
    plans: Sequence[ScanPlan],
    model: ModelConfig,
    out_dir: str | Path,
    omp_nthreads: int = 1,
    command: str = "",
    skipped: Mapping[str, Sequence[str]] | None = None,
    name: str = "dmri7t_wf",
    tractography: bool = False,
) -> Workflow:
    """All participants, side by side.

    Workflow Graph

    .. code-block:: text

        sub_<label>_wf, one a participant

    Parameters
    ----------
    plans : sequence of ScanPlan
        Of the scans of all participants, which lie on disk, with the same settings.
    model : ModelConfig
        What the model says of itself.
    out_dir : path
        The derivative data set.
    omp_nthreads : int
        Threads of a node.
    command : str
        Command line of the run, for the reports.
    skipped : dict, optional
        Why scans could not be used, for the reports, by participant.
    name : str
    tractography : bool
        Whether the reports count peaks and streamlines.
    """
    by_label: dict[str, list[ScanPlan]] = defaultdict(list)
    for plan in plans:
        by_label[plan.scan.entities["sub"]].append(plan)
    workflow = Workflow(name)
    for label, own in sorted(by_label.items()):
        reasons = (skipped or {}).get(label, ())
        part = init_participant_wf(
            label, own, model, out_dir, omp_nthreads, command, reasons, tractography
        )
        workflow.add_nodes([part])
    return workflow
