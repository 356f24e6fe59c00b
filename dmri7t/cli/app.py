"""The BIDS App: ``dmri7t bids_dir out_dir participant``."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dmri7t import __version__
from dmri7t.cli.config import apply_config
from dmri7t.cli.lifecycle import (
    announce_need,
    check_names,
    choose_display,
    clean_after,
    left_by_others,
    remove_unfinished,
    write_usage,
)
from dmri7t.cli.messages import complain, flush, say
from dmri7t.cli.parser import build_parser
from dmri7t.cli.reports import (
    ON_CLUSTER,
    PRELOAD,
    redraw,
    report_redrawn,
    run_folder,
    write_methods,
)
from dmri7t.cli.resources import Allocation, choose_plugin, choose_resources
from dmri7t.cli.scans import choose_participants, usable_scans, wait_for_validator
from dmri7t.cli.surroundings import check_paths, prepare_process, restart_if_needed
from dmri7t.errors import Dmri7tError, InputError, Terminated
from dmri7t.execution.limits import Resources
from dmri7t.execution.locks import hold_participants
from dmri7t.execution.plugin_file import LocalSettings
from dmri7t.execution.reasons import reason_of
from dmri7t.execution.slurm.settings import SlurmSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.stop import stop_on_signals
from dmri7t.execution.workers import cool_down, quiet_libraries, warm_up
from dmri7t.files import remove_stale_parts
from dmri7t.io.dataset import Validation, validate_dataset
from dmri7t.io.dataset_files import check_output, write_dataset_files
from dmri7t.io.derivatives import describe_space
from dmri7t.io.scan import Scan
from dmri7t.io.source import Source, open_source
from dmri7t.settings import Settings

if TYPE_CHECKING:
    from nipype import Workflow

    from dmri7t.models.config import ModelConfig
    from niflow.dmri7t import ScanPlan

WORKFLOW = "dmri7t_wf"
"""Name of the whole graph, and of its folder in the work folder."""


@attrs.frozen
class Job:
    """What the command was asked to do.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    source : Source
    plans : list of ScanPlan
        At least one.
    model : ModelConfig
    allocation : Allocation
    """

    args: argparse.Namespace
    source: Source
    plans: list[ScanPlan]
    model: ModelConfig
    allocation: Allocation

    @property
    def settings(self) -> Settings:
        """Of all scans."""
        return self.plans[0].settings

    @property
    def out_dir(self) -> Path:
        """The derivative data set."""
        return self.args.out_dir.resolve()


def check_folders(args: argparse.Namespace) -> None:
    """Keep results and work out of the source data.

    Raises
    ------
    InputError
    """
    sources = [args.bids_dir.resolve(), *(path.resolve() for _, path in args.derivatives)]
    for path, what in ((args.out_dir.resolve(), "output"), (args.work_dir.resolve(), "work")):
        for source in sources:
            inside = path == source or source in path.parents
            if inside and source / "derivatives" not in path.parents:
                raise InputError(
                    f"{path}: the {what} folder lies inside the input data set; choose one "
                    f"outside it, or below {source / 'derivatives'}."
                )
        _check_writable(path, what)
    check_output(args.out_dir)


def _check_writable(path: Path, what: str) -> None:
    present = next(p for p in (path, *path.parents) if p.exists())
    if not present.is_dir():
        raise InputError(f"{present}: is a file, but the {what} folder must be a folder.")
    if not os.access(present, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the {what} folder cannot be written; choose another.")


def make_settings(args: argparse.Namespace, device: str) -> tuple[Settings, ModelConfig]:
    """Resolve the model, and gather all that decides the result: whatever options the parser has
    that are fields of the settings."""
    from niflow.dmri7t import model_settings

    asked = vars(args)
    names = [field.name for field in attrs.fields(Settings) if field.name in asked]
    return model_settings(**{name: asked[name] for name in names} | {"device": device})


def plan_all(
    scans: list[Scan], settings: Settings, out_dir: Path, status: RunStatus
) -> list[ScanPlan]:
    """Plan every scan and print its shells; note those that cannot be planned."""
    from niflow.dmri7t import describe_reasons, plan_scan

    plans = []
    for scan in scans:
        try:
            plan = plan_scan(scan, settings)
            check_names(plan, out_dir)
        except Exception as error:
            # whatever it is, it is this participant's
            status.crash_before(scan.entities["sub"], error)
            continue
        plans.append(plan)
        shells = [f"{s.name} ({plan.directions[s.name]} directions)" for s in plan.translated]
        if plan.reasons:
            shells.append(f"interpolated only: {describe_reasons(plan.reasons)}")
        before, after = (g.voxel_sizes.round(3).tolist() for g in (plan.grid, plan.grid_out))
        say(f"  {scan.stem}: {len(plan.b0)} b0, {', '.join(shells)}; voxels {before} to {after} mm")
        if not plan.translated:
            without = "" if plan.tensor_volumes else "; no tensor, FA and MD: too few directions"
            say(f"  {scan.stem}: no shell for the model: the scan is interpolated only{without}")
        if "SpaceDescription" in describe_space(scan, settings.output_layout):
            say(f"  {scan.stem}: named space-ACPC for QSIRecon, but not aligned to it; see docs")
    return plans


def run(args: argparse.Namespace) -> int:
    """Do all the command does; return the exit code.

    Raises
    ------
    Dmri7tError
        For bad usage or input that concerns the whole run.
    """
    beside = [path for _, path in args.derivatives]
    options = (args.plugin_file, args.bids_filter_file, args.bids_database_dir)
    check_paths([args.bids_dir, args.out_dir, args.work_dir, *beside, *options])
    check_folders(args)
    plugin = choose_plugin(args)
    source = open_source(
        args.bids_dir, args.input_type, dict(args.derivatives), not args.skip_bids_validation
    )
    labels = choose_participants(args, source)
    if args.analysis_level == "group":
        from dmri7t.cli.group import run_group

        return run_group(args, labels)
    say(f"Input: {source.describe()}")
    if args.dry_run or args.boilerplate_only:
        return run_participants(args, plugin, source, labels)
    folders = (args.out_dir.resolve() / "logs", args.work_dir.resolve() / WORKFLOW)
    with hold_participants(labels, folders):
        for label in labels:
            remove_stale_parts(args.out_dir.resolve() / f"sub-{label}")
        return run_participants(args, plugin, source, labels)


def run_participants(
    args: argparse.Namespace,
    plugin: LocalSettings | SlurmSettings,
    source: Source,
    labels: list[str],
) -> int:
    """Find, check, plan and translate the scans of participants; return the exit code."""
    strict = not args.skip_bids_validation
    computes = not (args.dry_run or args.reports_only or args.boilerplate_only)
    if computes and isinstance(plugin, LocalSettings):
        # its imports take seconds: they go on while this process looks at the data set
        warm_up()
    with ThreadPoolExecutor(1) as beside:
        # names of derivatives are their makers', and HCP's folders are no BIDS
        validated = source.kind.validated
        skipped = Validation("skipped" if validated else "not run: the input is not raw")
        look = validate_dataset if strict and validated else lambda _: skipped
        validating = beside.submit(look, args.bids_dir)
        allocation = choose_resources(args, plugin)
        settings, model = make_settings(args, allocation.device)
        validation = wait_for_validator(args.bids_dir, validating)
    say(
        f"dmri7t {__version__}, model {settings.model_name} {settings.model_version} "
        f"({settings.model_sha256[:12]}), device {settings.device}"
    )
    status = RunStatus(echo=say, every_node=args.verbose > 0)
    scans = usable_scans(args, source, labels, validation, status)
    plans = plan_all(scans, settings, args.out_dir.resolve(), status)
    for label, participant in sorted(status.participants.items()):
        for failure in participant.failures:
            complain(f"sub-{label}: {failure.reason}")
    if not plans:
        if not args.dry_run:
            status.write(args.out_dir.resolve() / "logs")
        return 2
    if args.dry_run:
        return status.exit_code
    return carry_out(Job(args, source, plans, model, allocation), status)


def carry_out(job: Job, status: RunStatus) -> int:
    """Do what was asked for with the scans that were planned; return the exit code."""
    job, workflow = build(job, status)
    if workflow is None:
        status.write(job.out_dir / "logs")
        return 2
    if job.args.boilerplate_only:
        for path in write_methods(workflow, job.out_dir / "logs"):
            say(f"wrote: {path}")
        return status.exit_code
    if job.args.reports_only:
        failures = {label: len(p.failures) for label, p in status.participants.items()}
        status = translate(job, workflow, status)
        return report_redrawn(status, failures, job.out_dir)
    try:
        status = translate(job, workflow, status)
    except KeyboardInterrupt:
        conclude(job, status)
        raise
    except Dmri7tError:
        raise
    except Exception as error:
        labels = {plan.scan.entities["sub"] for plan in job.plans}
        status.leave(labels, f"the run ended early: {reason_of(error)}")
        conclude(job, status)
        raise
    conclude(job, status)
    return status.exit_code


def build(job: Job, status: RunStatus) -> tuple[Job, Workflow | None]:
    """Build the graph, without the participants whose graphs cannot be built."""
    try:
        return job, _build(job, status)
    except Exception as error:
        buildable = [plan for plan in job.plans if _can_be_built(job, plan, status)]
        reduced = attrs.evolve(job, plans=buildable)
        if len(buildable) == len(job.plans):
            raise error
        return reduced, _build(reduced, status) if buildable else None


def _can_be_built(job: Job, plan: ScanPlan, status: RunStatus) -> bool:
    """Whether a scan's graph can be built by itself; if not, its participant has failed."""
    try:
        _build(attrs.evolve(job, plans=[plan]), status)
    except Exception as error:
        label = plan.scan.entities["sub"]
        status.crash_before(label, error)
        complain(f"sub-{label}: {status.participants[label].failures[-1].reason}")
        return False
    return True


