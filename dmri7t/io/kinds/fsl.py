"""Folders as FSL's eddy, dtifit and bedpostx have them, UK Biobank's among them."""

from __future__ import annotations

from pathlib import Path

from dmri7t.errors import InputError
from dmri7t.io.kinds.base import NOTHING_HERE, SubjectFolders
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import Query

BELOW = ("dMRI/dMRI", "dMRI", "")
"""Where a subject's folder may have its scan, UK Biobank's place first."""

IMAGES = {"data_ud": "nodif_brain_mask_ud", "data": "nodif_brain_mask"}
"""Names of the scan and of its brain mask; ``_ud`` is UK Biobank's after its last correction."""

ENDINGS = (".nii.gz", ".nii")

BVAL, BVEC = "bvals", "bvecs"

ROTATED = "eddy_rotated_bvecs"
"""End of the name of the vectors that eddy turned with the head: they belong to its result."""


class Fsl(SubjectFolders):
    """Not BIDS: a folder a subject, of any name."""

    name = "fsl"
    input_type = "fsl"
    title = "FSL's folders"
    layout = f"<subject>/{BELOW[0]} or <subject> with data.nii.gz, {BVAL} and {BVEC}"
    link = "fsl"
    resampled_by = "FSL's eddy"
    remark = (
        "from FSL's folders: which corrections were made is not known here, and dmri7t corrects "
        "neither motion nor distortion."
    )
    methods = (
        "The scan came from a folder in the form of FSL's eddy and dtifit, whose corrections are "
        f"not known here; {NOTHING_HERE}."
    )
    heading = "What was corrected is not known"
    caveat = (
        "The scan came from a folder in the form of FSL's eddy and dtifit. dmri7t itself does not "
        "correct motion, eddy currents or distortion: whatever of them is left is in the output "
        "too."
    )
    usage = """\
**FSL's folders**, ``<subject>/{data.nii.gz,bvals,bvecs,nodif_brain_mask.nii.gz}``, and UK
Biobank's, ``<subject>/dMRI/dMRI`` with the same names::

    dmri7t /data/ukb /data/out participant --input-type fsl

Where eddy left ``eddy_rotated_bvecs``, these are used and not ``bvecs``; of UK Biobank ``data_ud``
goes before ``data``. Where there is no brain mask, one is found. There is no
``dataset_description.json``, and none is asked for. Results are named after the letters and digits
of the folder.
"""

    def check(self, root: Path, strict: bool) -> None:
        """These data sets have no dataset_description.json."""
        if not self.folders(root):
            raise InputError(
                f"{root}: no folder {self.layout}; give the folder that holds the subjects, or "
                "another --input-type."
            )

    def folders(self, root: Path) -> dict[str, Path]:
        """Those that have a scan with gradients beside it."""
        return self.by_label(
            folder
            for folder in root.iterdir()
            if folder.is_dir() and _scan_folder(folder) is not None
        )

    def find(self, root: Path, query: Query) -> list[Candidate]:
        """One scan of each subject is taken; UK Biobank's before its last correction is skipped."""
        folders = self.folders(root)
        candidates = []
        for label in query.participants:
            images = _images(_scan_folder(folders[label]))
            scan = self._scan(root, label, images[0])
            entities = {"subject": label, "datatype": "dwi", "suffix": "dwi"}
            reason = query.why_skipped(entities) or query.why_unweighted(scan.bval)
            candidates.append(Candidate(scan.dwi, reason, None if reason else scan))
            candidates += [Candidate(p, f"{images[0].name} goes before it") for p in images[1:]]
        return candidates

    def by_session(self, folder: Path) -> dict[str, Scan]:
        """The one scan of a subject, under "".

        Raises
        ------
        InputError
            If there is no scan in it.
        """
        images = _images(_scan_folder(folder))
        if not images:
            raise InputError(f"{folder}: holds no data.nii.gz with {BVAL}; add them.")
        return {"": self._scan(folder.parent, self.label(folder.name), images[0])}

    def _scan(self, root: Path, label: str, dwi: Path) -> Scan:
        mask = next(
            (
                path
                for ending in ENDINGS
                if (path := dwi.with_name(f"{IMAGES[_stem(dwi)]}{ending}")).is_file()
            ),
            None,
        )
        rotated = sorted(dwi.parent.glob(f"*{ROTATED}"))
        several = f"{dwi.parent}: {len(rotated)} files end in {ROTATED}; keep the one of the scan."
        return Scan(
            dwi=dwi,
            bval=dwi.with_name(BVAL),
            bvec=rotated[0] if rotated else dwi.with_name(BVEC),
            mask=mask,
            sidecar={},
            entities={"sub": label},
            uri=f"bids:{self.link}:{dwi.relative_to(root).as_posix()}",
            kind=self.name,
            flaw=several if len(rotated) > 1 else "",
        )


def _stem(image: Path) -> str:
    return image.name.split(".")[0]


def _images(folder: Path | None) -> list[Path]:
    """Scans in a folder, the one that is used first."""
    if folder is None:
        return []
    paths = [folder / f"{name}{ending}" for name in IMAGES for ending in ENDINGS]
    return [path for path in paths if path.is_file()]


def _scan_folder(subject: Path) -> Path | None:
    """Folder of a subject's scan; none where no gradients lie beside an image.

    Of b-values and vectors one will do: what is missing is said when the scan is checked.
    """
    folders = [subject / below for below in BELOW]
    return next((f for f in folders if _has_gradients(f) and _images(f)), None)


def _has_gradients(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (BVAL, BVEC))


KIND = Fsl()
