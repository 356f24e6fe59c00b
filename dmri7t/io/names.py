"""Names of files in BIDS: their entities, and which of them apply to an image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

IMAGE_ENDINGS = (".nii.gz", ".nii")

LONG_NAMES = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "dir": "direction",
    "rec": "reconstruction",
}
"""pybids' names of entities, where they differ from those in the names of files."""


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
