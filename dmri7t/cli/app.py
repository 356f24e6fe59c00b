"""The BIDS App: ``dmri7t bids_dir out_dir participant``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dmri7t import __version__
from dmri7t.cli.config import apply_config, config_file_of
from dmri7t.cli.lifecycle import (
    announce_need,
    clean_after,
    write_resources,
)
from dmri7t.cli.parser import build_parser
from dmri7t.cli.reports import ON_CLUSTER, PRELOAD, redraw, tell_redrawn, write_methods
from dmri7t.cli.where import Where, choose_plugin, choose_where
from dmri7t.errors import Dmri7tError, InputError, Terminated
from dmri7t.execution.limits import Resources
from dmri7t.execution.plugin_file import LocalSettings
from dmri7t.execution.status import RunStatus
from dmri7t.execution.stop import stop_on_signals
from dmri7t.execution.workers import warm_up
from dmri7t.io.dataset import Validation, validate_dataset
from dmri7t.io.scan import Scan
from dmri7t.io.search import Query
from dmri7t.io.source import Source, open_source, remarks
from dmri7t.settings import Settings

if TYPE_CHECKING:
    from nipype import Workflow

    from dmri7t.models.config import ModelConfig
    from niflow.dmri7t import ScanPlan


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Print one line to standard error."""
    sys.stdout.flush()
    print(f"dmri7t: {' '.join(text.split())}", file=sys.stderr, flush=True)


def check_folders(args: argparse.Namespace) -> None:
    """Keep results and work out of the source data.

    Raises
    ------
    InputError
    """
    from dmri7t.io.derivatives import check_output

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


def make_settings(args: argparse.Namespace, device: str) -> tuple[Settings, dict[str, Any]]:
    """Resolve the model, and gather all that decides the result: whatever options the parser has
    that are fields of the settings."""
    from niflow.dmri7t import model_settings

    asked = vars(args)
    names = [field.name for field in attrs.fields(Settings) if field.name in asked]
    return model_settings(**{name: asked[name] for name in names} | {"device": device})


def choose_participants(args: argparse.Namespace, source: Source) -> list[str]:
    """Labels to run.

    Raises
    ------
    InputError
        If one is not in the data set, or there is none at all.
    """
    present = list(source.folders)
    asked = [source.kind.label(name) for name in args.participant_label]
    unknown = [label for label in asked if label not in present]
    if unknown:
        raise InputError(
            f"{args.bids_dir}: no participant {', '.join(unknown)}; there are: "
            f"{', '.join(present) or 'none'}."
        )
    if not present:
        raise InputError(
            f"{args.bids_dir}: no folder {source.kind.layout}; give the root of the data set."
        )
    # named twice is asked once
    return list(dict.fromkeys(asked)) or present


def read_filters(path: Path | None) -> dict[str, Any]:
    """Read the dwi part of a filter file.

    Raises
    ------
    InputError
    """
    if path is None:
        return {}
    try:
        filters = json.loads(path.read_text()).get("dwi", {})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a usable filter file ({error}); mend it.") from error
    if not isinstance(filters, dict):
        raise InputError(f'{path}: "dwi" must hold entities and their values; mend it.')
    return filters


def find_and_check(
    args: argparse.Namespace,
    source: Source,
    labels: list[str],
    validation: Validation,
    status: RunStatus,
) -> list[Scan]:
    """List all candidates, check those taken, note those that cannot be used.

    Returns
    -------
    list of Scan
        All that can be used, whatever became of the participant's others.
    """
    filters = read_filters(args.bids_filter_file)
    query = Query(labels, args.session_id, filters, args.bids_database_dir, args.b0_threshold)
    candidates = source.find(query)
    scans = [c.scan for c in candidates if c.scan is not None]
    flaws = find_flaws(source, scans, validation, args.b0_threshold)
    say("Candidate scans:")
    for candidate in candidates:
        name = source.relative_name(candidate.path)
        if not candidate.taken:
            say(f"  skipped  {name}: {candidate.reason}")
        elif candidate.path in flaws:
            say(f"  skipped  {name}: cannot be used: {flaws[candidate.path]}")
        else:
            say(f"  taken    {name}: a diffusion series with gradients that fit")
    usable = [s for s in scans if s.dwi not in flaws]
    for remark in remarks(source, usable):
        say(f"  {remark}")
    for label in labels:
        own = [scan for scan in scans if scan.entities["sub"] == label]
        for flaw in [flaws[scan.dwi] for scan in own if scan.dwi in flaws]:
            status.fail_before(label, flaw)
        if not own:
            reason = f"{source.folders[label]}: no diffusion scan to take"
            status.fail_before(label, f"{reason}; see above why its images were skipped")
    return usable


