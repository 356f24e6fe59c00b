"""QSIPrep's derivatives: scans that are corrected, their brain masks, their tissues."""

from __future__ import annotations

from pathlib import Path

import attrs

from dmri7t.io.inputs import Kind, Scan, split_name

SERIES = "preproc"
"""Value of ``desc`` in the name of a scan that is done."""


def looks_like_qsiprep(root: Path) -> bool:
    """Whether the names in a folder are QSIPrep's; looks at the first participants only.

    Examples
    --------
    >>> looks_like_qsiprep(Path("/nowhere"))
    False
    """
    ending = f"dwi/*_desc-{SERIES}_dwi.nii*"
    return any(
        next(subject.glob(pattern), None)
        for subject in sorted(Path(root).glob("sub-*"))[:5]
        for pattern in (ending, f"ses-*/{ending}")
    )


def why_left(path: Path) -> str:
    """Reason to leave a series; empty where it is the preprocessed one.

    Examples
    --------
    >>> why_left(Path("sub-1_space-ACPC_desc-preproc_dwi.nii.gz"))
    ''
    >>> why_left(Path("sub-1_space-ACPC_dwi.nii.gz"))
    'not the final series of QSIPrep, which has desc-preproc in its name'
    """
    if split_name(path).get("desc") == SERIES:
        return ""
    return f"not the final series of QSIPrep, which has desc-{SERIES} in its name"


def complete(scan: Scan) -> Scan:
    """Add QSIPrep's brain mask; that one is missing is the scan's flaw."""
    stem = scan.dwi.name.split(f"_desc-{SERIES}_")[0]
    mask = scan.dwi.with_name(f"{stem}_desc-brain_mask.nii.gz")
    if mask.is_file():
        return attrs.evolve(scan, mask=mask)
    told = f"{mask}: missing; QSIPrep writes the brain mask beside the scan: copy it there."
    return attrs.evolve(scan, flaw=scan.flaw or told)


QSIPREP = Kind("qsiprep", "qsiprep", why_left, complete)
"""Scans of today's QSIPrep (``space-ACPC``) and of earlier ones (``space-T1w``)."""
