"""The BIDS App: ``dmri7t bids_dir out_dir participant``."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from dmri7t import __version__
from dmri7t.cli.parser import build_parser
from dmri7t.errors import DeviceError, Dmri7tError, InputError
from dmri7t.execution.status import RunStatus
from dmri7t.execution.workers import warm_up

MEMORY_SHARE = 0.9
"""Part of the memory that is used unless --mem says otherwise."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def check_folders(args: argparse.Namespace) -> None:
    """Keep results and work out of the source data.

    Raises
    ------
    InputError
    """
    source = args.bids_dir.resolve()
    derivatives = source / "derivatives"
    for path, what in ((args.out_dir.resolve(), "output"), (args.work_dir.resolve(), "work")):
        inside = path == source or source in path.parents
        if inside and derivatives not in path.parents:
            raise InputError(
                f"{path}: the {what} folder lies inside the input data set; choose one outside "
                f"it, or below {derivatives}."
            )


def resolve_device(asked: str) -> str:
    """Settle on cpu or cuda; another process looks, since this one never loads torch.

    Raises
    ------
    DeviceError
        If cuda was asked for and is not there.
    """
    if asked == "cpu":
        return "cpu"
    question = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 3)"
    found = subprocess.run([sys.executable, "-c", question], capture_output=True).returncode == 0
    if asked == "cuda" and not found:
        raise DeviceError(
            "--device cuda: torch sees no CUDA device here; run on a machine with a GPU and a CUDA "
            "build of torch, or use --device cpu."
        )
    return "cuda" if found else "cpu"


def make_settings(args: argparse.Namespace, device: str) -> Any:
    """Resolve the model and gather all that decides the result."""
    from dmri7t.models.bundle import model_checksum, read_config, resolve_model
    from dmri7t.settings import Settings

    folder = resolve_model(args.model)
    checksum = model_checksum(folder)
    config = read_config(folder)
    sampler = config["sampler"]
    return Settings(
        model=str(folder),
        model_name=config["name"],
        model_version=config["version"],
        model_sha256=checksum,
        sampler_steps=args.sampler_steps or sampler["steps"],
        samples=args.samples or sampler["samples"],
        random_seed=args.random_seed,
        b0_threshold=args.b0_threshold,
        shells=tuple(args.shells),
        output_resolution=args.output_resolution,
        upsampling=args.upsampling,
        device=device,
        precision=args.precision,
    )


def choose_participants(args: argparse.Namespace) -> list[str]:
    """Labels to run.

    Raises
    ------
    InputError
        If one is not in the data set, or there is none at all.
    """
    from dmri7t.io.inputs import participant_labels

    present = participant_labels(args.bids_dir)
    unknown = [label for label in args.participant_label if label not in present]
    if unknown:
        raise InputError(
            f"{args.bids_dir}: no participant {', '.join(unknown)}; there are: "
            f"{', '.join(present) or 'none'}."
        )
    if not present:
        raise InputError(f"{args.bids_dir}: no folder sub-<label>; give the root of the data set.")
    return args.participant_label or present


def read_filters(path: Path | None) -> dict[str, Any]:
    """Read the dwi part of a filter file.

    Raises
    ------
    InputError
    """
    if path is None:
        return {}
    try:
        return json.loads(path.read_text()).get("dwi", {})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a usable filter file ({error}).") from error


def find_and_check(args: argparse.Namespace, labels: list[str], status: RunStatus) -> list[Any]:
    """List all candidates, check those taken, note participants that cannot be run.

    Returns
    -------
    list of Scan
        Of participants all of whose scans can be used.
    """
    from dmri7t.io.inputs import check_scan, find_scans

    candidates = find_scans(
        args.bids_dir.resolve(),
        labels,
        args.session_id,
        read_filters(args.bids_filter_file),
        args.bids_database_dir,
    )
    say("Candidate scans:")
    for candidate in candidates:
        word = "taken" if candidate.taken else "left "
        say(f"  {word}  {candidate.path.relative_to(args.bids_dir.resolve())}: {candidate.reason}")
    scans = [c.scan for c in candidates if c.scan is not None]
    for label in labels:
        if not any(scan.entities["sub"] == label for scan in scans):
            status.fail_before(label, f"{args.bids_dir}/sub-{label}: no diffusion scan to take")
    for scan in scans:
        try:
            check_scan(scan, args.b0_threshold)
        except InputError as error:
            status.fail_before(scan.entities["sub"], str(error))
    return [s for s in scans if s.entities["sub"] not in status.participants]


