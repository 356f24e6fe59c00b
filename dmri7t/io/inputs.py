"""Scans of a data set: which are taken, which are left, and why."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import nibabel
import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.gradients import read_bvals, read_bvecs
from dmri7t.signal.gradients import find_shells

ENTITIES = ("sub", "ses", "acq", "dir", "run", "part", "rec", "echo", "space")
"""Entities that stand in the names of results, in their order."""

LONG = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "dir": "direction",
    "rec": "reconstruction",
}
"""pybids' names of entities, where they differ from the short ones."""

OTHER_FOLDERS = "anat|func|fmap|perf|eeg|meg|ieeg|pet|micr|beh|motion|nirs|mrs"
"""Folders of a subject that hold no diffusion scans."""

MIN_DIRECTIONS = 6
"""Fewest directions of a shell that a tensor can be fitted to."""

VALIDATOR_SECONDS = 300
"""Longest time that the validator is waited for."""


@attrs.frozen
class Scan:
    """One diffusion scan and all that belongs to it.

    Parameters
    ----------
    dwi, bval, bvec : Path
    sidecar : dict
        Acquisition fields of the JSON files that apply.
    entities : dict
        Short BIDS entities: sub, ses, acq, dir, run and so on.
    uri : str
        BIDS URI of the image.
    mask, grad_b : Path, optional
        Brain mask, and gradients in the scanner frame, where the data set has them.
    kind : str
        Layout of the source: "raw".
    """

    dwi: Path
    bval: Path
    bvec: Path
    sidecar: dict[str, Any]
    entities: dict[str, str]
    uri: str
    mask: Path | None = None
    grad_b: Path | None = None
    kind: str = "raw"

    @property
    def stem(self) -> str:
        """Entities as a file's name begins with them, such as ``sub-01_ses-a_dir-AP``."""
        parts = [f"{e}-{self.entities[e]}" for e in ENTITIES if e in self.entities]
        return "_".join(parts)


@attrs.frozen
class Candidate:
    """A file that might be a scan, and what was decided.

    Parameters
    ----------
    path : Path
    reason : str
        Why it was left, or what it is.
    scan : Scan, optional
        Only where it was taken.
    """

    path: Path
    reason: str
    scan: Scan | None = None

    @property
    def taken(self) -> bool:
        """Whether it will be translated."""
        return self.scan is not None


def participant_labels(bids_dir: Path) -> list[str]:
    """Labels of all participants of a data set, sorted."""
    return sorted(p.name[4:] for p in Path(bids_dir).glob("sub-*") if p.is_dir())


def check_dataset(bids_dir: Path) -> None:
    """See that a folder is a BIDS data set.

    Raises
    ------
    InputError
        If it is missing, holds no participants, or has no usable dataset_description.json.
    """
    if not Path(bids_dir).is_dir():
        raise InputError(f"{bids_dir}: no such folder; give the root of a BIDS data set.")
    description = Path(bids_dir) / "dataset_description.json"
    try:
        described = json.loads(description.read_text())
    except FileNotFoundError:
        raise InputError(
            f"{description}: missing, so this is no BIDS data set; write it (Name and "
            "BIDSVersion), or pass --skip-bids-validation."
        ) from None
    except ValueError as error:
        raise InputError(f"{description}: not valid JSON ({error}); mend it.") from error
    for key in ("Name", "BIDSVersion"):
        if key not in described:
            raise InputError(f"{description}: {key} is missing; add it.")


def validate_dataset(bids_dir: Path) -> str:
    """Run the BIDS validator where it is installed; needs no network.

    Returns
    -------
    str
        A line for the log.

    Raises
    ------
    InputError
        If it finds errors.
    """
    name = "bids-validator-deno"
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name)
    if program is None:
        return "BIDS validator: not installed, only dataset_description.json was checked"
    command = [program, "--json", "--ignoreWarnings", str(bids_dir)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=VALIDATOR_SECONDS)
        issues = json.loads(run.stdout)["issues"]["issues"]
    except subprocess.TimeoutExpired:
        return f"BIDS validator: no answer after {VALIDATOR_SECONDS} s; not validated"
    except (ValueError, KeyError, OSError):
        return "BIDS validator: it could not be run; not validated"
    errors = [i for i in issues if i.get("severity", "error") == "error"]
    if not errors:
        return "BIDS validator: no errors"
    first = errors[0]
    raise InputError(
        f"{bids_dir}{first.get('location', '')}: not valid BIDS ({first.get('code')}"
        f"{', ' + first['issueMessage'].strip() if first.get('issueMessage') else ''}"
        f"{f'; and {len(errors) - 1} more errors' if len(errors) > 1 else ''}); mend it or pass "
        "--skip-bids-validation."
    )


def _layout(bids_dir: Path, participants: Sequence[str], database: Path | None) -> Any:
    """Index the dwi folders of these participants, nothing else."""
    from bids import BIDSLayout, BIDSLayoutIndexer

    asked = "|".join(re.escape(label) for label in participants)
    ignore = [
        re.compile(rf"/sub-(?!(?:{asked})(?:/|$|_))"),
        re.compile(rf"/(?:{OTHER_FOLDERS})(?:/|$)"),
        re.compile(r"^/(?:derivatives|sourcedata|code|stimuli|phenotype)(?:/|$)"),
        re.compile(r"/\."),
    ]
    indexer = BIDSLayoutIndexer(validate=False, ignore=ignore)
    return BIDSLayout(
        str(bids_dir), validate=False, derivatives=False, indexer=indexer, database_path=database
    )