def _build(job: Job, status: RunStatus) -> Workflow:
    from niflow.dmri7t import init_dmri7t_wf

    # a report that is drawn anew tells of the run that computed
    command = shlex.join(["dmri7t", *(a for a in job.args.argv if a != "--reports-only")])
    # the report tells of them by names within the data set: where that lies is no one's concern
    skipped = {
        label: [job.source.without_folders(failure.reason) for failure in participant.failures]
        for label, participant in status.participants.items()
    }
    threads = job.allocation.threads_beside(len(job.plans))
    return init_dmri7t_wf(
        job.plans,
        job.model,
        job.out_dir,
        threads,
        command,
        skipped,
        WORKFLOW,
        tractography=job.args.tractography,
    )


def translate(job: Job, workflow: Workflow, status: RunStatus) -> RunStatus:
    """Run the graph; with ``--reports-only`` the reports alone."""
    from dmri7t.execution.run import run_workflow
    from niflow.dmri7t import participant_wf_name
    from niflow.dmri7t.sidecars import describe_model

    args, log_dir = job.args, job.out_dir / "logs"
    resources = job.allocation.resources
    foretold = None
    only: dict[str, Any] = {"stop_on_first_crash": args.stop_on_first_crash}
    if args.reports_only:
        resources = resources if isinstance(resources, Resources) else ON_CLUSTER
        only = {"may_run": redraw(workflow), "preload": PRELOAD}
    else:
        # before the run leaves any trace
        foretold = announce_need(workflow, job.plans, args, resources)
        model = describe_model(job.model, job.settings)
        write_dataset_files(job.out_dir, job.source.links, job.settings, model)
        # what other runs did stays true of what they made
        for folder in (log_dir, run_folder(log_dir)):
            write_methods(workflow, folder)
    labels = [plan.scan.entities["sub"] for plan in job.plans]
    status.display = choose_display(args.verbose, foretold)
    try:
        run_workflow(
            workflow,
            {participant_wf_name(label): label for label in labels},
            resources,
            work_dir=args.work_dir.resolve(),
            log_dir=log_dir,
            write_graph=args.write_graph,
            verbose=args.verbose,
            status=status,
            **only,
        )
    finally:
        if args.resource_monitor and not args.reports_only:
            write_usage(workflow, status, log_dir / "resources.tsv")
            say(f"resources: {log_dir / 'resources.tsv'}")
    if not args.reports_only:
        for sentence in remove_unfinished(workflow, status, job.out_dir):
            complain(sentence)
        for sentence in left_by_others(workflow, job.plans, job.out_dir):
            complain(sentence)
    if args.clean_workdir and not args.reports_only:
        clean_after(workflow, status, args)
    return status


