"""Folders of the Human Connectome Project: both field strengths of a subject, preprocessed."""

from __future__ import annotations

from pathlib import Path

import attrs

from dmri7t.errors import InputError
from dmri7t.io.kinds.base import NOTHING_HERE, SubjectFolders
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import Query

FOLDERS = {"3T": Path("T1w/Diffusion"), "7T": Path("T1w/Diffusion_7T")}
"""Where a subject's folder has the scans of each field, both in the space of its T1w."""

FILES = {
    "dwi": "data.nii.gz",
    "bval": "bvals",
    "bvec": "bvecs",
    "mask": "nodif_brain_mask.nii.gz",
}
"""Files of such a folder."""


GRAD_DEV = "grad_dev.nii.gz"
"""How gradients depart from what they should be, voxel by voxel."""


class Hcp(SubjectFolders):
    """Not BIDS: a folder a subject, which can have more letters in its name than a label."""

    name = "hcp"
    input_type = "hcp"
    title = "HCP's folders"
    layout = f"<subject>/{FOLDERS['3T']}"
    resampled_by = "the Human Connectome Project's pipelines"
    methods = (
        "The scan had been preprocessed by the pipelines of the Human Connectome Project [Glasser "
        f"et al. 2013]; {NOTHING_HERE}."
    )
    heading = "It was corrected before"
    caveat = (
        "The scan came from the Human Connectome Project's pipelines. dmri7t itself does not "
        "correct motion, eddy currents or distortion: whatever of them the pipelines left is in "
        "the output too."
    )
    usage = """\
**HCP's folders**, ``<subject>/T1w/Diffusion/{data.nii.gz,bvals,bvecs,nodif_brain_mask.nii.gz}``::

    dmri7t /data/HCP /data/out participant --participant-label 100307

Results are named ``sub-100307``; of a name such as ``HCA6002236_V1_MR`` letters and digits stay. A
7T scan (``Diffusion_7T``) is listed as skipped. There is no ``dataset_description.json``, and none
is asked for. The correction for gradient nonlinearity (``grad_dev``) is not used.
"""

    def check(self, root: Path, strict: bool) -> None:
        """These data sets have no dataset_description.json."""
        if not self.folders(root):
            raise InputError(
                f"{root}: no folder {self.layout}, so these are not HCP's; give the folder that "
                "holds the subjects, or another --input-type."
            )

    def folders(self, root: Path) -> dict[str, Path]:
        """Those that have a diffusion scan of either field."""
        return self.by_label(
            folder
            for folder in root.iterdir()
            if folder.is_dir() and any((folder / below).is_dir() for below in FOLDERS.values())
        )

    def find(self, root: Path, query: Query) -> list[Candidate]:
        """Scans of 3T are taken, those of 7T skipped."""
        folders = self.folders(root)
        candidates = []
        for label in query.participants:
            entities = {"subject": label, "datatype": "dwi", "suffix": "dwi"}
            entities["extension"] = ".nii.gz"
            for scan in self._scans(folders[label]).values():
                # results are named after the subject alone: there is one scan of 3T
                scan = attrs.evolve(scan, entities={"sub": label})
                reason = (
                    query.why_skipped(entities)
                    or query.why_other_field(scan.sidecar)
                    or query.why_unweighted(scan.bval)
                )
                candidates.append(Candidate(scan.dwi, reason, None if reason else scan))
        return candidates

    def remarks(self, scan: Scan) -> list[str]:
        """What of HCP's files is not used."""
        path = scan.dwi.with_name(GRAD_DEV)
        ignored = (
            f"{GRAD_DEV} is not used: directions and b-values count as the same in all voxels, "
            "although gradients are not linear"
        )
        return [ignored] if path.is_file() else []

    def by_session(self, folder: Path) -> dict[str, Scan]:
        """Scans of a subject by field, "3T" and "7T"; a field that was not scanned is left out.

        Raises
        ------
        InputError
            If a scan's folder lacks one of its files.
        """
        scans = self._scans(folder)
        for scan in scans.values():
            if scan.flaw:
                raise InputError(scan.flaw)
        return scans

    def _scans(self, folder: Path) -> dict[str, Scan]:
        return {
            field: self._scan(folder, field)
            for field, below in FOLDERS.items()
            if (folder / below).is_dir()
        }

    def _scan(self, folder: Path, field: str) -> Scan:
        """Record of one scan; a missing file is its flaw."""
        below = FOLDERS[field]
        files = {what: folder / below / name for what, name in FILES.items()}
        missing = next((path for path in files.values() if not path.is_file()), None)
        flaw = (
            f"{missing}: missing; a folder {below} holds {', '.join(FILES.values())}. Add it, or "
            "take the subject out."
        )
        return Scan(
            dwi=files["dwi"],
            bval=files["bval"],
            bvec=files["bvec"],
            mask=files["mask"],
            sidecar={"MagneticFieldStrength": int(field[0])},
            entities={"sub": self.label(folder.name), "ses": field},
            uri=f"bids:{self.link}:{folder.name}/{below.as_posix()}/{FILES['dwi']}",
            kind=self.name,
            flaw=flaw if missing else "",
        )


KIND = Hcp()
