"""Scans of a participant, and participants, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype import Node, Workflow

from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.report import FILES, GatherScan, WriteReport
from dmri7t.models.bundle import read_config
from dmri7t.settings import Settings
from niflow.dmri7t.plan import plan_scan
from niflow.dmri7t.scan import describe_result, init_scan_wf, output_names

INPUTS = ("dwi", "bval", "bvec", "grad_b", "mask")
"""Files of a scan that its workflow takes."""


def participant_wf_name(label: str) -> str:
    """Name of a participant's workflow.

    Examples
    --------
    >>> participant_wf_name("01")
    'sub_01_wf'
    """
    return f"sub_{''.join(c if c.isalnum() else '_' for c in label)}_wf"


def init_participant_wf(
    label: str,
    scans: Sequence[Any],
    settings: Settings,
    out_dir: str | Path,
    omp_nthreads: int = 1,
    command: str = "",
    left: Sequence[str] = (),
) -> Workflow:
    """All scans of one participant, and their report.

    Workflow Graph

    .. code-block:: text

        <scan>_wf -> gather_<scan>, one a scan
        gather_<scan> -> collect_scans -> report

    Parameters
    ----------
    label : str
    scans : sequence of Scan
        See :class:`dmri7t.io.inputs.Scan`.
    settings : Settings
    out_dir : path
        The derivative data set.
    omp_nthreads : int
        Threads of a node.
    command : str
        Command line of the run, for the report.
    left : sequence of str
        Why other scans of the participant could not be used, for the report.
    """
    workflow = Workflow(participant_wf_name(label))
    config = read_config(Path(settings.model))
    # what costs nothing is no job of its own on a cluster
    collect_scans = Node(Collect(len(scans)), name="collect_scans", run_without_submitting=True)
    report = Node(
        WriteReport(
            label=label,
            settings=settings.to_toml(),
            settings_sha256=settings.digest(),
            model=settings.model,
            model_sha256=settings.model_sha256,
            out_dir=str(out_dir),
            command=command,
            left=list(left),
        ),
        name="report",
        mem_gb=1.0,
    )
    workflow.connect(collect_scans, "out", report, "manifests")
    for place, scan in enumerate(scans, start=1):
        plan = plan_scan(scan, settings)
        scan_wf = init_scan_wf(
            plan,
            settings,
            output_names(scan, settings.output_layout),
            describe_result(scan, settings, config.get("training", {})),
            config.get("ranges", {}),
            dict(scan.sidecar),
            omp_nthreads,
            config.get("calibration"),
        )
        inputnode = scan_wf.get_node("inputnode")
        for name in INPUTS:
            path = getattr(scan, name, None)
            if path:
                setattr(inputnode.inputs, name, str(path))
        if plan.tissues:
            inputnode.inputs.segmentation = [str(path) for path in scan.segmentation]
            inputnode.inputs.anatomy_mask = str(scan.anatomy_mask)
        inputnode.inputs.out_dir = str(out_dir)
        gather = Node(
            GatherScan(
                stem=scan.stem,
                source=scan.uri,
                methods=scan_wf.__desc__,
                workflow=plan.name,
                kind=plan.kind,
            ),
            name=f"gather_{plan.name.removesuffix('_wf')}",
            run_without_submitting=True,
        )
        workflow.connect(
            [
                (scan_wf, gather, [(f"outputnode.{field}", field) for field in FILES]),
                (scan_wf, gather, [("outputnode.out_files", "written")]),
                (gather, collect_scans, [("manifest", f"in{place}")]),
            ]
        )
    return workflow


def init_dmri7t_wf(
    scans: Sequence[Any],
    settings: Settings,
    out_dir: str | Path,
    omp_nthreads: int = 1,
    command: str = "",
    left: dict[str, list[str]] | None = None,
    name: str = "dmri7t_wf",
) -> Workflow:
    """All participants, side by side.

    Workflow Graph

    .. code-block:: text

        sub_<label>_wf, one a participant

    Parameters
    ----------
    scans : sequence of Scan
        Of all participants.
    settings : Settings
    out_dir : path
        The derivative data set.
    omp_nthreads : int
        Threads of a node.
    command : str
        Command line of the run, for the reports.
    left : dict, optional
        Why scans could not be used, for the reports, by participant.
    name : str
    """
    by_label: dict[str, list[Any]] = defaultdict(list)
    for scan in scans:
        by_label[scan.entities["sub"]].append(scan)
    workflow = Workflow(name)
    for label in sorted(by_label):
        unfit = (left or {}).get(label, [])
        part = init_participant_wf(
            label, by_label[label], settings, out_dir, omp_nthreads, command, unfit
        )
        workflow.add_nodes([part])
    return workflow
