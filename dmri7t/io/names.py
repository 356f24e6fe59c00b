"""Names of files in BIDS: their entities, and which of them apply to an image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dmri7t.io.mif import ENDINGS as MIF_ENDINGS

IMAGE_ENDINGS = (".nii.gz", ".nii")

SCAN_ENDINGS = (*IMAGE_ENDINGS, *MIF_ENDINGS)
"""Of images that can be scans; of those that differ in it alone, MRtrix's is not taken."""

MRTRIX = "MRtrix's format with values apart; convert it: mrconvert NAME.mih NAME.mif"
PAIR = "header and values apart; convert it to .nii.gz, by nibabel's nib-convert for example"
CONVERT = "not NIfTI; convert it to .nii.gz, with bval and bvec beside it"

OTHER_ENDINGS = {
    ".mih": MRTRIX,
    ".hdr": PAIR,
    ".img": PAIR,
    ".img.gz": PAIR,
    ".nrrd": CONVERT,
    ".nhdr": CONVERT,
    ".mgz": CONVERT,
    ".mgh": CONVERT,
    ".dcm": "DICOM; convert it to .nii.gz with dcm2niix, which writes bval and bvec too",
}
"""Endings, in lower case, of images that are not taken, and what is to be done."""

LONG_NAMES = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "dir": "direction",
    "rec": "reconstruction",
}
"""pybids' names of entities, where they differ from those in the names of files."""


def why_other_ending(name: str) -> str:
    """Reason to skip an image by the ending of its name; empty for what is read and for no image.

    Examples
    --------
    >>> why_other_ending("sub-01_dwi.NII.GZ")
    'the ending is .NII.GZ; rename it to .nii.gz'
    >>> why_other_ending("sub-01_dwi.hdr")[:21], why_other_ending("sub-01_dwi.nii.gz")
    ('header and values apa', '')
    """
    ending = name[name.index(".") :] if "." in name else ""
    lower = ending.lower()
    if lower in SCAN_ENDINGS and ending != lower:
        return f"the ending is {ending}; rename it to {lower}"
    return OTHER_ENDINGS.get(lower, "")


def split_name(path: Path) -> dict[str, str]:
    """Entities of a file's name, as written and in their order.

    Examples
    --------
    >>> split_name(Path("a/sub-01_run-02_dwi.nii.gz"))
    {'sub': '01', 'run': '02'}
    """
    parts = path.name.split(".")[0].split("_")
    return dict(part.split("-", 1) for part in parts if "-" in part)


def bids_label(name: str) -> str:
    """Label of a participant by any name: BIDS allows letters and digits only.

    Examples
    --------
    >>> bids_label("sub-01"), bids_label("HCA6002236_V1_MR")
    ('01', 'HCA6002236V1MR')
    """
    return "".join(letter for letter in name.removeprefix("sub-") if letter.isalnum())


def applicable(image: Path, files: Iterable[Path]) -> list[Path]:
    """Files that apply to an image by BIDS' principle of inheritance, the nearest first.

    A file applies if it lies in the image's folder or above, and its name has no entity that
    the image's name lacks or has otherwise.

    Examples
    --------
    >>> files = [Path("d/dwi.bval"), Path("d/sub-1/dwi/sub-1_run-2_dwi.bval")]
    >>> [f.name for f in applicable(Path("d/sub-1/dwi/sub-1_dwi.nii"), files)]
    ['dwi.bval']
    """
    entities = split_name(image).items()
    fitting = [
        file
        for file in files
        if file.parent in image.parents and split_name(file).items() <= entities
    ]
    # deepest folder first, and there the name that says most
    return sorted(fitting, key=lambda f: (-len(f.parents), -len(split_name(f)), f.name))
