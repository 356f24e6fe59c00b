"""A diffusion scan and all that belongs to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from dmri7t.io.anatomy import Anatomy


def _path(value: Path | str | None) -> Path | None:
    return None if value is None else Path(value)


@attrs.frozen
class ScanFiles:
    """Files of which a scan consists.

    Parameters
    ----------
    dwi, bval : path
    bvec : path, optional
        Not needed where no directions are.
    grad_b : path, optional
        Gradients in the scanner frame (MRtrix), which go before the other two.
    mask : path, optional
        Brain mask.
    """

    dwi: Path = attrs.field(converter=Path)
    bval: Path = attrs.field(converter=Path)
    bvec: Path | None = attrs.field(default=None, converter=_path)
    grad_b: Path | None = attrs.field(default=None, converter=_path)
    mask: Path | None = attrs.field(default=None, converter=_path)


@attrs.frozen
class Scan:
    """One diffusion scan and all that belongs to it.

    Parameters
    ----------
    dwi, bval, bvec : Path
    sidecar : dict
        Acquisition fields of the JSON files that apply.
    entities : dict
        Entities of the file's name, as they stand there: sub, ses, acq, dir, run and so on.
    uri : str
        BIDS URI of the image.
    mask, grad_b : Path, optional
        Brain mask, and gradients in the scanner frame, where the data set has them.
    kind : str
        Name of the kind of input that it comes from, see :mod:`dmri7t.io.kinds`; empty: unknown.
    flaw : str
        What was wrong already when the scan was found;
        :func:`dmri7t.io.checks.check_scan` raises it.
    anatomy : Anatomy, optional
        Tissues of the same head, for metrics by tissue.
    excluded : tuple of int
        Volumes that are left out, see :mod:`dmri7t.io.volumes`; -1 is the last.
    parts : tuple of Scan
        Scans that are joined into this one, see :mod:`dmri7t.io.parts`, each with the volumes
        that are left out of it. Files and URI of this one are those of the first; its sidecar has
        the fields that all share. Empty: it is one by itself.
    """

    dwi: Path
    bval: Path
    bvec: Path
    sidecar: dict[str, Any]
    entities: dict[str, str]
    uri: str
    mask: Path | None = None
    grad_b: Path | None = None
    kind: str = ""
    flaw: str = ""
    anatomy: Anatomy | None = None
    excluded: tuple[int, ...] = ()
    parts: tuple[Scan, ...] = ()

    @property
    def files(self) -> ScanFiles:
        """Files to open; of a scan that is joined from parts, those of the first."""
        return ScanFiles(self.dwi, self.bval, self.bvec, self.grad_b, self.mask)

    @property
    def series(self) -> tuple[Scan, ...]:
        """What it consists of: its parts, or itself."""
        return self.parts or (self,)

    @property
    def uris(self) -> list[str]:
        """BIDS URIs of all images that it consists of."""
        return [part.uri for part in self.series]

    @property
    def segmentation(self) -> tuple[Path, ...]:
        """Images of tissues, or none."""
        return self.anatomy.files if self.anatomy else ()

    @property
    def anatomy_mask(self) -> Path | None:
        """Brain mask in the space of the tissues."""
        return self.anatomy.mask if self.anatomy else None

    @property
    def stem(self) -> str:
        """Entities as names of results begin with them, such as ``sub-01_ses-a_dir-AP``."""
        # results have a description of their own
        kept = {key: value for key, value in self.entities.items() if key != "desc"}
        return "_".join(f"{key}-{value}" for key, value in kept.items())


@attrs.frozen
class Candidate:
    """A file that might be a scan, and what was decided.

    Parameters
    ----------
    path : Path
    reason : str
        Why it was skipped; empty where it was taken.
    scan : Scan, optional
        Only where it was taken.
    joined : bool
        Whether it is part of another candidate's scan.
    """

    path: Path
    reason: str = ""
    scan: Scan | None = None
    joined: bool = False

    @property
    def taken(self) -> bool:
        """Whether it will be translated."""
        return self.scan is not None
