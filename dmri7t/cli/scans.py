"""Which scans of a data set are used: participants, candidates, and what is wrong with them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs

from dmri7t.cli.hints import did_you_mean
from dmri7t.cli.messages import say
from dmri7t.errors import InputError, NothingToTranslate
from dmri7t.execution.reasons import reason_of
from dmri7t.execution.status import RunStatus
from dmri7t.io.checks import check_scan
from dmri7t.io.dataset import Validation
from dmri7t.io.mif import is_mif
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import Query
from dmri7t.io.source import Source, remarks, scan_remarks
from dmri7t.io.texts import read_json
from dmri7t.io.volumes import describe_excluded

LISTED = 30
"""So many names of what there is are printed."""


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
        hint = did_you_mean(unknown[0], present) or "."
        raise InputError(
            f"{args.bids_dir}: no participant {', '.join(unknown)}; there are: "
            f"{_list(present)}{hint}"
        )
    if not present:
        raise InputError(
            f"{args.bids_dir}: no folder {source.kind.layout}; give the root of the data set."
        )
    # named twice is asked once
    return list(dict.fromkeys(asked)) or present


def check_sessions(asked: Sequence[str], candidates: Sequence[Candidate]) -> None:
    """See that the sessions that were asked for are there.

    Raises
    ------
    InputError
        If one is in no image's path.
    """
    names = {part for c in candidates for part in re.findall(r"ses-([^_/]+)", str(c.path))}
    unknown = [label for label in asked if label not in names]
    if names and unknown:
        hint = did_you_mean(unknown[0], names) or "."
        raise InputError(
            f"--session-id: no session {', '.join(unknown)} in any of these participants; there "
            f"are: {_list(sorted(names))}{hint}"
        )


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED]) or 'none'}{more}"


def read_filters(path: Path | None) -> dict[str, Any]:
    """Read the dwi part of a filter file.

    Raises
    ------
    InputError
    """
    if path is None:
        return {}
    filters = read_json(path).get("dwi", {})
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
        [volume for volumes in args.exclude_volumes for volume in volumes],
        separate=args.separate_all_dwis,
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
    candidates = find_candidates(source, make_query(args, labels), status)
    check_sessions(args.session_id, candidates)
    broken = set(status.participants)
    scans = [c.scan for c in candidates if c.scan is not None]
    flaws = find_flaws(source, scans, validation, args.b0_threshold)
    say("Candidate scans:")
    for candidate in candidates:
        name = source.relative_name(candidate.path)
        if candidate.joined:
            say(f"  joined   {name}: {candidate.reason}")
        elif not candidate.taken:
            say(f"  skipped  {name}: {candidate.reason}")
        elif candidate.path in flaws:
            flaw = flaws[candidate.path]
            cannot = "" if isinstance(flaw, NothingToTranslate) else "cannot be used: "
            say(f"  skipped  {name}: {cannot}{flaw}")
        else:
            more = _mask(source, candidate) + _left_out(candidate)
            say(f"  taken    {name}: a diffusion series with gradients that fit{more}")
    usable = [scan for scan in scans if scan.dwi not in flaws]
    for remark in remarks(source, usable, args.b0_threshold, args.separate_all_dwis):
        say(f"  {remark}")
    for label in labels:
        if label in broken:
            continue
        own = [scan for scan in scans if scan.entities["sub"] == label]
        wrong = [flaws[scan.dwi] for scan in own if scan.dwi in flaws]
        others = any(scan.dwi not in flaws for scan in own)
        for flaw in wrong:
            # a short series or a map beside a scan is nobody's mistake
            if not (others and isinstance(flaw, NothingToTranslate)):
                status.fail_before(label, str(flaw))
        if not own:
            status.fail_before(label, why_nothing(source.folders[label], candidates))
    return usable


def _left_out(candidate: Candidate) -> str:
    """Say which volumes of a scan are left out; empty if none."""
    excluded = describe_excluded(candidate.scan) if candidate.scan else ""
    return f", without volumes {excluded}" if excluded else ""


def _mask(source: Source, candidate: Candidate) -> str:
    """Say which brain mask a scan has; empty if none."""
    scan = candidate.scan
    return f", brain mask {source.relative_name(scan.mask)}" if scan and scan.mask else ""


def find_candidates(source: Source, query: Query, status: RunStatus) -> list[Candidate]:
    """List the candidates of all participants; one whose files raise an exception has failed."""
    try:
        return source.find(query)
    except Exception as error:
        candidates, failed = [], 0
        for label in query.participants:
            try:
                candidates += source.find(attrs.evolve(query, participants=[label]))
            except Exception as own:
                status.crash_before(label, own)
                failed += 1
        if not failed:
            raise error
        return candidates


def why_nothing(folder: Path, candidates: Sequence[Candidate]) -> str:
    """Say why a participant has no scan: an unreadable folder, images skipped, or none at all."""
    troubles: list[OSError] = []
    for _ in os.walk(folder, onerror=troubles.append):
        pass
    if troubles:
        return f"no diffusion scan to take: {reason_of(troubles[0])}"
    # results beside the input lie in folders of the same name
    own = [c for c in candidates if folder in c.path.parents or folder.name in c.path.parts]
    if not own:
        return (
            f"{folder}: no diffusion scan to take: there is no image (.nii, .nii.gz) where "
            "diffusion scans lie; leave the participant out, or look whether the files are here"
        )
    reasons = [f"{c.path.name}: {c.reason}" for c in own]
    # those that are no diffusion series say least
    reasons.sort(key=lambda reason: "not a diffusion series" in reason)
    more = f"; and {len(reasons) - 3} more, listed above" if len(reasons) > 3 else ""
    return f"{folder}: no diffusion scan to take ({'; '.join(reasons[:3])}{more})"


def find_flaws(
    source: Source, scans: list[Scan], validation: Validation, b0_threshold: float
) -> dict[Path, InputError]:
    """What is wrong with scans, by image: our own checks first, since they name the remedy."""
    flaws: dict[Path, InputError] = {}
    errors = validation.of_files(
        {source.relative_name(part.dwi) for scan in scans for part in scan.series}
    )
    for scan in scans:
        for part in scan.series:
            name = source.relative_name(part.dwi)
            # BIDS has no word for MRtrix's images: the validator knows none of them
            if name in errors and not is_mif(name):
                flaws[scan.dwi] = InputError(
                    f"{part.dwi}: not valid BIDS ({errors[name]}); mend it or pass "
                    "--skip-bids-validation."
                )
        try:
            check_scan(scan, b0_threshold)
            # whatever a header holds that they cannot bear is this scan's, not everybody's
            scan_remarks(scan)
        except InputError as error:
            flaws[scan.dwi] = error
        except Exception as error:
            flaws[scan.dwi] = InputError(reason_of(error))
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
