"""Which scans of a data set are used: participants, candidates, and what is wrong with them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from dmri7t.cli.messages import say
from dmri7t.errors import InputError
from dmri7t.execution.status import RunStatus
from dmri7t.io.checks import check_scan
from dmri7t.io.dataset import Validation
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import Query
from dmri7t.io.source import Source, remarks


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


def make_query(args: argparse.Namespace, labels: Sequence[str]) -> Query:
    """What the command line asks for, of some participants.

    Raises
    ------
    InputError
        If the file of filters cannot be used.
    """
    return Query(
        labels,
        args.session_id,
        read_filters(args.bids_filter_file),
        args.bids_database_dir,
        args.b0_threshold,
        args.brain_mask,
    )


def usable_scans(
    args: argparse.Namespace,
    source: Source,
    labels: list[str],
    validation: Validation,
    status: RunStatus,
) -> list[Scan]:
    """List all candidates, check those taken, note those that cannot be used.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    source : Source
    labels : list of str
        Participants to look at.
    validation : Validation
    status : RunStatus
        What cannot be used is noted there.

    Returns
    -------
    list of Scan
        All that can be used, whatever became of the participant's others.
    """
    candidates = source.find(make_query(args, labels))
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
            mask = _mask(source, candidate)
            say(f"  taken    {name}: a diffusion series with gradients that fit{mask}")
    usable = [scan for scan in scans if scan.dwi not in flaws]
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


def _mask(source: Source, candidate: Candidate) -> str:
    """Say which brain mask a scan has; empty if none."""
    scan = candidate.scan
    return f", brain mask {source.relative_name(scan.mask)}" if scan and scan.mask else ""


def find_flaws(
    source: Source, scans: list[Scan], validation: Validation, b0_threshold: float
) -> dict[Path, str]:
    """What is wrong with scans, by image: our own checks first, since they name the remedy."""
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


def wait_for_validator(bids_dir: Path, validating: Future[Validation]) -> Validation:
    """Wait for the validator; errors of the whole data set end the run.

    Raises
    ------
    InputError
    """
    validation = validating.result()
    of_dataset = validation.of_dataset()
    if of_dataset:
        more = f" and {len(of_dataset) - 1} more" if len(of_dataset) > 1 else ""
        raise InputError(
            f"{bids_dir}: not valid BIDS ({of_dataset[0]}{more}); mend it or pass "
            "--skip-bids-validation."
        )
    say(f"BIDS validator: {validation.remark}")
    return validation
