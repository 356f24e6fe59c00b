"""Tissues of a head, as fMRIPrep and QSIPrep write them beside their T1-weighted images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from dmri7t.io.names import split_name
from dmri7t.signal.spaces import TISSUES


@attrs.frozen
class Program:
    """A program whose results may lie beside the input, tissues among them.

    Parameters
    ----------
    name : str
        For ``--derivatives`` and in BIDS URIs.
    title : str
        As it is written in sentences.
    labels : tuple of int
        Values of GM, WM and CSF in its ``dseg``.
    taken : str
        What is taken of its results, for ``--help``.
    scan_space : bool
        Whether its tissues lie in the space of scans that it wrote; else in that of the T1w.
    """

    name: str
    title: str
    labels: tuple[int, int, int]
    taken: str
    scan_space: bool = False


# these labels are BIDS' own
FMRIPREP = Program("fmriprep", "fMRIPrep", (1, 2, 3), "whose tissues give metrics by tissue")


@attrs.frozen
class Anatomy:
    """A segmentation and the brain mask of the same space.

    Parameters
    ----------
    files : tuple of Path
        One image of labels, or probabilities of GM, WM and CSF.
    labels : tuple of int
        Values of GM, WM and CSF in the image of labels; empty for probabilities.
    mask : Path
    maker : str
        Who made it, for sentences.
    uri : str
        BIDS URI of the first file.
    same_space : bool
        Whether the names say that the scan lies in the same space.
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    mask: Path
    maker: str
    uri: str
    same_space: bool = True


def find_anatomy(root: Path, program: Program, entities: Mapping[str, str]) -> Anatomy | None:
    """Look for the tissues that belong to a scan: in its session first, then the participant's.

    Parameters
    ----------
    root : Path
        The program's derivatives.
    program : Program
    entities : mapping
        Of the scan: ``sub``, and ``ses`` and ``space`` where it has them.

    Returns
    -------
    Anatomy or None
        None where there is no segmentation in the space of the T1-weighted image, or no brain
        mask beside it. Of several, the first by name.
    """
    # a scan in a space of its own wants that one; the space of the T1w itself has no name
    spaces = {entities.get("space"), None} if program.scan_space else {None, "T1w"}
    for folder in _folders(Path(root), entities):
        for mask in sorted(folder.glob("*_mask.nii*")):
            named = split_name(mask)
            if named.get("desc") != "brain" or named.get("space") not in spaces:
                continue
            segmentation = _segmentation(mask, program)
            if segmentation:
                files, labels = segmentation
                uri = f"bids:{program.name}:{files[0].relative_to(root).as_posix()}"
                same = entities.get("space", "T1w") == named.get("space", "T1w")
                return Anatomy(files, labels, mask, program.title, uri, same)
    return None


def _folders(root: Path, entities: Mapping[str, str]) -> Iterator[Path]:
    subject = root / f"sub-{entities['sub']}"
    if "ses" in entities:
        yield subject / f"ses-{entities['ses']}" / "anat"
    yield subject / "anat"


def _segmentation(mask: Path, program: Program) -> tuple[tuple[Path, ...], tuple[int, ...]] | None:
    """Labels or else probabilities that have the mask's name."""
    stem = mask.name.split("_desc-brain_")[0]
    dseg = mask.with_name(f"{stem}_dseg.nii.gz")
    if dseg.is_file():
        return (dseg,), program.labels
    parts = tuple(mask.with_name(f"{stem}_label-{t}_probseg.nii.gz") for t in TISSUES)
    return (parts, ()) if all(part.is_file() for part in parts) else None