def find_flaws(
    source: Source, scans: list[Scan], validation: Validation, b0_threshold: float
) -> dict[Path, str]:
    """What is wrong with scans, by image: our own checks first, since they name the remedy."""
    from dmri7t.io.checks import check_scan

    flaws = {}
    errors = validation.of_files({source.relative_name(s.dwi) for s in scans})
    for scan in scans:
        name = source.relative_name(scan.dwi)
        if name in errors:
            flaws[scan.dwi] = (
                f"{scan.dwi}: not valid BIDS ({errors[name]}); mend it or pass "
                "--skip-bids-validation."
            )
        try:
            check_scan(scan, b0_threshold)
        except InputError as error:
            flaws[scan.dwi] = str(error)
    return flaws


def validate(args: argparse.Namespace, running: Future[Validation]) -> Validation:
    """Wait for the validator; errors of the whole data set end the run.

    Raises
    ------
    InputError
    """
    validation = running.result()
    of_dataset = validation.of_dataset()
    if of_dataset:
        more = f" and {len(of_dataset) - 1} more" if len(of_dataset) > 1 else ""
        raise InputError(
            f"{args.bids_dir}: not valid BIDS ({of_dataset[0]}{more}); mend it or pass "
            "--skip-bids-validation."
        )
    say(f"BIDS validator: {validation.remark}")
    return validation


def plan_all(scans: list[Scan], settings: Settings, status: RunStatus) -> list[ScanPlan]:
    """Plan every scan and print its shells; note those that cannot be planned."""
    from dmri7t.io.derivatives import describe_space
    from niflow.dmri7t import plan_scan

    plans = []
    for scan in scans:
        try:
            plan = plan_scan(scan, settings)
        except Dmri7tError as error:
            status.fail_before(scan.entities["sub"], str(error))
            continue
        plans.append(plan)
        shells = [f"{s.name} ({plan.directions[s.name]} directions)" for s in plan.translated]
        shells += [f"{s.name} (interpolated only: {plan.reasons[s.name]})" for s in plan.passed]
        before, after = (g.voxel_sizes.round(3).tolist() for g in (plan.grid, plan.grid_out))
        say(f"  {scan.stem}: {len(plan.b0)} b0, {', '.join(shells)}; voxels {before} to {after} mm")
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
    check_folders(args)
    strict = not args.skip_bids_validation
    plugin = choose_plugin(args)
    source = open_source(args.bids_dir, args.input_type, dict(args.derivatives), strict)
    labels = choose_participants(args, source)
    if args.analysis_level == "group":
        from dmri7t.cli.group import run_group

        return run_group(args, labels, say, complain)
    say(f"Input: {source.describe()}")
    computes = not (args.dry_run or args.reports_only or args.boilerplate_only)
    if computes and isinstance(plugin, LocalSettings):
        # its imports take seconds: they go on while this process looks at the data set
        warm_up()
    with ThreadPoolExecutor(1) as beside:
        # names of derivatives are their makers', and HCP's folders are no BIDS
        wanted = source.kind.validated
        skipped = Validation("skipped" if wanted else "not run: the input is not raw")
        look = validate_dataset if strict and wanted else lambda _: skipped
        running = beside.submit(look, args.bids_dir)
        where = choose_where(args, plugin)
        settings, model = make_settings(args, where.device)
        validation = validate(args, running)
    say(
        f"dmri7t {__version__}, model {settings.model_name} {settings.model_version} "
        f"({settings.model_sha256[:12]}), device {settings.device}"
    )
    status = RunStatus()
    scans = find_and_check(args, source, labels, validation, status)
    plans = plan_all(scans, settings, status)
    for label, participant in sorted(status.participants.items()):
        for failure in participant.failures:
            complain(f"sub-{label}: {failure.reason}")
    if not plans:
        if args.out_dir.is_dir() and not args.dry_run:
            status.write(args.out_dir.resolve() / "logs")
        return 2
    if args.dry_run:
        return status.exit_code
    workflow = build(args, source, plans, model, status, where)
    if args.boilerplate_only:
        for path in write_methods(workflow, args.out_dir.resolve() / "logs"):
            say(f"wrote: {path}")
        return status.exit_code
    told = {label: len(participant.failures) for label, participant in status.participants.items()}
    try:
        status = translate(args, source, workflow, plans, status, where)
    except KeyboardInterrupt:
        if not args.reports_only:
            conclude(args, status)
        raise
    if args.reports_only:
        return tell_redrawn(status, told, args.out_dir.resolve(), say, complain)
    conclude(args, status)
    return status.exit_code