def plan_all(scans: list[Any], settings: Any, status: RunStatus) -> list[Any]:
    """Plan every scan and print its shells; participants that cannot be planned are noted."""
    from niflow.dmri7t.plan import plan_scan

    for scan in scans:
        try:
            plan = plan_scan(scan, settings)
        except Dmri7tError as error:
            status.fail_before(scan.entities["sub"], str(error))
            continue
        shells = [f"{s.name} ({len(s)} directions)" for s in plan.translated]
        shells += [f"{s.name} ({len(s)} directions, interpolated only)" for s in plan.passed]
        before, after = (g.voxel_sizes.round(3).tolist() for g in (plan.grid, plan.grid_out))
        say(f"  {scan.stem}: {len(plan.b0)} b0, {', '.join(shells)}; voxels {before} to {after} mm")
    return [s for s in scans if s.entities["sub"] not in status.participants]


def run(args: argparse.Namespace) -> int:
    """Do all the command does; return the exit code.

    Raises
    ------
    Dmri7tError
        For bad usage or input that concerns the whole run.
    """
    from dmri7t.io.inputs import check_dataset, validate_dataset

    check_folders(args)
    if not args.bids_dir.is_dir():
        raise InputError(f"{args.bids_dir}: no such folder; give the root of a BIDS data set.")
    if not args.skip_bids_validation:
        check_dataset(args.bids_dir)
    labels = choose_participants(args)
    if not args.dry_run:
        # its imports take seconds: they go on while this process looks at the data set
        warm_up()
    settings = make_settings(args, resolve_device(args.device))
    if not args.skip_bids_validation:
        say(validate_dataset(args.bids_dir))
    say(
        f"dmri7t {__version__}, model {settings.model_name} {settings.model_version} "
        f"({settings.model_sha256[:12]}), device {settings.device}"
    )
    status = RunStatus()
    scans = plan_all(find_and_check(args, labels, status), settings, status)
    if status.participants:
        say(status.summary())
    if not scans:
        return 2
    if args.dry_run:
        return status.exit_code
    status = translate(args, scans, settings, status)
    say("\nSummary:\n" + status.summary())
    for label, participant in sorted(status.participants.items()):
        if participant.done:
            say(f"report: {args.out_dir.resolve() / f'sub-{label}.html'}")
    return status.exit_code


def translate(
    args: argparse.Namespace, scans: list[Any], settings: Any, status: RunStatus
) -> RunStatus:
    """Build the graph and run it."""
    from dmri7t.execution.limits import memory_gb, processors
    from dmri7t.execution.run import run_workflow
    from dmri7t.io.derivatives import write_dataset_files
    from niflow.dmri7t import init_dmri7t_wf, participant_wf_name

    out_dir = args.out_dir.resolve()
    model = {"name": settings.model_name, "version": settings.model_version}
    write_dataset_files(out_dir, args.bids_dir, {**model, "sha256": settings.model_sha256})
    nprocs = args.nprocs or processors()
    threads = min(args.omp_nthreads or nprocs, nprocs)
    command = shlex.join(["dmri7t", *args.argv])
    workflow = init_dmri7t_wf(scans, settings, out_dir, threads, command)
    participants = {participant_wf_name(s.entities["sub"]): s.entities["sub"] for s in scans}
    return run_workflow(
        workflow,
        participants,
        work_dir=args.work_dir.resolve(),
        log_dir=out_dir / "logs",
        nprocs=nprocs,
        mem_gb=args.mem or MEMORY_SHARE * memory_gb(),
        n_gpus=1 if settings.device == "cuda" else 0,
        stop_on_first_crash=args.stop_on_first_crash,
        write_graph=args.write_graph,
        verbose=args.verbose,
        status=status,
    )


def main(argv: list[str] | None = None) -> None:
    """Run the command; what the user can mend is one line and exit code 2."""
    args = build_parser().parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    try:
        code = run(args)
    except Dmri7tError as error:
        if args.verbose > 1:
            raise
        print(f"dmri7t: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