def conclude(job: Job, status: RunStatus) -> None:
    """Write the record of the run and print what it says."""
    status.write(job.out_dir / "logs")
    say("\nSummary:\n" + status.summary())
    for label, participant in sorted(status.participants.items()):
        if participant.done or participant.others_done:
            say(f"report: {job.out_dir / f'sub-{label}.html'}")


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line and the file of options that it names; a mistake in it ends here."""
    parser = build_parser()
    args = parser.parse_args(words)
    if args.config_file is None:
        return args
    try:
        apply_config(parser, args.config_file)
    except InputError as error:
        complain(str(error))
        sys.exit(2)
    return parser.parse_args(words)


def main(argv: list[str] | None = None) -> None:
    """Run the command; whatever goes wrong is one line."""
    prepare_process()
    if argv is None:
        restart_if_needed()
    words = sys.argv[1:] if argv is None else argv
    args = parse(words)
    args.argv = words
    quiet_libraries(logging.INFO if args.verbose > 1 else logging.CRITICAL)
    try:
        with stop_on_signals(last=argv is None):
            code = run(args)
    except KeyboardInterrupt as error:
        complain("interrupted; the same command goes on where this one stopped.")
        code = 143 if isinstance(error, Terminated) else 130
    except Exception as error:
        if args.verbose > 1:
            raise
        # what the user can mend says so itself
        mendable = isinstance(error, Dmri7tError)
        complain(str(error) if mendable else f"{reason_of(error)} (details with -vv)")
        code = 2 if mendable else 1
    finally:
        if argv is None:
            cool_down()
    flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