def conclude(args: argparse.Namespace, status: RunStatus) -> None:
    """Write the record of the run and print what it says."""
    status.write(args.out_dir.resolve() / "logs")
    say("\nSummary:\n" + status.summary())
    for label, participant in sorted(status.participants.items()):
        if participant.done or participant.others_done:
            say(f"report: {args.out_dir.resolve() / f'sub-{label}.html'}")


def build(
    args: argparse.Namespace,
    source: Source,
    plans: list[ScanPlan],
    model: ModelConfig,
    status: RunStatus,
    where: Where,
) -> Workflow:
    """Build the graph."""
    from niflow.dmri7t import init_dmri7t_wf

    # a report that is drawn anew tells of the run that computed
    command = shlex.join(["dmri7t", *(a for a in args.argv if a != "--reports-only")])
    # the report tells of them by names within the data set: where that lies is no one's concern
    skipped = {
        label: [source.without_folders(failure.reason) for failure in participant.failures]
        for label, participant in status.participants.items()
    }
    out_dir = args.out_dir.resolve()
    return init_dmri7t_wf(plans, model, out_dir, where.threads, command, skipped)


def translate(
    args: argparse.Namespace,
    source: Source,
    workflow: Workflow,
    plans: list[ScanPlan],
    status: RunStatus,
    where: Where,
) -> RunStatus:
    """Run the graph; with ``--reports-only`` the reports alone."""
    from dmri7t.execution.run import run_workflow
    from dmri7t.io.derivatives import write_dataset_files
    from niflow.dmri7t import participant_wf_name

    out_dir, settings = args.out_dir.resolve(), plans[0].settings
    resources = where.resources
    only: dict[str, Any] = {"stop_on_first_crash": args.stop_on_first_crash}
    if args.reports_only:
        resources = resources if isinstance(resources, Resources) else ON_CLUSTER
        only = {"may_run": redraw(workflow), "preload": PRELOAD}
    else:
        _announce(args, workflow, plans, where)
        model = {"name": settings.model_name, "version": settings.model_version}
        write_dataset_files(out_dir, source.links, {**model, "sha256": settings.model_sha256})
        write_methods(workflow, out_dir / "logs")
    labels = [plan.scan.entities["sub"] for plan in plans]
    participants = {participant_wf_name(label): label for label in labels}
    try:
        run_workflow(
            workflow,
            participants,
            resources,
            work_dir=args.work_dir.resolve(),
            log_dir=out_dir / "logs",
            write_graph=args.write_graph,
            verbose=args.verbose,
            status=status,
            **only,
        )
    finally:
        if args.resource_monitor and not args.reports_only:
            write_resources(workflow, status, out_dir / "logs" / "resources.tsv")
            say(f"resources: {out_dir / 'logs' / 'resources.tsv'}")
    if args.clean_workdir and not args.reports_only:
        clean_after(workflow, status, args, say)
    return status


def _announce(
    args: argparse.Namespace, workflow: Workflow, plans: list[ScanPlan], where: Where
) -> None:
    """Say what the run needs, before it leaves any trace."""
    # a job on a cluster gets what its node declares
    resources = where.resources
    memory = resources.memory_gb if isinstance(resources, Resources) else float("inf")
    announce_need(workflow, plans, args, memory, say, complain)


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line and the file of options that it names; a mistake in it ends here."""
    parser = build_parser()
    try:
        if path := config_file_of(words):
            apply_config(parser, path)
    except InputError as error:
        complain(str(error))
        sys.exit(2)
    return parser.parse_args(words)


def main(argv: list[str] | None = None) -> None:
    """Run the command; whatever goes wrong is one line."""
    words = sys.argv[1:] if argv is None else argv
    args = parse(words)
    args.argv = words
    try:
        with stop_on_signals():
            code = run(args)
    except KeyboardInterrupt as error:
        complain("interrupted; the same command goes on where this one stopped.")
        code = 143 if isinstance(error, Terminated) else 130
    except Exception as error:
        if args.verbose > 1:
            raise
        # what the user can mend says so itself; all else is told by its kind
        mendable = isinstance(error, Dmri7tError)
        kind = "" if mendable else f"{type(error).__name__}: "
        complain(f"{kind}{error}{'' if mendable else ' (details with -vv)'}")
        code = 2 if mendable else 1
    sys.exit(code)


if __name__ == "__main__":
    main()