def find_scans(
    bids_dir: Path,
    participants: Sequence[str],
    sessions: Sequence[str] = (),
    filters: dict[str, Any] | None = None,
    database: Path | None = None,
) -> list[Candidate]:
    """List every file in the dwi folders of some participants as taken or left.

    Parameters
    ----------
    bids_dir : Path
    participants : sequence of str
        Labels without ``sub-``.
    sessions : sequence of str
        Labels without ``ses-``; empty: all.
    filters : dict, optional
        Entities that a scan must have, as in fMRIPrep's ``--bids-filter-file`` under ``dwi``.
    database : Path, optional
        Folder for pybids' index, to be used again.

    Returns
    -------
    list of Candidate
    """
    layout = _layout(bids_dir, participants, database)
    images = layout.get(datatype="dwi", extension=[".nii", ".nii.gz"], subject=list(participants))
    candidates = []
    for image in sorted(images, key=lambda i: i.path):
        path = Path(image.path)
        reason = _why_left(image, layout, sessions, filters or {})
        if reason:
            candidates.append(Candidate(path, reason))
            continue
        scan = _scan(image, layout, Path(bids_dir))
        candidates.append(Candidate(path, f"{nibabel.load(path).shape[3]} volumes", scan))
    return candidates


def _why_left(
    image: Any, layout: Any, sessions: Sequence[str], filters: dict[str, Any]
) -> str | None:
    """Reason to leave an image, or None."""
    entities = image.get_entities()
    if entities.get("suffix") != "dwi":
        return f"not a diffusion series (suffix {entities.get('suffix')})"
    if sessions and entities.get("session") not in sessions:
        return f"session {entities.get('session', 'none')} was not asked for"
    for name, wanted in filters.items():
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if str(entities.get(name)) not in [str(value) for value in allowed]:
            return f"the filter asks for {name} {wanted}"
    if entities.get("part", "mag") != "mag":
        return f"part-{entities['part']}: only magnitude images are used"
    return None


def _scan(image: Any, layout: Any, bids_dir: Path) -> Scan:
    path = Path(image.path)
    found = image.get_entities()
    entities = {e: str(found[LONG.get(e, e)]) for e in ENTITIES if LONG.get(e, e) in found}
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    files = {}
    for kind, find in (("bval", layout.get_bval), ("bvec", layout.get_bvec)):
        # where the standard's inheritance finds none, the name beside the image is the one missed
        files[kind] = Path(find(image.path) or path.with_name(f"{stem}.{kind}"))
    beside = path.with_name(f"{stem}.b")
    return Scan(
        dwi=path,
        **files,
        sidecar=dict(layout.get_metadata(image.path)),
        entities=entities,
        uri=f"bids:raw:{path.relative_to(bids_dir.resolve()).as_posix()}",
        grad_b=beside if beside.exists() else None,
    )


def check_scan(scan: Scan, b0_threshold: float = 100.0) -> None:
    """Hold what can be seen without reading the image against what the method needs.

    Raises
    ------
    InputError
        One line: which file, what is wrong, what to do.
    """
    shape = _image_shape(scan.dwi)
    for path, what in ((scan.bval, "bval"), (scan.bvec, "bvec")):
        if not path.is_file():
            raise InputError(f"{path}: missing; add the {what} file of {scan.dwi.name}.")
    bvals, bvecs = read_bvals(scan.bval), read_bvecs(scan.bvec)
    for path, n in ((scan.bval, len(bvals)), (scan.bvec, bvecs.shape[1])):
        if n != shape[3]:
            raise InputError(
                f"{path}: {n} entries but {scan.dwi.name} has {shape[3]} volumes; find the file "
                "that belongs to the image."
            )
    check_gradients(bvals, bvecs, scan.bvec, scan.bval, b0_threshold)


def _image_shape(path: Path) -> tuple[int, ...]:
    """Shape of a 4D image from its header."""
    try:
        image = nibabel.load(path)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        raise InputError(
            f"{path}: not a readable NIfTI image ({error}); convert it again."
        ) from error
    if len(image.shape) != 4 or image.shape[3] < 2:
        dims = " x ".join(str(n) for n in image.shape)
        raise InputError(f"{path}: {dims} voxels, but a diffusion scan has 4 dimensions; check it.")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-6:
        raise InputError(f"{path}: its affine cannot be used; convert it again.")
    return image.shape


def check_gradients(
    bvals: np.ndarray, bvecs: np.ndarray, bvec: Path, bval: Path, b0_threshold: float
) -> None:
    """Check b-values (N,) and vectors (3, N) against each other; the paths are for the message.

    Raises
    ------
    InputError
    """
    b0, shells = find_shells(bvals, b0_threshold)
    if not b0:
        raise InputError(
            f"{bval}: no b0 volume (lowest b-value {bvals.min():g}, threshold {b0_threshold:g} "
            "s/mm2); a scan needs one, or raise --b0-threshold."
        )
    weighted = bvals > b0_threshold
    broken = np.flatnonzero(weighted & ~np.isfinite(bvecs).all(0))
    if len(broken):
        raise InputError(
            f"{bvec}: volume {broken[0]} has a direction that is no number; mend the file or "
            "convert the scan again."
        )
    zero = np.flatnonzero(weighted & (np.linalg.norm(np.nan_to_num(bvecs), axis=0) < 0.1))
    if len(zero):
        raise InputError(
            f"{bvec}: volume {zero[0]} has b = {bvals[zero[0]]:g} but no direction (zeros); mend "
            "the file, or set its b-value to 0 if it is a b0."
        )
    if not shells or max(len(s) for s in shells) < MIN_DIRECTIONS:
        most = max((len(s) for s in shells), default=0)
        raise InputError(
            f"{bval}: {most} directions in the largest shell; {MIN_DIRECTIONS} are needed at least."
        )
