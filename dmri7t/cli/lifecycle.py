"""What is done around a run: the estimate before it, the table and the cleaning after it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dmri7t.cli.messages import complain, say
from dmri7t.errors import InputError
from dmri7t.execution.cleanup import clean
from dmri7t.execution.estimate import check_memory, check_room, estimate, size_gb
from dmri7t.execution.limits import Resources
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.files import NAME_LENGTH, write_whole
from dmri7t.io.verify import find_fault

if TYPE_CHECKING:
    from nipype import Node, Workflow

    from niflow.dmri7t import ScanPlan

PATH_LENGTH = 4000
"""Longest path in bytes; Linux takes 4096, and parts of files have longer names for a while."""


def all_nodes(workflow: Workflow) -> dict[str, Node]:
    """Every node of a workflow and of those within it, by full name."""
    return {f"{workflow.name}.{n}": workflow.get_node(n) for n in workflow.list_node_names()}


def check_names(plan: ScanPlan, out_dir: Path) -> None:
    """See that the file system takes the names that a scan's results will have.

    Raises
    ------
    InputError
    """
    for name in plan.names.values():
        if len(os.fsencode(Path(name).name)) > NAME_LENGTH:
            raise InputError(
                f"{plan.scan.dwi}: its results would have names of more than {NAME_LENGTH} "
                f"characters, which no file can have ({Path(name).name[-40:]}); give it a shorter "
                "label."
            )
        if len(os.fsencode(out_dir / name)) > PATH_LENGTH:
            raise InputError(
                f"{out_dir}: its path is too long for the results of {plan.scan.stem}; choose "
                "an output folder with a shorter one."
            )


def announce_need(
    workflow: Workflow,
    plans: list[ScanPlan],
    args: argparse.Namespace,
    resources: Resources | SlurmSettings,
) -> None:
    """Print what the run needs; warn where that may be too much.

    Raises
    ------
    InputError
        If there is certainly too little room on disk.
    """
    need = estimate(all_nodes(workflow), plans)
    say(f"The run {need.describe()}")
    present = size_gb(args.work_dir.resolve() / workflow.name)
    # a job on a cluster gets what its node declares
    memory_gb = resources.memory_gb if isinstance(resources, Resources) else float("inf")
    room = check_room(need, args.work_dir.resolve(), args.out_dir.resolve(), present)
    for warning in [*room, *check_memory(need, memory_gb, args.low_mem)]:
        complain(f"warning: {warning}")


def write_usage(workflow: Workflow, status: RunStatus, path: Path) -> None:
    """Write what every node took, and what it had declared, as a table."""
    declared = {status.split(name): node for name, node in all_nodes(workflow).items()}
    rows = ["participant\tnode\tstate\tseconds\tpeak_gb\tdeclared_gb\tn_procs"]
    for label, participant in sorted(status.participants.items()):
        for record in participant.nodes.values():
            node = declared.get((label, record.name))
            asked = (f"{node.mem_gb:.3f}", str(node.n_procs)) if node else ("n/a", "n/a")
            took = (record.state, f"{record.seconds:.3f}", f"{record.peak_gb:.3f}")
            rows.append("\t".join((f"sub-{label}", record.name, *took, *asked)))
    write_whole(path, "\n".join(rows) + "\n")


def remove_unfinished(workflow: Workflow, status: RunStatus, out_dir: Path) -> list[str]:
    """Remove all results of a scan of which one could not be written; return the scans' names.

    What is left would look like a scan that is done. A run that was interrupted is another
    matter: it goes on where it stopped.
    """
    failed = {
        (label, failure.node.rpartition(".")[0])
        for label, participant in status.participants.items()
        for failure in participant.failures
    }
    names = []
    for fullname, node in all_nodes(workflow).items():
        label, name = status.split(fullname)
        scan = name.rpartition(".")[0]
        if not scan or (label, scan) not in failed or not hasattr(node.interface, "targets"):
            continue
        for target in node.interface.targets():
            path = out_dir / target
            # what is in the way of a file is not ours
            if not path.is_dir():
                path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == out_dir or not folder.is_dir() or any(folder.iterdir()):
                    break
                folder.rmdir()
        names.append(f"sub-{label} {scan}")
    return sorted(set(names))


def clean_after(workflow: Workflow, status: RunStatus, args: argparse.Namespace) -> None:
    """Remove the nodes' folders once every result is known to be whole.

    A result that is not makes its participant a failed one, and the work folder stays.
    """
    if status.exit_code != 0:
        say("--clean-workdir: not all is done, so the work folder stays as it is.")
        return
    out_dir, work_dir = args.out_dir.resolve(), args.work_dir.resolve()
    nodes = all_nodes(workflow)
    written = {name: n.interface for name, n in nodes.items() if hasattr(n.interface, "targets")}
    count = 0
    for name, interface in written.items():
        for target in interface.targets():
            count += 1
            if fault := find_fault(out_dir / target, work_dir):
                label, _ = status.split(name)
                status.fail_before(label, f"{fault}; delete it and run the command again")
    if status.exit_code != 0:
        say("--clean-workdir: not all results are whole, so the work folder stays as it is.")
        return
    freed = clean(nodes, work_dir)
    say(f"--clean-workdir: {count} results are whole; {freed:.2g} GiB freed in {work_dir}")
