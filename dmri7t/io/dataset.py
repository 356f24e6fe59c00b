"""The data set as a whole: is it BIDS, and what does the validator say of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.files import scratch_folder
from dmri7t.io.shadow import link_dataset, odd_sidecars
from dmri7t.io.texts import read_json

VALIDATOR = "bids-validator-deno"

LISTED = 5
"""So many names are given in a line."""

VALIDATOR_SECONDS = 120
"""Longest time that the validator is waited for; it looks at every file of the data set."""


def participant_labels(bids_dir: Path) -> list[str]:
    """Labels of all participants of a data set, sorted."""
    return sorted(p.name[4:] for p in Path(bids_dir).glob("sub-?*") if p.is_dir())


def read_description(root: Path) -> dict[str, Any]:
    """Content of a data set's dataset_description.json; empty where it has none.

    Raises
    ------
    InputError
        If it is not readable.
    """
    path = Path(root) / "dataset_description.json"
    if not path.is_file():
        return {}
    return read_json(path)


def makers(root: Path) -> list[str]:
    """Names of the programs that made a data set, in lower case; none for most raw data.

    Raises
    ------
    InputError
        If its dataset_description.json is not readable.
    """
    description = read_description(root)
    entries = description.get("GeneratedBy") or description.get("PipelineDescription") or []
    # before BIDS 1.4 there was one PipelineDescription
    entries = [entries] if isinstance(entries, dict) else entries
    entries = entries if isinstance(entries, list) else []
    return [str(e.get("Name", "")).lower() for e in entries if isinstance(e, dict)]


def is_derivative(root: Path) -> bool:
    """Whether a BIDS data set is a derivative; GeneratedBy may name a converter of raw data.

    Raises
    ------
    InputError
        If its dataset_description.json is not readable.
    """
    description = read_description(root)
    return description.get("DatasetType") == "derivative" or "PipelineDescription" in description


def check_dataset(bids_dir: Path) -> None:
    """See that a folder is a BIDS data set.

    Raises
    ------
    InputError
        If it is missing, or has no usable dataset_description.json.
    """
    if not Path(bids_dir).is_dir():
        raise InputError(f"{bids_dir}: no such folder; give the root of a BIDS data set.")
    path = Path(bids_dir) / "dataset_description.json"
    if not path.exists():
        raise InputError(
            f"{path}: missing, so this is no BIDS data set; write it (Name and BIDSVersion), or "
            "pass --skip-bids-validation."
        )
    description = read_description(bids_dir)
    for key in ("Name", "BIDSVersion"):
        if key not in description:
            raise InputError(f"{path}: {key} is missing; add it.")


@attrs.frozen
class Validation:
    """What the validator said.

    Parameters
    ----------
    remark : str
        A line for the log: whether it ran.
    errors : list of (location, text)
        Location is relative to the data set, as in ``sub-01/dwi/sub-01_dwi.nii.gz``.
    """

    remark: str
    errors: list[tuple[str, str]] = attrs.Factory(list)

    def of_dataset(self) -> list[str]:
        """Errors that are in no participant's files, each with its file where there is one."""
        own = [error for error in self.errors if not error[0].startswith("sub-")]
        return [f"{location}: {text}" if location else text for location, text in own]

    def of_files(self, names: Collection[str]) -> dict[str, str]:
        """First error of each of these files, named relative to the data set."""
        first: dict[str, str] = {}
        for location, text in self.errors:
            if location in names:
                first.setdefault(location, text)
        return first


def validate_dataset(bids_dir: Path) -> Validation:
    """Run the BIDS validator where it is installed; needs no network, and never waits for ever.

    Some sidecars make it break off. They are named, and all else is validated without them.
    """
    beside = Path(sys.executable).with_name(VALIDATOR)
    program = str(beside) if beside.exists() else shutil.which(VALIDATOR)
    if program is None:
        return Validation("not installed; only dataset_description.json was checked")
    until = time.monotonic() + VALIDATOR_SECONDS
    try:
        try:
            errors = _validate(program, bids_dir, until)
            return Validation(_count(errors), errors)
        except _BrokenOff as error:
            return _validate_parts(program, Path(bids_dir), until, str(error))
    except subprocess.TimeoutExpired:
        return Validation(
            f"no answer after {VALIDATOR_SECONDS} s, so the data set is not validated"
        )
    except OSError as error:
        return Validation(f"could not be run ({error}), so nothing is validated")


class _BrokenOff(Exception):
    """The validator gave no answer that can be read."""


def _validate(program: str, folder: Path, until: float) -> list[tuple[str, str]]:
    """Errors that the validator finds.

    Raises
    ------
    _BrokenOff
        With the last line of what it said.
    subprocess.TimeoutExpired
    """
    run = subprocess.run(
        [program, "--format", "json", "--ignoreWarnings", str(folder)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=max(until - time.monotonic(), 0.1),
        stdin=subprocess.DEVNULL,
    )
    try:
        issues = json.loads(run.stdout)["issues"]["issues"]
        return [_describe(i) for i in issues if i.get("severity", "error") == "error"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = [line for line in run.stderr.splitlines() if "rror" in line] or [str(error)]
        raise _BrokenOff(re.sub("\x1b\\[[0-9;]*m", "", said[0])) from error


def _validate_parts(program: str, root: Path, until: float, reason: str) -> Validation:
    """Validate a data set without the sidecars or participants that stop the validator."""
    odd = odd_sidecars(root)
    errors = [(name, f"JSON_INVALID, {wrong}") for name, wrong in odd.items()]
    if odd:
        try:
            with scratch_folder() as folder:
                link_dataset(root, folder, odd)
                errors += _validate(program, folder, until)
            return Validation(f"{_count(errors)}; it cannot read {_some(list(odd))}", errors)
        except _BrokenOff as error:
            reason = str(error)
    unread, labels = [], [f"sub-{label}" for label in participant_labels(root)]
    for label in labels:
        try:
            with scratch_folder() as folder:
                link_dataset(root, folder, odd, [label])
                errors += [each for each in _validate(program, folder, until) if each not in errors]
        except _BrokenOff:
            unread.append(label)
    if len(unread) == len(labels):
        return Validation(f"could not be run ({reason}), so nothing is validated")
    named = _some([*odd, *unread])
    return Validation(f"{_count(errors)}; it breaks off at {named} ({reason})", errors)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def _count(errors: list[tuple[str, str]]) -> str:
    return f"{len(errors) or 'no'} error{'s'[: len(errors) != 1]}"


def _describe(issue: dict[str, Any]) -> tuple[str, str]:
    location = str(issue.get("location") or "").lstrip("/")
    parts = [issue.get("code"), issue.get("subCode"), issue.get("issueMessage")]
    text = re.sub(r"\s+", " ", ", ".join(str(part).strip() for part in parts if part))
    return location, text
