"""Folders of the Human Connectome Project: both field strengths of a subject, preprocessed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.io.inputs import Candidate, Scan, only_b0, why_left
from dmri7t.signal.gradients import B0_THRESHOLD

FOLDERS = {"3T": Path("T1w/Diffusion"), "7T": Path("T1w/Diffusion_7T")}
"""Where a subject's folder has the scans of each field, both in the space of its T1w."""

FILES = {
    "dwi": "data.nii.gz",
    "bval": "bvals",
    "bvec": "bvecs",
    "mask": "nodif_brain_mask.nii.gz",
}
"""Files of such a folder."""

SUBJECT_COLUMNS = ("subject", "participant_id")
FAMILY_COLUMN = "family_id"


def hcp_labels(root: Path) -> list[str]:
    """Names of the subjects' folders that have a diffusion scan of either field, sorted."""
    return sorted(
        folder.name
        for folder in Path(root).iterdir()
        if folder.is_dir() and any((folder / place).is_dir() for place in FOLDERS.values())
    )


def is_hcp(root: Path) -> bool:
    """Whether a folder holds subjects as the Human Connectome Project lays them out."""
    return Path(root).is_dir() and bool(hcp_labels(root))


def hcp_scans(root: Path, label: str) -> dict[str, Scan]:
    """Scans of a subject by field, "3T" and "7T"; a field that was not scanned is left out.

    Parameters
    ----------
    root : Path
        Folder of all subjects.
    label : str
        Name of the subject's folder.

    Raises
    ------
    InputError
        If a scan's folder lacks one of its files.
    """
    scans = {}
    for field, place in FOLDERS.items():
        if not (Path(root) / label / place).is_dir():
            continue
        scans[field] = _scan(root, label, field)
        if scans[field].flaw:
            raise InputError(scans[field].flaw)
    return scans


def _scan(root: Path, label: str, field: str) -> Scan:
    """Record of one scan; a missing file is its flaw."""
    place = FOLDERS[field]
    files = {what: Path(root) / label / place / name for what, name in FILES.items()}
    missing = next((path for path in files.values() if not path.is_file()), None)
    told = f"missing; a folder {place} holds {', '.join(FILES.values())}. Add it, or take the"
    return Scan(
        **files,
        sidecar={"MagneticFieldStrength": int(field[0])},
        entities={"sub": label, "ses": field},
        uri=f"bids:raw:{label}/{place.as_posix()}/{FILES['dwi']}",
        kind="hcp",
        flaw=f"{missing}: {told} subject out." if missing else "",
    )


def bids_label(folder: str) -> str:
    """Label of a subject's folder: BIDS allows letters and digits only.

    Examples
    --------
    >>> bids_label("HCA6002236_V1_MR")
    'HCA6002236V1MR'
    """
    return "".join(letter for letter in folder if letter.isalnum())


def find_hcp_scans(
    root: Path,
    folders: Sequence[str],
    sessions: Sequence[str] = (),
    filters: dict[str, Any] | None = None,
    b0_threshold: float = B0_THRESHOLD,
) -> list[Candidate]:
    """List the scans of some subjects as taken (3T) or left (7T).

    Parameters
    ----------
    root : Path
        Folder of all subjects.
    folders : sequence of str
        Names of the subjects' folders.
    sessions : sequence of str
        Labels; HCP has none, so with any nothing is taken.
    filters : dict, optional
        As in :func:`dmri7t.io.inputs.find_scans`.
    b0_threshold : float
        Series with nothing above this b-value are left.
    """
    candidates = []
    for name in folders:
        label = bids_label(name)
        entities = {"subject": label, "datatype": "dwi", "suffix": "dwi", "extension": ".nii.gz"}
        for field, place in FOLDERS.items():
            folder = Path(root) / name / place
            if not folder.is_dir():
                continue
            scan = attrs.evolve(_scan(root, name, field), entities={"sub": label})
            reason = why_left(entities, sessions, filters or {}) or only_b0(scan, b0_threshold)
            if field != "3T":
                reason = "a 7T scan: there is nothing to translate"
            candidates.append(Candidate(scan.dwi, reason, None if reason else scan))
    return candidates


def read_families(path: Path) -> dict[str, str]:
    """Read which family each subject belongs to.

    Parameters
    ----------
    path : Path
        Table with the columns ``Subject`` (or ``participant_id``) and ``Family_ID``, in any
        case, parted by commas or tabs.

    Returns
    -------
    dict of str
        Family by label; subjects without an entry are left out.

    Raises
    ------
    InputError
        If the file cannot be read or lacks one of the columns.
    """
    try:
        # byte-order marks are what spreadsheets leave
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the table cannot be read ({error}); give a text file.") from None
    table = csv.reader(text.splitlines(), delimiter="\t" if "\t" in text else ",")
    head, *rows = [*table] or [[]]
    columns = [name.strip().lower() for name in head]
    subject = next((columns.index(name) for name in SUBJECT_COLUMNS if name in columns), None)
    if subject is None or FAMILY_COLUMN not in columns:
        raise InputError(
            f"{path}: needs the columns Subject (or participant_id) and Family_ID, and has "
            f"{', '.join(head) or 'none'}; add them."
        )
    family = columns.index(FAMILY_COLUMN)
    pairs = [(r[subject].strip(), r[family].strip()) for r in rows if len(r) == len(columns)]
    return {label.removeprefix("sub-"): name for label, name in pairs if label and name}
